"""TaintToleration: NoSchedule and NoExecute forbid, PreferNoSchedule counts against a node."""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api.meta import Object
from todoku.api.placement import (
    NO_EXECUTE,
    NO_SCHEDULE,
    PREFER_NO_SCHEDULE,
    taints,
    tolerates,
    untolerated,
)
from todoku.scheduler.framework import Node, Pod, Rejection, World, normalized


class TaintToleration:
    name = "TaintToleration"
    weight = 3

    def prepare(self, pod: Pod, world: World) -> Sequence[Object]:
        return pod.spec.get("tolerations") or ()

    def filter(self, pod: Pod, node: Node, state: Sequence[Object]) -> Rejection | None:
        if untolerated(taints(node.object), state, (NO_SCHEDULE, NO_EXECUTE)) is None:
            return None
        return Rejection(("node(s) had untolerated taint(s)",), self.name, final=True)

    def rate(self, pod: Pod, nodes: Sequence[Node], world: World) -> Sequence[float] | None:
        useful = [
            one
            for one in pod.spec.get("tolerations") or ()
            if one.get("effect") in (None, "", PREFER_NO_SCHEDULE)
        ]
        counts = [
            float(sum(
                taint.get("effect") == PREFER_NO_SCHEDULE
                and not any(tolerates(one, taint) for one in useful)
                for taint in taints(node.object)
            ))
            for node in nodes
        ]  # fmt: skip
        return normalized(counts, reverse=True) if any(counts) else None
