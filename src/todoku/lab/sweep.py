"""Leave nothing: find what a lab left on the machine, after a crash too, and remove it.

Everything of a lab dies with its init.  Beside it there are its supervisor and fork server, its control groups
and its files.  Processes are found in two ways: by the recorded id and start time, and by name among all
processes, until none is left: what one of them was about to start when it was killed is found by the next look.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from todoku.lab import state
from todoku.lab.paths import RUN, STATE, Paths
from todoku.lab.places import init_name
from todoku.linux.cgroups import Cgroups
from todoku.linux.process import ProcessId, all_pids

SUPERVISOR = "supervisor"
FORK_SERVER = "fork-server"
LAB = "lab"
SUPERVISOR_MODULE = "todoku.lab.supervisor"
FORK_SERVER_MODULE = "todoku.lab.forkserver"
_LOOKS = 20


class NotSwept(OSError):
    """Something of the lab could not be removed; the text names it."""


def cgroup(lab: str, machine: str = "") -> str:
    """The control group of a lab, or of one machine of it."""
    return f"/todoku/{lab}/{machine}" if machine else f"/todoku/{lab}"


def kill_processes(paths: Paths) -> None:
    """End every process of the lab at once: no last write, no goodbye.  Raises NotSwept.

    The supervisor is stopped first, so that it starts nothing again; the fork server, parent of the children,
    goes last: a PID namespace ends only when its last zombie has been waited for.
    """
    recorded = state.read_run(paths)
    found = dict(recorded.processes) if recorded else {}
    _stop([found[SUPERVISOR]] if SUPERVISOR in found else [])
    _stop([one for one, kind in _named(paths.name).items() if kind == SUPERVISOR])
    _thaw(paths.name, recorded.paused if recorded else [])
    first = [found[LAB]] if LAB in found else []
    last = [found[name] for name in (FORK_SERVER, SUPERVISOR) if name in found]
    for _ in range(_LOOKS):
        named = _named(paths.name)
        others = [one for one in (*found.values(), *named) if one not in (*first, *last)]
        _kill(paths, [*first, *others, *last])
        if not named:
            return
    raise NotSwept(f"processes of lab {paths.name} come back as fast as they are killed")


def _kill(paths: Paths, targets: Sequence[ProcessId]) -> None:
    left = [one.pid for one in dict.fromkeys(targets) if not one.kill()]
    if left:
        raise NotSwept(f"processes {left} of lab {paths.name} do not end")


def lab_lives(run: state.Run) -> bool:
    """Whether the lab's init runs and holds its namespaces: one that was killed has let them go, but is listed
    until its last child has been waited for."""
    init = run.processes.get(LAB)
    if init is None or not init.alive():
        return False
    try:
        os.readlink(f"/proc/{init.pid}/ns/mnt")
    except FileNotFoundError:
        return False
    return True


def _thaw(lab: str, machines: list[str]) -> None:
    """Let paused machines go on: a frozen process does not end."""
    for machine in machines:
        with contextlib.suppress(FileNotFoundError):
            Cgroups().freeze(cgroup(lab, machine), False)


def _stop(processes: list[ProcessId]) -> None:
    for process in processes:
        if process.alive() and process.pid != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGSTOP)


def remove_groups(lab: str, machine: str = "") -> None:
    """Remove the control groups of a lab or of one of its machines; its processes are gone."""
    groups = Cgroups()
    group = cgroup(lab, machine)
    groups.kill(group)
    if not groups.delete(group):
        raise NotSwept(f"control group {group} is not empty")
    if machine:
        return
    for folder in groups.folders("/todoku"):  # shared by all labs
        with contextlib.suppress(OSError):
            folder.rmdir()


def remove_run(paths: Paths) -> None:
    """Remove what belongs to this boot."""
    shutil.rmtree(paths.run, ignore_errors=True)
    with contextlib.suppress(OSError):
        RUN.rmdir()


def remove_state(paths: Paths) -> None:
    """Remove the lab for good."""
    shutil.rmtree(paths.state, ignore_errors=True)
    if paths.state.exists():
        raise NotSwept(f"{paths.state} cannot be removed")
    with contextlib.suppress(OSError):
        STATE.rmdir()


def everything(paths: Paths, *, keep_state: bool) -> None:
    """Kill and remove everything of a lab; its state too unless `keep_state`.  Raises NotSwept."""
    kill_processes(paths)
    remove_groups(paths.name)
    remove_run(paths)
    if not keep_state:
        remove_state(paths)


def _named(lab: str) -> dict[ProcessId, str]:
    """What is running of the lab, and as what, by command line; its init first."""
    found: dict[ProcessId, str] = {}
    for pid in all_pids():
        kind = _kind(lab, _command_line(pid))
        process = ProcessId.of(pid) if kind and pid != os.getpid() else None
        if process is not None:
            found[process] = kind
    return dict(sorted(found.items(), key=lambda one: one[1] != LAB))


def _kind(lab: str, words: list[str]) -> str:
    """LAB, SUPERVISOR or FORK_SERVER (what that has forked looks like it), "" for what is not the lab's."""
    if words == [init_name(lab), "-P"]:
        return LAB
    for kind, module in ((SUPERVISOR, SUPERVISOR_MODULE), (FORK_SERVER, FORK_SERVER_MODULE)):
        if (module, lab) in pairwise(words):
            return kind
    return ""


def _command_line(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rstrip("\0").split("\0")
