"""NodePorts: a host port can be had once per node, address and protocol."""

from __future__ import annotations

from todoku.scheduler.framework import HostPort, Node, Pod, Rejection, World


class NodePorts:
    name = "NodePorts"

    def prepare(self, pod: Pod, world: World) -> tuple[HostPort, ...] | None:
        return pod.host_ports or None

    def filter(self, pod: Pod, node: Node, state: tuple[HostPort, ...]) -> Rejection | None:
        taken = [port for other in node.pods.values() for port in other.host_ports]
        if not any(port.conflicts(other) for port in state for other in taken):
            return None
        reason = "node(s) didn't have free ports for the requested pod ports"
        return Rejection((reason,), self.name)
