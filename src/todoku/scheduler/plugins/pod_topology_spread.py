"""PodTopologySpread: pods of a kind, evenly over zones or nodes; by default softly, for every workload."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from todoku.api.meta import Object
from todoku.api.placement import NO_EXECUTE, NO_SCHEDULE, node_matches, taints, untolerated
from todoku.api.selectors import LabelSelector, from_selector
from todoku.scheduler.framework import MAX_SCORE, Node, Pod, Rejection, World
from todoku.scheduler.terms import with_label_keys

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
# For pods that name no constraint of their own (upstream's system defaults).
DEFAULTS = ((HOSTNAME, 3), (ZONE, 5))


@dataclass(frozen=True, slots=True)
class Constraint:
    topology_key: str
    max_skew: int
    selector: LabelSelector
    hard: bool
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False


@dataclass(slots=True)
class _State:
    constraints: list[Constraint]
    counts: list[dict[str, int]] = field(default_factory=list)

    def lowest(self, index: int) -> int:
        """The count of the emptiest domain; 0 while there are fewer domains than asked for."""
        counts = self.counts[index]
        if len(counts) < self.constraints[index].min_domains:
            return 0
        return min(counts.values(), default=0)


class PodTopologySpread:
    name = "PodTopologySpread"
    weight = 2

    def prepare(self, pod: Pod, world: World) -> _State | None:
        constraints = [one for one in constraints_of(pod) if one.hard]
        if not constraints:
            return None
        state = _State(constraints)
        for one in constraints:
            counts: dict[str, int] = {}
            for node in world.nodes:
                if not _counts(pod, node, one, constraints):
                    continue
                value = node.labels[one.topology_key]
                counts[value] = counts.get(value, 0) + _matching(pod, node, one)
            state.counts.append(counts)
        return state

    def filter(self, pod: Pod, node: Node, state: _State) -> Rejection | None:
        for index, one in enumerate(state.constraints):
            value = node.labels.get(one.topology_key)
            if value is None:
                reason = (
                    "node(s) didn't match pod topology spread constraints (missing required label)"
                )
                return Rejection((reason,), self.name, final=True)
            itself = 1 if one.selector.matches(pod.labels) else 0
            skew = state.counts[index].get(value, 0) + itself - state.lowest(index)
            if skew > one.max_skew:
                reason = "node(s) didn't match pod topology spread constraints"
                return Rejection((reason,), self.name)
        return None

    def rate(self, pod: Pod, nodes: Sequence[Node], world: World) -> Sequence[float] | None:
        own = pod.spec.get("topologySpreadConstraints")
        constraints = (
            [c for c in constraints_of(pod) if not c.hard] if own else defaults(pod, world)
        )
        if not constraints:
            return None
        fit = [not own or all(c.topology_key in node.labels for c in constraints) for node in nodes]
        scores = [0.0] * len(nodes)
        for one in constraints:
            _add_scores(scores, pod, nodes, fit, one, world)
        rated = [round(score) for score, ok in zip(scores, fit, strict=True) if ok]
        low, high = min(rated, default=0), max(rated, default=0)
        return [
            0.0 if not ok
            else MAX_SCORE if high == 0
            else MAX_SCORE * (high + low - round(score)) // high
            for score, ok in zip(scores, fit, strict=True)
        ]  # fmt: skip


def constraints_of(pod: Pod) -> list[Constraint]:
    """The pod's own constraints."""
    return [
        Constraint(
            topology_key=one["topologyKey"],
            max_skew=one["maxSkew"],
            selector=with_label_keys(from_selector(one.get("labelSelector")), one, pod),
            hard=one.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule",
            min_domains=one.get("minDomains") or 1,
            honor_affinity=one.get("nodeAffinityPolicy", "Honor") == "Honor",
            honor_taints=one.get("nodeTaintsPolicy", "Ignore") == "Honor",
        )
        for one in pod.spec.get("topologySpreadConstraints") or ()
    ]


def defaults(pod: Pod, world: World) -> list[Constraint]:
    """The default constraints, for the selectors of the Services and controllers that the pod belongs to."""
    selector: LabelSelector | None = world.selectors(pod) if world.selectors else None
    if selector is None:
        return []
    return [Constraint(key, skew, selector, hard=False) for key, skew in DEFAULTS]


def _add_scores(
    scores: list[float],
    pod: Pod,
    nodes: Sequence[Node],
    fit: Sequence[bool],
    one: Constraint,
    world: World,
) -> None:
    by_value: dict[str, int] = {}
    for node in world.nodes:
        if one.topology_key in node.labels and _counts(pod, node, one, [one]):
            value = node.labels[one.topology_key]
            by_value[value] = by_value.get(value, 0) + _matching(pod, node, one)
    rated = {
        n.labels[one.topology_key]
        for n, ok in zip(nodes, fit, strict=True)
        if ok and one.topology_key in n.labels
    }
    # The more domains there are, the more one pod more or less in a domain should matter.
    weight = math.log(len(rated) + 2)
    for index, node in enumerate(nodes):
        if fit[index] and one.topology_key in node.labels:
            count = by_value.get(node.labels[one.topology_key], 0)
            scores[index] += count * weight + (one.max_skew - 1)


def _counts(pod: Pod, node: Node, one: Constraint, together: Sequence[Constraint]) -> bool:
    """Whether a node's pods count: it has all keys, and the pod could be there as the policies say."""
    if any(other.topology_key not in node.labels for other in together):
        return False
    if one.honor_affinity and not node_matches(pod.object, node.object):
        return False
    tolerations: Sequence[Object] = pod.spec.get("tolerations") or ()
    tainted = untolerated(taints(node.object), tolerations, (NO_SCHEDULE, NO_EXECUTE))
    return not one.honor_taints or tainted is None


def _matching(pod: Pod, node: Node, one: Constraint) -> int:
    return sum(
        other.namespace == pod.namespace
        and not other.terminating
        and one.selector.matches(other.labels)
        for other in node.pods.values()
    )
