"""Running a program on a machine of the lab, as if logged in there."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from todoku.lab import state, sweep
from todoku.lab.lifecycle import LabError
from todoku.lab.paths import ADMIN, Paths
from todoku.lab.places import namespaces_of
from todoku.lab.topology import GATEWAY, LAN, Topology
from todoku.linux import namespaces
from todoku.linux.cgroups import Cgroups
from todoku.linux.process import ProcessId

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # as a shell reports it
_FORWARDED = (signal.SIGTERM, signal.SIGHUP)


def machine_process(paths: Paths, topology: Topology, name: str) -> tuple[str, ProcessId]:
    """The full name and the init of a machine that has power.  Raises LabError."""
    found = topology.find(name)
    full = found.name if found else name if name in (GATEWAY, LAN) else ""
    if not full:
        names = ", ".join(machine.short for machine in topology.machines)
        raise LabError(f"no machine {name!r} in lab {paths.name}; there are {names}")
    run = state.read_run(paths)
    if run is None or sweep.LAB not in run.processes or not run.processes[sweep.LAB].alive():
        raise LabError(f"lab {paths.name} is stopped; `todoku start` starts it")
    process = run.processes.get(f"place/{full}")
    if process is None or not process.alive():
        raise LabError(f"the power of {full} is off; `todoku node start {name}` boots it")
    return full, process


def environment(paths: Paths, machine: str, base: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment with what is different on the machine."""
    return {
        **base,
        "HOSTNAME": machine,
        "KUBECONFIG": str(paths.component_kubeconfig(ADMIN)),
        "TODOKU_LAB": paths.name,
    }


def run(
    paths: Paths,
    topology: Topology,
    name: str,
    argv: Sequence[str],
    *,
    cwd: str = "",
    argv0: str = "",
) -> int:
    """Run a program on a machine with this terminal; its exit status, 128+N for signal N.

    The calling process has one thread.  The program belongs to the machine: it dies with its power.
    """
    full, process = machine_process(paths, topology, name)
    place = namespaces_of(process.pid)
    folders = _join(paths.name, full) if full not in (GATEWAY, LAN) else []
    env = environment(paths, full, os.environ)
    with open(place.pid, "rb") as file:
        namespaces.setns(file.fileno(), namespaces.CLONE_NEWPID)
    opened = namespaces.open_all(replace(place, pid=""))
    child = os.fork()
    if child == 0:
        _execute(opened, folders, argv, env, cwd, argv0)
    for descriptor, _ in opened:
        os.close(descriptor)
    with _signals_for(child):
        _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _join(lab: str, machine: str) -> list[Path]:
    """The control groups that `pause` freezes."""
    group = sweep.cgroup(lab, machine)
    return [folder for folder in Cgroups().folders(group) if folder.exists()]


def _execute(
    opened: Sequence[tuple[int, int]],
    folders: Sequence[Path],
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    argv0: str,
) -> None:
    """In the forked child; never returns."""
    status = _NOT_EXECUTABLE
    try:
        for folder in folders:
            with contextlib.suppress(OSError):
                (folder / "cgroup.procs").write_text("0")
        namespaces.enter_opened(opened)
        _enter_folder(cwd, env)
        os.execvpe(argv[0], [argv0 or argv[0], *argv[1:]], dict(env))
    except FileNotFoundError:
        os.write(2, f"todoku: {argv[0]}: command not found\n".encode())
        status = _NOT_FOUND
    except OSError as error:
        os.write(2, f"todoku: {argv[0]}: {error.strerror or error}\n".encode())
    finally:
        os._exit(status)


def _enter_folder(cwd: str, env: Mapping[str, str]) -> None:
    """The wanted directory, or home, or the root: the first that is there."""
    for folder in (cwd, env.get("HOME", ""), "/"):
        if folder:
            with contextlib.suppress(OSError):
                os.chdir(folder)
                return


@contextlib.contextmanager
def _signals_for(child: int) -> Iterator[None]:
    """Pass on what asks us to end; the terminal's Ctrl-C reaches the child by itself."""

    def forward(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
