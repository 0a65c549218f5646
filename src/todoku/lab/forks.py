"""The supervisor's end of the fork server; see `forkserver` for the protocol."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from todoku.lab.places import PlaceSpec
from todoku.lab.sweep import FORK_SERVER_MODULE
from todoku.linux.namespaces import Namespaces
from todoku.linux.process import ProcessId

Json = dict[str, Any]
_MAX_MESSAGE = 1 << 16
# One heap for all threads of a child, mallopt(3): each of its own would cost every node agent 2 MiB, and threads that
# hold the interpreter's lock do not compete for it.
_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}


class ForkFailed(OSError):
    """The fork server refused or is gone; the text says why."""


class ForkServer:
    """Starts places and children of a lab.  `ended(pid, status)` is called for each child that ends."""

    def __init__(self, lab: str, log: Path, ended: Callable[[int, int], None]) -> None:
        self._ended = ended
        self._waiting: dict[int, asyncio.Future[tuple[Json, list[int]]]] = {}
        self._number = 0
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, open(log, "ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", FORK_SERVER_MODULE, lab, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                env=os.environ | _ENVIRONMENT,
                start_new_session=True,
            )
        self._link.setblocking(False)
        self.id = ProcessId.of(self._process.pid)

    def attach(self) -> None:
        """Begin to read answers in the running loop."""
        asyncio.get_running_loop().add_reader(self._link, self._read)

    def close(self) -> None:
        """End the fork server; children run on."""
        asyncio.get_running_loop().remove_reader(self._link)
        self._link.close()
        self._process.kill()
        self._process.wait()
        self._fail(ForkFailed("the fork server was ended"))

    async def lab(self, name: str) -> ProcessId:
        """Start the lab's init."""
        answer, _ = await self._ask({"op": "lab", "lab": name})
        return _identified(answer["pid"])

    async def place(self, init: int, spec: PlaceSpec) -> ProcessId:
        """Start a machine's init inside the lab whose init is `init`."""
        answer, descriptors = await self._ask(
            {"op": "place", "init": init, "spec": dataclasses.asdict(spec)}
        )
        del answer
        try:
            return _identified(_pid_of(descriptors[0]))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    async def child(
        self,
        name: str,
        main: str,
        config: Json,
        *,
        namespaces: Namespaces,
        log: Path,
        descriptors: Sequence[int] = (),
    ) -> ProcessId:
        """Start a child; `descriptors` become its 3, 4, ..."""
        request: Mapping[str, Any] = {
            "op": "child",
            "name": name,
            "main": main,
            "config": config,
            "namespaces": dataclasses.asdict(namespaces),
            "log": str(log),
        }
        answer, _ = await self._ask(request, descriptors)
        return _identified(answer["pid"])

    async def _ask(
        self, request: Mapping[str, Any], descriptors: Sequence[int] = ()
    ) -> tuple[Json, list[int]]:
        self._number += 1
        number = self._number
        data = json.dumps({"id": number, **request}).encode()
        answer = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            socket.send_fds(self._link, [data], list(descriptors))
            found: tuple[Json, list[int]] = await answer
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ForkFailed("the fork server is gone") from error
        finally:
            self._waiting.pop(number, None)
        if "error" in found[0]:
            raise ForkFailed(found[0]["error"])
        return found

    def _read(self) -> None:
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._link, _MAX_MESSAGE, 4)
            except BlockingIOError:
                return
            except ConnectionResetError:
                data, descriptors = b"", []
            if not data:
                asyncio.get_running_loop().remove_reader(self._link)
                self._fail(ForkFailed("the fork server ended; its log tells why"))
                return
            self._take(json.loads(data), descriptors)

    def _take(self, message: Json, descriptors: list[int]) -> None:
        if "ended" in message:
            self._ended(message["ended"], message["status"])
            return
        waiting = self._waiting.get(message["id"])
        if waiting is not None and not waiting.done():
            waiting.set_result((message, descriptors))
            return
        for descriptor in descriptors:  # the one who asked was cancelled
            os.close(descriptor)

    def _fail(self, error: ForkFailed) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(error)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None


def _identified(pid: int) -> ProcessId:
    found = ProcessId.of(pid)
    if found is None:
        raise ForkFailed(f"process {pid} ended at once")
    return found


def _pid_of(pidfd: int) -> int:
    """The process behind a pidfd, as this PID namespace numbers it.  proc(5), fdinfo."""
    with open(f"/proc/self/fdinfo/{pidfd}") as file:
        for line in file:
            if line.startswith("Pid:"):
                return int(line.split()[1])
    raise ForkFailed("the kernel tells no process id of a pidfd")
