"""InterPodAffinity: pods that want, or do not want, to be near other pods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from todoku.scheduler.framework import MAX_SCORE, Node, Pod, Rejection, World
from todoku.scheduler.terms import Term, preferred, required

_Place = tuple[str, str]  # topology key and value


@dataclass(slots=True)
class _State:
    affinity: list[Term]
    anti: list[Term]
    near: Counter[_Place] = field(default_factory=Counter)  # pods that match all affinity terms
    avoided: Counter[_Place] = field(default_factory=Counter)  # pods that our anti-affinity means
    closed: Counter[_Place] = field(default_factory=Counter)  # pods whose anti-affinity means us
    alone: bool = False  # nobody matches, but we match ourselves: the first of a group


class InterPodAffinity:
    name = "InterPodAffinity"
    weight = 2

    def prepare(self, pod: Pod, world: World) -> _State | None:
        state = _State(required(pod, "podAffinity"), required(pod, "podAntiAffinity"))
        for node in world.nodes:
            for other in node.pods.values():
                self._look_at(pod, other, node, state, world)
        if not (state.affinity or state.anti or state.closed):
            return None
        ours = all(term.matches(pod, world.namespaces) for term in state.affinity)
        state.alone = not state.near and ours
        return state

    def _look_at(self, pod: Pod, other: Pod, node: Node, state: _State, world: World) -> None:
        for term in required(other, "podAntiAffinity"):
            if term.matches(pod, world.namespaces) and term.topology_key in node.labels:
                state.closed[(term.topology_key, node.labels[term.topology_key])] += 1
        if state.affinity and all(t.matches(other, world.namespaces) for t in state.affinity):
            for term in state.affinity:
                if term.topology_key in node.labels:
                    state.near[(term.topology_key, node.labels[term.topology_key])] += 1
        for term in state.anti:
            if term.matches(other, world.namespaces) and term.topology_key in node.labels:
                state.avoided[(term.topology_key, node.labels[term.topology_key])] += 1

    def filter(self, pod: Pod, node: Node, state: _State) -> Rejection | None:
        places = set(node.labels.items())
        if not self._affine(node, state):
            return Rejection(("node(s) didn't match pod affinity rules",), self.name, final=True)
        if any(
            (t.topology_key, node.labels.get(t.topology_key, "")) in state.avoided
            for t in state.anti
        ):
            return Rejection(("node(s) didn't match pod anti-affinity rules",), self.name)
        if any(place in places for place in state.closed):
            reason = "node(s) didn't satisfy existing pods anti-affinity rules"
            return Rejection((reason,), self.name)
        return None

    def _affine(self, node: Node, state: _State) -> bool:
        if any(term.topology_key not in node.labels for term in state.affinity):
            return False
        if state.alone:
            return True
        return all(
            (t.topology_key, node.labels[t.topology_key]) in state.near for t in state.affinity
        )

    def rate(self, pod: Pod, nodes: Sequence[Node], world: World) -> Sequence[float] | None:
        weights: Counter[_Place] = Counter()
        wishes = [(t, t.weight) for t in preferred(pod, "podAffinity")]
        wishes += [(t, -t.weight) for t in preferred(pod, "podAntiAffinity")]
        for node in world.nodes:
            for other in node.pods.values():
                for term, weight in wishes:
                    _rate(weights, term, weight, node, term.matches(other, world.namespaces))
                for term, weight in _wishes_of(other):
                    _rate(weights, term, weight, node, term.matches(pod, world.namespaces))
        if not weights:
            return None
        sums = [
            float(sum(weights.get(place, 0) for place in node.labels.items())) for node in nodes
        ]
        low, high = min(sums), max(sums)
        if high == low:
            return None
        return [MAX_SCORE * (value - low) // (high - low) for value in sums]


def _wishes_of(other: Pod) -> list[tuple[Term, int]]:
    if not other.spec.get("affinity"):
        return []
    found = [(t, 1) for t in required(other, "podAffinity")]  # hardPodAffinityWeight
    found += [(t, t.weight) for t in preferred(other, "podAffinity")]
    return found + [(t, -t.weight) for t in preferred(other, "podAntiAffinity")]


def _rate(weights: Counter[_Place], term: Term, weight: int, node: Node, matches: bool) -> None:
    if matches and term.topology_key in node.labels:
        weights[(term.topology_key, node.labels[term.topology_key])] += weight
