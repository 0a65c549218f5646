"""Control groups of version 1, hybrid and 2: create, limit, freeze, kill, delete.

A group is named by its path from the root of every hierarchy, as `/todoku/lab/node/pod`.
Source: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst; conversions as in the OCI runtime spec.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from todoku.linux.mounts import Mounted, mounted

CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "pids", "freezer", "devices", "blkio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a group may use; 0 means without limit (`cpu_shares` 0: the default weight)."""

    cpu_shares: int = 0
    cpu_quota_microseconds: int = 0
    cpu_period_microseconds: int = 100_000
    memory_bytes: int = 0
    pids: int = 0


class Cgroups:
    """The hierarchies of this machine.  Methods block for microseconds, `kill` and `delete` for longer."""

    def __init__(self, mounts: Sequence[Mounted] | None = None) -> None:
        self.unified, self.controllers = hierarchies(mounted() if mounts is None else mounts)

    @property
    def version(self) -> str:
        """`v1`, `hybrid` (version 1 with a version 2 mount beside it), `v2`, or "" for none."""
        if not self.controllers:
            return "v2" if self.unified else ""
        return "hybrid" if self.unified else "v1"

    def folders(self, group: str) -> Sequence[Path]:
        """Every directory that stands for the group, one per hierarchy."""
        roots = dict.fromkeys(self.controllers.values())
        if self.unified is not None:
            roots[self.unified] = None
        return [root / group.lstrip("/") for root in roots]

    def create(self, group: str, *, controllers: Sequence[str] = CONTROLLERS) -> None:
        """Make the group, in the hierarchies of `controllers`; on version 2 they are handed down to it."""
        for root in dict.fromkeys(
            self.controllers[one] for one in controllers if one in self.controllers
        ):
            folder = root / group.lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
            _inherit_cpuset(root, folder)
        if self.version == "v2" and self.unified is not None:
            _delegate(self.unified, group, controllers)

    def limit(self, group: str, limits: Limits) -> Sequence[str]:
        """Set the limits; the names of those that this machine has no controller for, or refuses."""
        refused = []
        settings = _settings_v2(limits) if self.version == "v2" else _settings_v1(limits)
        for (controller, file), value in settings.items():
            root = self.unified if self.version == "v2" else self.controllers.get(controller)
            try:
                if root is None:
                    raise FileNotFoundError(file)
                (root / group.lstrip("/") / file).write_text(value)
            except OSError:
                refused.append(file)
        return refused

    def relimit(self, group: str, limits: Limits) -> Sequence[str]:
        """Change the limits of a group that a runtime has limited; the names of those that are refused.

        On version 1 the runtime bounds memory and swap together too: neither may exceed the other on the way.
        """
        root = self.controllers.get("memory") if self.version != "v2" else None
        both = root / group.lstrip("/") / "memory.memsw.limit_in_bytes" if root else None
        bound = _bound(both) if both is not None and limits.memory_bytes else None
        if both is not None and bound is not None and bound < limits.memory_bytes:
            with contextlib.suppress(OSError):
                both.write_text(str(limits.memory_bytes))
        refused = self.limit(group, limits)
        if both is not None and bound is not None and bound > limits.memory_bytes:
            with contextlib.suppress(OSError):
                both.write_text(str(limits.memory_bytes))
        return [file for file in refused if any((f / file).exists() for f in self.folders(group))]

    def add(self, group: str, pid: int) -> None:
        """Move a process into the group (into every hierarchy that has it)."""
        for folder in self.folders(group):
            with contextlib.suppress(FileNotFoundError):
                (folder / "cgroup.procs").write_text(str(pid))

    def pids(self, group: str) -> set[int]:
        """The processes of the group and of the groups below it."""
        found: set[int] = set()
        for folder in self.folders(group):
            for path in folder.rglob("cgroup.procs"):
                with contextlib.suppress(OSError):
                    found |= {int(line) for line in path.read_text().split()}
        return found - {0}

    def freeze(self, group: str, frozen: bool = True) -> None:
        """Stop the group's processes where they are, or let them go on.  Raises OSError without a freezer."""
        if self.version == "v2" and self.unified is not None:
            (self.unified / group.lstrip("/") / "cgroup.freeze").write_text("1" if frozen else "0")
            return
        folder = self.controllers["freezer"] / group.lstrip("/")
        (folder / "freezer.state").write_text("FROZEN" if frozen else "THAWED")

    def kill(self, group: str, *, timeout_seconds: float = 5.0) -> bool:
        """Kill every process of the group; True when none is left."""
        if self.unified is not None:
            with contextlib.suppress(OSError):
                (self.unified / group.lstrip("/") / "cgroup.kill").write_text("1")
        deadline = time.monotonic() + timeout_seconds
        while pids := self.pids(group):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(OSError, KeyError):
                self.freeze(group, False)  # a frozen process does not die
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def delete(self, group: str) -> bool:
        """Remove the empty group and those below it; True when nothing is left of it."""
        gone = True
        for folder in self.folders(group):
            for path in [*_deepest_first(folder), folder]:
                gone = _remove(path) and gone
        return gone

    def memory_bytes(self, group: str) -> int | None:
        """What the group's processes use now, or None."""
        return self._read(group, "memory", "memory.usage_in_bytes", "memory.current")

    def inactive_file_bytes(self, group: str) -> int | None:
        """How much of that is file cache which the kernel would drop first, or None."""
        root = self.unified if self.version == "v2" else self.controllers.get("memory")
        name = "inactive_file" if self.version == "v2" else "total_inactive_file"
        if root is None:
            return None
        with contextlib.suppress(OSError, ValueError):
            for line in (root / group.lstrip("/") / "memory.stat").read_text().splitlines():
                key, _, value = line.partition(" ")
                if key == name:
                    return int(value)
        return None

    def cpu_nanoseconds(self, group: str) -> int | None:
        """The processor time the group has used, or None."""
        if self.version != "v2":
            return self._read(group, "cpuacct", "cpuacct.usage", "")
        with contextlib.suppress(OSError, TypeError):
            text = ((self.unified or Path("/")) / group.lstrip("/") / "cpu.stat").read_text()
            return int(text.split()[1]) * 1000
        return None

    def _read(self, group: str, controller: str, file_v1: str, file_v2: str) -> int | None:
        root = self.unified if self.version == "v2" else self.controllers.get(controller)
        file = file_v2 if self.version == "v2" else file_v1
        if root is None:
            return None
        with contextlib.suppress(OSError, ValueError):
            return int((root / group.lstrip("/") / file).read_text())
        return None


