"""NodeUnschedulable: cordoned nodes, unless the pod tolerates that."""

from __future__ import annotations

from todoku.api.placement import tolerates
from todoku.scheduler.framework import Node, Pod, Rejection, World

TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


class NodeUnschedulable:
    name = "NodeUnschedulable"

    def prepare(self, pod: Pod, world: World) -> bool | None:
        tolerations = pod.spec.get("tolerations") or ()
        return None if any(tolerates(one, TAINT) for one in tolerations) else True

    def filter(self, pod: Pod, node: Node, state: bool) -> Rejection | None:
        if not (node.object.get("spec") or {}).get("unschedulable"):
            return None
        return Rejection(("node(s) were unschedulable",), self.name, final=True)
