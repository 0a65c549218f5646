"""What the command line does to a lab: up, stop, down, and repairing what a crash left.

Blocking.  Every function holds the lab's lock while it changes something; the supervisor does the work.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from todoku.lab import control, labfile, state, sweep
from todoku.lab.paths import Paths
from todoku.lab.sockets import free_port, port_is_free
from todoku.lab.state import Run, State
from todoku.lab.topology import Topology, document
from todoku.linux.process import ProcessId

Progress = Callable[[str], None]
_UNDO_SECONDS = 15.0


class LabError(Exception):
    """A lab cannot be used as asked; the text names it and the remedy."""


@dataclass(frozen=True, slots=True)
class Up:
    """How long `up` took, in seconds: all, and each phase.

    `late` names what is not Ready although `up` has waited long enough; the lab runs.
    """

    seconds: float
    phases: dict[str, float]
    late: str = ""


def up(
    name: str,
    topology: Topology | None,
    *,
    wait: bool = True,
    progress: Progress = lambda _: None,
    check: Callable[[], None] = lambda: None,
) -> Up:
    """Bring the lab up: a new one, a stopped one, or one whose supervisor died.  Idempotent.

    `check` is called before anything of a lab that is down is created; it raises to refuse.  Raises LabError,
    control.Refused.  Interrupted, a new lab is undone.
    """
    began = time.monotonic()
    paths = Paths(name)
    with state.locked(paths):
        lasting = state.read_state(paths)
        _refuse_change(name, lasting, topology)
        was_running = _running(paths)
        try:
            answer = _ask_up(paths, lasting, topology, check, wait=wait, progress=progress)
        except KeyboardInterrupt:
            if not was_running:
                _wait_for_undo(paths)
            raise
    if was_running:
        _sweep_traces(name)
    return Up(round(time.monotonic() - began, 3), answer["phases"], answer["late"])


def _sweep_traces(name: str) -> None:
    """Take away what a killed `todoku trace` left in the lab's namespaces."""
    from todoku.lab import lab, tracing

    tracing.sweep(lab.open(name))


def _ask_up(
    paths: Paths,
    lasting: State | None,
    topology: Topology | None,
    check: Callable[[], None],
    *,
    wait: bool,
    progress: Progress,
) -> Any:
    """Have the supervisor bring the lab up; one that is just ending is replaced, once."""
    for last in (False, True):
        if not (_running(paths) and _reachable(paths)):
            lasting = _prepare(paths, lasting, topology, check)
            _start_supervisor(paths)
        try:
            return control.ask(paths, "up", progress=progress, wait=wait)
        except control.NoSupervisor:
            if last:
                raise
    raise AssertionError("unreachable")


def stop(name: str, *, progress: Progress = lambda _: None) -> bool:
    """Shut the lab down and keep its state; False if it was down already."""
    paths = Paths(name)
    with state.locked(paths):
        _existing(name)
        if not _running(paths):
            sweep.everything(paths, keep_state=True)
            return False
        if not _reachable(paths):
            _start_supervisor(paths)  # it adopts, and ends the children in order
        supervisor = _supervisor(paths)
        control.ask(paths, "stop", progress=progress)
        if supervisor is not None:
            _wait_for_end(supervisor)
        sweep.everything(paths, keep_state=True)
        return True


def down(name: str) -> bool:
    """Delete the lab with everything it left, after a crash too; False if there was nothing."""
    paths = Paths(name)
    there = paths.state.exists() or paths.run.exists()
    with state.locked(paths):
        sweep.everything(paths, keep_state=False)
    return there


def running(name: str) -> bool:
    """Whether the lab's init lives."""
    return _running(Paths(name))


def ensure_supervisor(name: str) -> Paths:
    """A lab whose supervisor answers; one that died is replaced.  Raises LabError."""
    paths = Paths(name)
    _existing(name)
    if not _running(paths):
        raise LabError(f"lab {name} is stopped; `todoku start` starts it")
    if not _reachable(paths):
        with state.locked(paths):
            if not _reachable(paths):
                _start_supervisor(paths)
    return paths


def ask(name: str, op: str, *, progress: Progress = lambda _: None, **fields: Any) -> Any:
    """Ask the lab's supervisor.  Raises LabError, control.Refused, control.NoSupervisor."""
    try:
        return control.ask(ensure_supervisor(name), op, progress=progress, **fields)
    except control.Unheard:  # what seemed to listen was about to die
        return control.ask(ensure_supervisor(name), op, progress=progress, **fields)


