"""Processes by pidfd and start time: found again after a crash, signalled without hitting a stranger.

A process id is reused; a process id together with the start time of the kernel's process table is not.
Source: pidfd_open(2), proc(5) `stat` field 22, prctl(2) PR_SET_NAME.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
from dataclasses import dataclass
from typing import Final

_PR_SET_NAME: Final = 15
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process that can be recorded and found again: `start_time` is in clock ticks since boot."""

    pid: int
    start_time: int

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The process that has this id now, or None."""
        started = start_time(pid)
        return None if started is None else cls(pid, started)

    def alive(self) -> bool:
        """Whether that very process still runs; a zombie does not."""
        return start_time(self.pid) == self.start_time and state(self.pid) not in ("Z", "X", None)

    def kill(self, *, number: int = signal.SIGKILL, timeout_seconds: float = 5.0) -> bool:
        """Signal that very process and wait for its end; True if it is gone.  Blocks."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if not self.alive():  # checked after opening: the descriptor cannot change its process
                return True
            signal.pidfd_send_signal(descriptor, number)
            return bool(_wait(descriptor, timeout_seconds)) or not self.alive()
        except ProcessLookupError:
            return True
        finally:
            os.close(descriptor)


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None if there is none."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def state(pid: int) -> str | None:
    """The one-letter state of proc(5), or None if there is no such process."""
    fields = _stat(pid)
    return fields[0] if fields else None


def parent(pid: int) -> int | None:
    """The parent's id, or None if there is no such process."""
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def all_pids() -> list[int]:
    """Every process id that /proc shows now."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def pids_in(kind: str, namespace_inode: int) -> list[int]:
    """The processes whose namespace of this kind (`net`, `mnt`, ...) has this inode number."""
    found = []
    for pid in all_pids():
        try:
            if os.stat(f"/proc/{pid}/ns/{kind}").st_ino == namespace_inode:
                found.append(pid)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # gone meanwhile, or a zombie
    return found


def set_name(name: str) -> None:
    """Name this process in ps(1) and top(1); the kernel keeps 15 bytes."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def _stat(pid: int) -> list[str] | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2 :].split()  # the command name may hold blanks and brackets


def _wait(descriptor: int, timeout_seconds: float) -> list[tuple[int, int]]:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return poll.poll(timeout_seconds * 1000)
