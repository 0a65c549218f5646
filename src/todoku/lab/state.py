"""What is written down about a lab: the lasting state, and the processes of this boot.

`state.json` survives `stop` and a reboot.  `run.json` names every process of a running lab by id and start
time, so that the next command finds (and ends) them after a crash, and never a stranger.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from todoku.lab import labfile
from todoku.lab.paths import RUN, STATE, Paths
from todoku.lab.topology import Topology
from todoku.linux.process import ProcessId

VERSION = 1


@dataclass(slots=True)
class State:
    """The lasting facts of a lab: topology as the text of a lab file, and choices made once."""

    topology: str
    port: int
    created: str
    ready: bool = False  # false until the first `up` came to its end
    version: int = VERSION
    off: list[str] = field(default_factory=list)  # machines whose power is off

    def parsed(self, name: str) -> Topology:
        return labfile.parse(self.topology, f"lab file of {name}", name=name)


@dataclass(slots=True)
class Run:
    """The processes of a running lab.  `sockets` are the listening descriptors a child holds, by name."""

    processes: dict[str, ProcessId] = field(default_factory=dict)
    sockets: dict[str, dict[str, int]] = field(default_factory=dict)
    paused: list[str] = field(default_factory=list)
    booted: float = 0.0  # Unix time


def read_state(paths: Paths) -> State | None:
    """The state of a lab, or None if there is no such lab."""
    found = _read(paths.state_file)
    return None if found is None else State(**found)


def write_state(paths: Paths, state: State) -> None:
    write_json(paths.state_file, asdict(state))


def read_run(paths: Paths) -> Run | None:
    """The recorded processes, running or not; None if none are recorded."""
    found = _read(paths.run_file)
    if found is None:
        return None
    processes = {name: ProcessId(**entry) for name, entry in found["processes"].items()}
    # A lab started by an older version has no record of its boot; it must still be found and ended.
    return Run(processes, found["sockets"], found["paused"], found.get("booted", 0.0))


def write_run(paths: Paths, run: Run) -> None:
    write_json(paths.run_file, asdict(run))


def names() -> list[str]:
    """Every lab that has state or a run folder, whole or half made."""
    found: set[str] = set()
    for root in (STATE, RUN):
        with contextlib.suppress(FileNotFoundError):
            found.update(entry.name for entry in root.iterdir() if entry.is_dir())
    return sorted(found)


@contextlib.contextmanager
def locked(paths: Paths, *, wait: bool = True) -> Iterator[None]:
    """Keep other commands from changing this lab.  Raises BlockingIOError without `wait`."""
    RUN.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if not _same_file(descriptor, paths.lock):
                continue  # its holder removed it: lock the one that is there now
            try:
                yield
            finally:
                with contextlib.suppress(FileNotFoundError):
                    paths.lock.unlink()
                with contextlib.suppress(OSError):
                    RUN.rmdir()
            return
        finally:
            os.close(descriptor)


def write_json(path: Path, document: Any) -> None:
    """Replace a file whole; readable by root alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(document, file, indent=1)
    os.replace(temporary, path)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
