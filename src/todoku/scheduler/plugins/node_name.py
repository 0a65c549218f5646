"""NodeName: a pod that names its node."""

from __future__ import annotations

from todoku.scheduler.framework import Node, Pod, Rejection, World


class NodeName:
    name = "NodeName"

    def prepare(self, pod: Pod, world: World) -> str | None:
        return pod.spec.get("nodeName") or None

    def filter(self, pod: Pod, node: Node, state: str) -> Rejection | None:
        if node.name == state:
            return None
        reason = "node(s) didn't match the requested node name"
        return Rejection((reason,), self.name, final=True)
