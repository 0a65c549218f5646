"""NodeResourcesFit and NodeResourcesBalancedAllocation: what a node has left."""

from __future__ import annotations

from collections.abc import Sequence

from todoku.scheduler.framework import MAX_SCORE, Node, Pod, Rejection, World

SCORED = ("cpu", "memory")


class NodeResourcesFit:
    """Filters by requests against allocatable; rates the emptier node higher (LeastAllocated)."""

    name = "NodeResourcesFit"
    weight = 1

    def prepare(self, pod: Pod, world: World) -> bool:
        return True

    def filter(self, pod: Pod, node: Node, state: bool) -> Rejection | None:
        reasons: list[str] = []
        if len(node.pods) + 1 > node.allocatable.get("pods", 0):
            reasons.append("Too many pods")
        final = False
        for name, wanted in pod.requests.items():
            total = node.allocatable.get(name, 0)
            if wanted and wanted > total - node.requested.get(name, 0):
                reasons.append(f"Insufficient {name}")
                final = final or wanted > total  # not even an empty node would do
        return Rejection(tuple(reasons), self.name, final=final) if reasons else None

    def rate(self, pod: Pod, nodes: Sequence[Node], world: World) -> Sequence[float] | None:
        return [_least_allocated(pod, node) for node in nodes]


def _least_allocated(pod: Pod, node: Node) -> float:
    scores = []
    for name in SCORED:
        total = node.allocatable.get(name, 0)
        if not total:
            continue
        used = node.nonzero[name] + pod.nonzero[name]
        scores.append(0.0 if used > total else (total - used) * MAX_SCORE // total)
    return sum(scores) // len(scores) if scores else 0.0


class BalancedAllocation:
    """Prefers nodes on which cpu and memory would be used to the same degree."""

    name = "NodeResourcesBalancedAllocation"
    weight = 1

    def rate(self, pod: Pod, nodes: Sequence[Node], world: World) -> Sequence[float] | None:
        if not any(pod.requests.get(name) for name in SCORED):
            return None
        return [_balance(pod, node) for node in nodes]


def _balance(pod: Pod, node: Node) -> float:
    shares = []
    for name in SCORED:
        total = node.allocatable.get(name, 0)
        if total:
            used = node.requested.get(name, 0) + pod.requests.get(name, 0)
            shares.append(min(used / total, 1.0))
    deviation = abs(shares[0] - shares[1]) / 2 if len(shares) == 2 else 0.0
    return float(int((1 - deviation) * MAX_SCORE))