def hierarchies(mounts: Sequence[Mounted]) -> tuple[Path | None, Mapping[str, Path]]:
    """The version 2 mount (None without) and the mount of each version 1 controller.

    A mount that is covered by a later one at the same place does not count.
    """
    unified: Path | None = None
    controllers: dict[str, Path] = {}
    visible = {mount.target: mount for mount in mounts}
    for target, mount in visible.items():
        if mount.kind == "cgroup2":
            unified = Path(target)
        elif mount.kind == "cgroup":
            for option in mount.super_options.split(","):
                if option in CONTROLLERS or option.startswith("name="):
                    controllers[option] = Path(target)
    return unified, controllers


def _bound(file: Path) -> int | None:
    """A limit that was set; None for none."""
    try:
        value = int(file.read_text())
    except (OSError, ValueError):
        return None
    return value if value < 1 << 60 else None


def _settings_v1(limits: Limits) -> dict[tuple[str, str], str]:
    settings: dict[tuple[str, str], str] = {}
    if limits.cpu_shares:
        settings["cpu", "cpu.shares"] = str(limits.cpu_shares)
    if limits.cpu_quota_microseconds:
        settings["cpu", "cpu.cfs_period_us"] = str(limits.cpu_period_microseconds)
        settings["cpu", "cpu.cfs_quota_us"] = str(limits.cpu_quota_microseconds)
    if limits.memory_bytes:
        settings["memory", "memory.limit_in_bytes"] = str(limits.memory_bytes)
    if limits.pids:
        settings["pids", "pids.max"] = str(limits.pids)
    return settings


def _settings_v2(limits: Limits) -> dict[tuple[str, str], str]:
    settings: dict[tuple[str, str], str] = {}
    if limits.cpu_shares:
        weight = 1 + (max(min(limits.cpu_shares, 262144), 2) - 2) * 9999 // 262142
        settings["cpu", "cpu.weight"] = str(weight)
    if limits.cpu_quota_microseconds:
        period = limits.cpu_period_microseconds
        settings["cpu", "cpu.max"] = f"{limits.cpu_quota_microseconds} {period}"
    if limits.memory_bytes:
        settings["memory", "memory.max"] = str(limits.memory_bytes)
    if limits.pids:
        settings["pids", "pids.max"] = str(limits.pids)
    return settings


def _inherit_cpuset(root: Path, folder: Path) -> None:
    """A version 1 cpuset is born empty and takes no process until it is filled."""
    if not (root / "cpuset.cpus").exists():
        return
    for path in [*reversed(folder.relative_to(root).parents), folder.relative_to(root)][1:]:
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not (root / path / file).read_text().strip():
                (root / path / file).write_text((root / path).parent.joinpath(file).read_text())


def _delegate(root: Path, group: str, controllers: Sequence[str]) -> None:
    available = set((root / "cgroup.controllers").read_text().split())
    wanted = " ".join(f"+{one}" for one in controllers if one in available)
    folder = root
    for part in group.strip("/").split("/"):
        with contextlib.suppress(OSError):  # a group with processes of its own hands nothing down
            (folder / "cgroup.subtree_control").write_text(wanted)
        folder = folder / part
        folder.mkdir(exist_ok=True)


def _deepest_first(folder: Path) -> Iterator[Path]:
    for path, names, _ in os.walk(folder, topdown=False):
        for name in names:
            yield Path(path, name)


def _remove(folder: Path) -> bool:
    for _ in range(20):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno != errno.EBUSY:
                return False
            time.sleep(0.002)  # the last process is on its way out
        else:
            return True
    return False