def _existing(name: str) -> State:
    lasting = state.read_state(Paths(name))
    if lasting is None:
        raise LabError(
            f"there is no lab {name}; `todoku up` makes one, `todoku list` shows what there is"
        )
    return lasting


def _refuse_change(name: str, lasting: State | None, topology: Topology | None) -> None:
    """A lab keeps its topology for life."""
    if lasting is None or topology is None or not lasting.ready:
        return
    if lasting.parsed(name) != topology:
        raise LabError(
            f"lab {name} exists with another topology; `todoku down` deletes it,"
            " or give the new one another name"
        )


def _prepare(
    paths: Paths, lasting: State | None, topology: Topology | None, check: Callable[[], None]
) -> State:
    """Sweep what a crash left and write down what is to be.  A running lab is left alone: it is adopted."""
    if _running(paths):
        assert lasting is not None  # a running lab has state
        return lasting
    keep = lasting is not None and lasting.ready
    if paths.state.exists() or paths.run.exists():
        sweep.everything(paths, keep_state=keep)
    check()
    wanted = lasting.parsed(paths.name) if keep and lasting else topology
    _check_shares(wanted or labfile.default(paths.name))
    if lasting is None or not keep:
        lasting = _new_state(paths, topology or labfile.default(paths.name))
    elif not port_is_free(lasting.port):
        raise LabError(
            f"port {lasting.port} of 127.0.0.1, which lab {paths.name} has used so far, is taken;"
            " end whoever listens there (`ss -ltnp`), or `todoku down` and `up` to choose another"
        )
    return lasting


def _check_shares(topology: Topology) -> None:
    for share in topology.shares:
        if not os.path.isdir(share.path):
            raise LabError(
                f"shares: there is no folder {share.path} on this machine; make it or leave it out"
            )


def _new_state(paths: Paths, topology: Topology) -> State:
    text = yaml.safe_dump(document(topology), sort_keys=False)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    lasting = State(topology=text, port=_choose_port(), created=now)
    paths.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths.logs.mkdir(exist_ok=True, mode=0o700)
    paths.lab_file.write_text(text)
    state.write_state(paths, lasting)
    return lasting


def _choose_port() -> int:
    """A free port that no other lab, running or stopped, has chosen."""
    taken = {found.port for name in state.names() if (found := state.read_state(Paths(name)))}
    port = free_port()
    while port in taken:
        port = free_port(port + 1)
    return port


def _start_supervisor(paths: Paths) -> None:
    """Start a supervisor whose socket listens already."""
    paths.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths.supervisor_socket.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(paths.supervisor_socket))
        listener.listen(64)
        with open(paths.log("supervisor"), "ab") as log:
            # setsid forks, so that the supervisor is init's child and nobody has to wait for it.
            argv = [
                sys.executable,
                "-m",
                sweep.SUPERVISOR_MODULE,
                paths.name,
                str(listener.fileno()),
            ]
            subprocess.run(
                ["setsid", "--fork", *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
                cwd="/",
                check=True,
            )


def _reachable(paths: Paths) -> bool:
    try:
        with control.connected(paths):
            return True
    except control.NoSupervisor:
        return False


def _running(paths: Paths) -> bool:
    run = state.read_run(paths)
    return run is not None and sweep.lab_lives(run)


def _supervisor(paths: Paths) -> ProcessId | None:
    run = state.read_run(paths)
    return run.processes.get(sweep.SUPERVISOR) if run else None


def _wait_for_end(process: ProcessId) -> None:
    deadline = time.monotonic() + _UNDO_SECONDS
    while process.alive() and time.monotonic() < deadline:
        time.sleep(0.005)


def _wait_for_undo(paths: Paths) -> None:
    """After Ctrl-C the supervisor undoes what it began; what it leaves, we remove."""
    with _uninterrupted():
        supervisor = _supervisor(paths)
        if supervisor is not None:
            _wait_for_end(supervisor)
        lasting = state.read_state(paths)
        sweep.everything(paths, keep_state=lasting is not None and lasting.ready)


@contextlib.contextmanager
def _uninterrupted() -> Any:
    """A second Ctrl-C must not leave half of it."""
    import signal

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def recorded(name: str) -> Run | None:
    """The processes of a running lab."""
    return state.read_run(Paths(name)) if running(name) else None


def log_files(name: str) -> list[Path]:
    """The logs of a lab's children, by name."""
    _existing(name)
    folder = Paths(name).logs
    return sorted(folder.glob("*.log")) if folder.exists() else []
