"""A running lab as `reach` sees it: machines and pods to ask from, conntrack to look into, and where packets go."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from todoku.api.meta import Key, Object, key_of
from todoku.client import Client, ClientConfig
from todoku.kubelet.store import PodStore
from todoku.lab import state
from todoku.lab.lab import Lab, Machine
from todoku.lab.topology import GATEWAY, LAN, Host
from todoku.reach import world
from todoku.reach.matrix import Effort, measure
from todoku.reach.observe import observe
from todoku.reach.probe import Vantage
from todoku.reach.report import Report
from todoku.reach.targets import Address, Source, short
from todoku.reach.trace.collect import Ground
from todoku.reach.trace.facts import Place
from todoku.reach.witness import NodeConntrack
from todoku.reach.world import GatewayPolicy, Route, World


@dataclass(frozen=True, slots=True)
class LabTopology:
    """What the lab knows and the API does not; satisfies `reach.observe.Topology`."""

    machines: Sequence[world.Machine]
    gateway: GatewayPolicy
    pod_cidr: str
    service_cidrs: Sequence[str]


@dataclass(frozen=True, slots=True)
class From:
    """A place to ask from; satisfies `reach.probe.Vantage`."""

    name: str
    netns: str
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


class Survey:
    """One look at a lab: who is on, which namespaces there are.  Cheap; make a new one after each change."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._machines = lab.hosts()
        self._cables: dict[str, bool] = {
            name: told["cable"] for name, told in lab.ask("status")["machines"].items()
        }

    def topology(self) -> LabTopology:
        """The machines with their power and routes."""
        declared = self.lab.topology
        routes = {
            host.name: tuple(Route(prefix, via) for prefix, via in host.routes.items())
            for host in declared.machines
            if isinstance(host, Host)
        }
        return LabTopology(
            machines=[
                world.Machine(
                    machine.name,
                    "node" if machine.kind == "node" else "outside",
                    machine.address,
                    self.reachable(machine),
                    routes.get(machine.name, ()),
                )
                for machine in self._machines
            ],
            gateway=declared.gateway,
            pod_cidr=declared.pod_cidr,
            service_cidrs=(declared.service_cidr,),
        )

    def reachable(self, machine: Machine) -> bool:
        """Whether a machine has power, runs, and hangs on the LAN."""
        on = machine.namespaces is not None and not machine.paused
        return on and self._cables.get(machine.name, True)

    async def world(self, client: Client) -> World:
        return await observe(client, self.topology())

    def vantages(self, here: World, sources: Iterable[Source]) -> dict[str, Vantage]:
        """The places to ask from, by source name; sources that are off are left out."""
        found: dict[str, Vantage] = {}
        netns = {machine.name: machine for machine in self._machines if self.reachable(machine)}
        pods = self.pod_netns() if any(source.kind == "pod" for source in sources) else {}
        for source in sources:
            machine = netns.get(source.machine)
            if machine is None or machine.namespaces is None:
                continue
            if source.kind != "pod":
                found[source.name] = From(source.name, machine.namespaces.net)
            elif source.pod in pods:
                found[source.name] = self._pod_vantage(source, pods[source.pod])
        return found

    def _pod_vantage(self, source: Source, netns: str) -> From:
        assert source.pod is not None
        domain = self.lab.topology.domain
        search = (f"{source.pod.namespace}.svc.{domain}", f"svc.{domain}", domain)
        return From(source.name, netns, (self.lab.topology.dns_service,), search)

    def pod_netns(self) -> dict[Key, str]:
        """The network namespace of every pod that has one of its own, as a path of this machine."""
        found: dict[Key, str] = {}
        for machine in self._nodes():
            assert machine.namespaces is not None
            init = Path(machine.namespaces.net).parent.parent
            folder = self.lab.paths.node(machine.name) / "var" / "lib" / "kubelet"
            for record in PodStore(folder).load():
                if record.sandbox is not None and record.sandbox.netns:
                    found[key_of(record.pod)] = f"{init}/root{record.sandbox.netns}"
        return found

    def witnesses(self) -> NodeConntrack:
        return NodeConntrack(m.namespaces.net for m in self._nodes() if m.namespaces is not None)

    def ground(self, pods: Sequence[Object]) -> Ground:
        """Every namespace that a packet may cross."""
        netns = self.pod_netns()
        places = [*self._machine_places(), *_pod_places(pods, netns)]
        return Ground(self._place(LAN), places)

    def machine_netns(self) -> list[str]:
        """The network namespace of every machine that is on, and of the gateway."""
        return [place.netns for place in self._machine_places()]

    def _machine_places(self) -> Iterator[Place]:
        for machine in self._machines:
            if machine.namespaces is None or machine.paused:
                continue
            kind: Literal["node", "outside"] = "node" if machine.kind == "node" else "outside"
            yield Place(machine.short, kind, machine.namespaces.net, (machine.address,))
        if self.lab.topology.gateway != "none":
            address = self.lab.topology.gateway_address
            yield Place(GATEWAY, "gateway", self._place(GATEWAY), (address,))

    def _nodes(self) -> list[Machine]:
        return [m for m in self._machines if m.kind == "node" and m.namespaces and not m.paused]

    def _place(self, name: str) -> str:
        """The network namespace of the switch or the gateway."""
        run = state.read_run(self.lab.paths)
        if run is None or f"place/{name}" not in run.processes:
            raise LookupError(f"lab {self.lab.name} has no {name} running")
        return f"/proc/{run.processes[f'place/{name}'].pid}/ns/net"


def _pod_places(pods: Sequence[Object], netns: dict[Key, str]) -> Iterator[Place]:
    for pod in pods:
        key, address = key_of(pod), (pod.get("status") or {}).get("podIP", "")
        if key in netns and address:
            yield Place(
                f"pod/{short(key.name)}",
                "pod",
                netns[key],
                (address,),
                pod["spec"].get("nodeName", ""),
            )


async def reach(
    survey: Survey,
    here: World,
    sources: Sequence[Source],
    addresses: Sequence[Address],
    *,
    effort: Effort | None = None,
    title: str = "",
) -> Report:
    """Measure sources × addresses in a lab."""
    return await measure(
        here,
        sources,
        addresses,
        vantages=survey.vantages(here, sources),
        witnesses=survey.witnesses(),
        effort=effort,
        title=title,
    )


@contextlib.asynccontextmanager
async def connected(lab: Lab) -> AsyncIterator[Client]:
    """A client with the admin's rights, closed afterwards."""
    client = Client(ClientConfig.from_kubeconfig(lab.kubeconfig))
    try:
        yield client
    finally:
        await client.close()
