"""`open(name)`: a running lab for `reach`, `demo` and tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from todoku.lab import lifecycle, state
from todoku.lab.lifecycle import LabError
from todoku.lab.paths import Paths
from todoku.lab.places import namespaces_of
from todoku.lab.state import State
from todoku.lab.topology import Topology
from todoku.linux.namespaces import Namespaces


@dataclass(frozen=True, slots=True)
class Machine:
    """A node or an outside host; `namespaces` is None while its power is off."""

    name: str
    kind: Literal["node", "host"]
    address: str
    namespaces: Namespaces | None
    paused: bool = False

    @property
    def short(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab that exists.  Machines are read anew with each call: power comes and goes."""

    name: str
    paths: Paths
    state: State
    topology: Topology

    @property
    def kubeconfig(self) -> Path:
        """The admin's kubeconfig for this machine."""
        return self.paths.kubeconfig

    @property
    def running(self) -> bool:
        return lifecycle.running(self.name)

    def hosts(self) -> list[Machine]:
        """Every node, then every outside host, in the order of the lab file."""
        run = state.read_run(self.paths)
        inits = run.processes if run else {}
        found = []
        for machine in self.topology.machines:
            init = inits.get(f"place/{machine.name}")
            alive = init is not None and init.alive()
            place = namespaces_of(init.pid) if init is not None and alive else None
            paused = run is not None and machine.name in run.paused
            found.append(Machine(machine.name, machine.kind, machine.address, place, paused))
        return found

    def host(self, name: str) -> Machine:
        """One machine by full or short name.  Raises LabError."""
        for machine in self.hosts():
            if name in (machine.name, machine.short):
                return machine
        names = ", ".join(machine.short for machine in self.topology.machines)
        raise LabError(f"no machine {name!r} in lab {self.name}; there are {names}")

    def ask(self, op: str, **fields: Any) -> Any:
        """Ask the supervisor: `power-off`, `power-on`, `pause`, `cut`, `heal` (each with `machine`), `status`."""
        return lifecycle.ask(self.name, op, **fields)


def open(name: str) -> Lab:
    """The lab of this name.  Raises LabError if there is none."""
    paths = Paths(name)
    lasting = state.read_state(paths)
    if lasting is None:
        raise LabError(
            f"there is no lab {name}; `todoku up` makes one, `todoku list` shows what there is"
        )
    return Lab(name, paths, lasting, lasting.parsed(name))
