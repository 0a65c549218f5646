"""One pod, all nodes: filter, score, choose.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from todoku.scheduler.framework import (
    Filter,
    Node,
    NotSchedulable,
    Pod,
    Rejection,
    World,
)
from todoku.scheduler.plugins import FILTERS, SCORERS


@dataclass(frozen=True, slots=True)
class Unfit:
    """No node does: why, by node name, or for all of them in `message`."""

    rejections: Mapping[str, Rejection] = field(default_factory=dict)
    message: str = ""
    plugins: frozenset[str] = frozenset()

    def text(self, total: int, after: str = "") -> str:
        """In the words of FailedScheduling: `0/3 nodes are available: 1 Insufficient cpu, ….`"""
        if not total:
            return "no nodes available to schedule pods"
        head = f"0/{total} nodes are available"
        if self.message:
            head += f": {self.message}."
        elif self.rejections:
            head += f": {listed(r for one in self.rejections.values() for r in one.reasons)}."
        return f"{head} {after}" if after else head


@dataclass(frozen=True, slots=True)
class Fit:
    """The chosen node, with every candidate's score (for logs and `explain`)."""

    node: str
    scores: Mapping[str, float]


def listed(reasons: Iterable[str]) -> str:
    """`1 Insufficient cpu, 2 node(s) were unschedulable`: counted, in order of the text."""
    return ", ".join(sorted(f"{count} {reason}" for reason, count in Counter(reasons).items()))


def schedule(
    pod: Pod, world: World, nominated: Mapping[str, Sequence[Pod]] | None = None
) -> Fit | Unfit:
    """Choose a node for a pod.  `nominated` are pods that wait for victims to leave, by node name."""
    passing, unfit = feasible(pod, world, nominated or {})
    if not passing:
        return unfit
    if len(passing) == 1:
        return Fit(passing[0].name, {passing[0].name: 0.0})
    scores = score(pod, passing, world)
    # Equal scores: the emptier node, then the first by name, so that a lab's runs repeat.
    best = min(passing, key=lambda node: (-scores[node.name], len(node.pods), node.name))
    return Fit(best.name, scores)


def feasible(
    pod: Pod, world: World, nominated: Mapping[str, Sequence[Pod]]
) -> tuple[list[Node], Unfit]:
    """The nodes that pass every filter, and why the others do not."""
    try:
        states = prepare(pod, world)
    except NotSchedulable as error:
        return [], Unfit(message=str(error), plugins=frozenset([error.plugin]))
    passing: list[Node] = []
    rejections: dict[str, Rejection] = {}
    for node in world.nodes:
        rejected = reject(pod, node, states)
        ahead = [
            one
            for one in nominated.get(node.name, ())
            if one.priority >= pod.priority and one.uid != pod.uid
        ]
        if rejected is None and ahead:
            rejected = _with_nominated(pod, node, ahead, world)
        if rejected is None:
            passing.append(node)
        else:
            rejections[node.name] = rejected
    plugins = frozenset(one.plugin for one in rejections.values())
    return passing, Unfit(rejections, plugins=plugins)


def prepare(pod: Pod, world: World) -> list[tuple[Filter, object]]:
    """The filters that have something to say, with their state.  Raises NotSchedulable."""
    prepared = [(plugin, plugin.prepare(pod, world)) for plugin in FILTERS]
    return [(plugin, state) for plugin, state in prepared if state is not None]


def reject(pod: Pod, node: Node, states: Sequence[tuple[Filter, object]]) -> Rejection | None:
    for plugin, state in states:
        rejected = plugin.filter(pod, node, state)
        if rejected is not None:
            return rejected
    return None


def with_node(world: World, changed: Node) -> World:
    """The world with one node replaced by a changed copy."""
    nodes = [changed if node.name == changed.name else node for node in world.nodes]
    return World(
        nodes, world.namespaces, world.claims, world.volumes, world.storage_classes, world.selectors
    )


def _with_nominated(pod: Pod, node: Node, ahead: Sequence[Pod], world: World) -> Rejection | None:
    """The room that pods of higher priority were promised is not to be had."""
    crowded = node.copy()
    for one in ahead:
        crowded.add(one)
    return reject(pod, crowded, prepare(pod, with_node(world, crowded)))


def score(pod: Pod, nodes: Sequence[Node], world: World) -> dict[str, float]:
    totals = dict.fromkeys((node.name for node in nodes), 0.0)
    for scorer in SCORERS:
        rated = scorer.rate(pod, nodes, world)
        if rated is None:
            continue
        for node, value in zip(nodes, rated, strict=True):
            totals[node.name] += value * scorer.weight
    return totals
