"""Leave nothing: find what a lab left on the machine, after a crash too, and remove it.

Everything of a lab dies with its init.  Beside it there are its supervisor and fork server, its control groups
and its files.  Processes are found in two ways: by the recorded id and start time, and by name among all
processes, which also finds one that was started a moment before everything was killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
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
    _stop(_supervisors(paths.name))
    _thaw(paths.name, recorded.paused if recorded else [])
    first = [found[LAB]] if LAB in found else []
    last = [found[name] for name in (FORK_SERVER, SUPERVISOR) if name in found]
    others = [one for one in found.values() if one not in (*first, *last)]
    targets = [*first, *others, *_named_processes(paths.name), *last]
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


def _supervisors(lab: str) -> list[ProcessId]:
    return [one for one in _named_processes(lab) if _is_supervisor(lab, _command_line(one.pid))]


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


def _named_processes(lab: str) -> Iterator[ProcessId]:
    """The lab's inits and its supervisor, by command line."""
    for pid in all_pids():
        words = _command_line(pid)
        if _is_init(lab, words) or _is_supervisor(lab, words):
            found = ProcessId.of(pid)
            if found is not None and pid != os.getpid():
                yield found


def _is_init(lab: str, words: list[str]) -> bool:
    return len(words) == 2 and words[0] == init_name(lab) and words[1] == "-P"


def _is_supervisor(lab: str, words: list[str]) -> bool:
    return words[1:4] == ["-m", SUPERVISOR_MODULE, lab]


def _command_line(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rstrip("\0").split("\0")
