"""NodeAffinity: nodeSelector and required node affinity forbid, preferred affinity rates."""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api.placement import node_matches, term_matches
from todoku.scheduler.framework import Node, Pod, Rejection, World, normalized


class NodeAffinity:
    name = "NodeAffinity"
    weight = 2

    def prepare(self, pod: Pod, world: World) -> bool | None:
        affinity = (pod.spec.get("affinity") or {}).get("nodeAffinity") or {}
        required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
        return True if pod.spec.get("nodeSelector") or required is not None else None

    def filter(self, pod: Pod, node: Node, state: bool) -> Rejection | None:
        if node_matches(pod.object, node.object):
            return None
        reason = "node(s) didn't match Pod's node affinity/selector"
        return Rejection((reason,), self.name, final=True)

    def rate(self, pod: Pod, nodes: Sequence[Node], world: World) -> Sequence[float] | None:
        affinity = (pod.spec.get("affinity") or {}).get("nodeAffinity") or {}
        terms = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        if not terms:
            return None
        return normalized([
            float(sum(t["weight"] for t in terms if term_matches(t.get("preference") or {}, node.object)))
            for node in nodes
        ])  # fmt: skip
