"""Machines and their power: boot, cut, pause, resume; and their cables."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any

from todoku.lab import lan, sweep
from todoku.lab.composition import MACHINE_FOLDERS, machine_files, place
from todoku.lab.control import Refused
from todoku.lab.forks import ForkServer
from todoku.lab.paths import Paths
from todoku.lab.topology import GATEWAY, LAN, Topology
from todoku.linux.cgroups import Cgroups
from todoku.linux.process import ProcessId

_CONTROLLERS = ("freezer",)


class Machines:
    """The places of a lab.  `inits` holds those that have power; blocking methods are for threads."""

    def __init__(
        self, paths: Paths, topology: Topology, forks: ForkServer, record: Callable[[], None]
    ) -> None:
        self.paths, self.topology, self.forks, self._record = paths, topology, forks, record
        self.inits: dict[str, ProcessId] = {}
        self.paused: set[str] = set()

    def net(self, name: str) -> str:
        """The network namespace of a machine that has power."""
        return lan.net(self.inits[name].pid)

    def powered(self, name: str) -> bool:
        return name in self.inits

    def known(self, name: str) -> str:
        """The full name of a machine.  Raises Refused."""
        found = self.topology.find(name)
        if found is None:
            names = ", ".join(machine.name for machine in self.topology.machines)
            raise Refused(f"no machine {name!r} in this lab; there are {names}")
        return found.name

    async def build(self, lab: ProcessId) -> None:
        """Make the switch, the gateway and every machine, and wait until packets pass."""
        await asyncio.to_thread(self._write_files, [one.name for one in self.topology.machines])
        # All at once: the fork server imports in between, and answers in groups.
        starts = [self._start(lab, name) for name in lan.place_names(self.topology)]
        for outcome in await asyncio.gather(*starts, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        self._record()
        await asyncio.to_thread(self._wire)

    async def boot(self, lab: ProcessId, name: str) -> ProcessId:
        """Start one machine, empty but for its disk, with the same MAC; a new switch gets every cable."""
        if name not in (LAN, GATEWAY):
            await asyncio.to_thread(self._write_files, [name])
        process = await self._start(lab, name)
        self._record()
        if name == LAN:
            await asyncio.to_thread(self._wire)
        else:
            await asyncio.to_thread(self._wire_one, name)
        return process

    async def _start(self, lab: ProcessId, name: str) -> ProcessId:
        process = await self.forks.place(lab.pid, place(self.paths, self.topology, name))
        self.inits[name] = process
        if name not in (LAN, GATEWAY):
            join_group(self.paths.name, name, process.pid)
        return process

    def _wire(self) -> None:
        switch = self.inits[LAN].pid
        lan.build_switch(switch)
        machines = [one for one in self.topology.machines if one.name in self.inits]
        names = [machine.name for machine in machines]
        if GATEWAY in self.inits:
            lan.build_gateway(self.topology, switch, self.inits[GATEWAY].pid)
            names.append(GATEWAY)
        for machine in machines:
            lan.build_machine(self.topology, switch, self.inits[machine.name].pid, machine)
        lan.wait_until_forwarding(switch, names)
        for name in self.paused:
            lan.set_cable(switch, name, connected=False)

    def _wire_one(self, name: str) -> None:
        switch, pid = self.inits[LAN].pid, self.inits[name].pid
        if name == GATEWAY:
            lan.build_gateway(self.topology, switch, pid)
        else:
            machine = self.topology.find(name)
            assert machine is not None  # `known` was asked before
            lan.build_machine(self.topology, switch, pid, machine)
        lan.wait_until_forwarding(switch, [name])

    def _write_files(self, names: Sequence[str]) -> None:
        for name in names:
            folder = self.paths.node(name) / "etc"
            folder.mkdir(parents=True, exist_ok=True, mode=0o755)
            for file, text in machine_files(self.topology, name).items():
                (folder / file).write_text(text)
            for below, mode in MACHINE_FOLDERS.items():
                made = self.paths.node(name) / below
                if not made.exists():
                    made.mkdir(parents=True)
                    made.chmod(mode)

    def unplug(self, name: str) -> None:
        if name == LAN:
            return  # it has taken every cable with it
        lan.unplug(self.inits[LAN].pid, name)

    def kill(self, name: str) -> None:
        """Every process of the machine at once, and what it held: namespaces, mounts, control groups."""
        if name in self.paused:
            self._freeze(name, False)  # a frozen process does not die
            self.paused.discard(name)
        process = self.inits.pop(name)
        if not process.kill():
            raise OSError(f"the init of {name} does not end")
        sweep.remove_groups(self.paths.name, name)

    def pause(self, name: str) -> None:
        """Freeze processes and packets."""
        lan.set_cable(self.inits[LAN].pid, name, connected=False)
        self._freeze(name, True)
        self.paused.add(name)

    def resume(self, name: str) -> None:
        self._freeze(name, False)
        lan.set_cable(self.inits[LAN].pid, name, connected=True)
        self.paused.discard(name)

    def cable(self, name: str, *, connected: bool) -> None:
        lan.set_cable(self.inits[LAN].pid, name, connected=connected)

    def report(self) -> dict[str, Any]:
        """Power and cable of every machine."""
        return {machine.name: self._report(machine.name) for machine in self.topology.machines}

    def _report(self, name: str) -> dict[str, Any]:
        if name not in self.inits:
            return {"power": "off", "pid": None, "cable": False}
        return {
            "power": "paused" if name in self.paused else "on",
            "pid": self.inits[name].pid,
            "cable": lan.connected(self.inits[LAN].pid, name),
        }

    def _freeze(self, name: str, frozen: bool) -> None:
        Cgroups().freeze(sweep.cgroup(self.paths.name, name), frozen)


def join_group(lab: str, machine: str, pid: int) -> None:
    """Put a process into its machine's control group, which `pause` freezes; its children are born there."""
    groups = Cgroups()
    group = sweep.cgroup(lab, machine)
    groups.create(group, controllers=_CONTROLLERS)
    for folder in groups.folders(group):
        if os.path.exists(folder / "freezer.state") or groups.version == "v2":
            (folder / "cgroup.procs").write_text(str(pid))
