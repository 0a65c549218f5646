"""Which pods must go so that a more important one fits.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from todoku.api.meta import Object
from todoku.api.selectors import from_selector
from todoku.scheduler.cycle import Unfit, listed, prepare, reject, with_node
from todoku.scheduler.framework import Node, NotSchedulable, Pod, World

NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"


@dataclass(frozen=True, slots=True)
class Preemption:
    """`node` with its `victims`, the least important ones that suffice."""

    node: str
    victims: tuple[Pod, ...]
    violations: int = 0


def plan(
    pod: Pod, world: World, unfit: Unfit, budgets: Sequence[Object], nominated_node: str = ""
) -> Preemption | str:
    """The preemption to carry out, or why there is none (as the event words it)."""
    if pod.spec.get("preemptionPolicy") == "Never":
        return "not eligible due to preemptionPolicy=Never."
    if _waits(pod, world, nominated_node):
        return "not eligible due to a terminating pod on the nominated node."
    candidates: list[Preemption] = []
    why: list[str] = []
    for node in world.nodes:
        rejection = unfit.rejections.get(node.name)
        if rejection is None or rejection.final:
            why.append(NOT_HELPFUL)
            continue
        found = victims_on(pod, node, world, budgets)
        if found is None:
            why.append(NO_VICTIMS)
        else:
            candidates.append(found)
    if not candidates:
        return f"0/{len(world.nodes)} nodes are available: {listed(why)}."
    return min(candidates, key=_cost)


def victims_on(pod: Pod, node: Node, world: World, budgets: Sequence[Object]) -> Preemption | None:
    """The fewest, least important pods of a node whose loss lets the pod in; None if even all do not."""
    lower = [one for one in node.pods.values() if one.priority < pod.priority]
    if not lower:
        return None
    remaining = node.without(one.uid for one in lower)
    if not _fits(pod, remaining, world):
        return None
    violating, harmless = _by_budget(lower, budgets)
    victims: list[Pod] = []
    violations = 0
    for group, breaks in ((violating, True), (harmless, False)):
        for one in sorted(group, key=_importance):
            trial = remaining.copy()
            trial.add(one)
            if _fits(pod, trial, world):
                remaining = trial  # reprieved
            else:
                victims.append(one)
                violations += breaks
    return Preemption(node.name, tuple(sorted(victims, key=_importance)), violations)


def _waits(pod: Pod, world: World, nominated_node: str) -> bool:
    """Victims of an earlier preemption are still on their way out."""
    node = next((one for one in world.nodes if one.name == nominated_node), None)
    return node is not None and any(
        one.terminating and one.priority < pod.priority for one in node.pods.values()
    )


def _fits(pod: Pod, node: Node, world: World) -> bool:
    try:
        return reject(pod, node, prepare(pod, with_node(world, node))) is None
    except NotSchedulable:
        return False


def _importance(pod: Pod) -> tuple[int, str]:
    """More important first: by priority, then the longer-running one."""
    return -pod.priority, _started(pod)


def _started(pod: Pod) -> str:
    return str(
        (pod.object.get("status") or {}).get("startTime")
        or pod.object["metadata"].get("creationTimestamp", "")
    )


def _cost(candidate: Preemption) -> tuple[object, ...]:
    """Fewest broken budgets, then the lowest highest priority, sum, number, and the youngest."""
    victims = candidate.victims
    highest = max((one.priority for one in victims), default=-(2**31))
    oldest = min((_started(one) for one in victims if one.priority == highest), default="")
    younger_first = tuple(-ord(letter) for letter in oldest)
    total = sum(one.priority + 2**31 for one in victims)
    return candidate.violations, highest, total, len(victims), younger_first, candidate.node


def _by_budget(lower: Sequence[Pod], budgets: Sequence[Object]) -> tuple[list[Pod], list[Pod]]:
    """Pods whose loss would break a disruption budget, and the others."""
    allowed: Mapping[int, list[int]] = {
        i: [int((one.get("status") or {}).get("disruptionsAllowed", 0))]
        for i, one in enumerate(budgets)
    }
    violating: list[Pod] = []
    harmless: list[Pod] = []
    for pod in sorted(lower, key=_importance):
        breaks = False
        for index, budget in enumerate(budgets):
            if budget["metadata"]["namespace"] != pod.namespace or not pod.labels:
                continue
            selector = from_selector(budget["spec"].get("selector"))
            if selector.empty or not selector.matches(pod.labels):
                continue
            if pod.name in ((budget.get("status") or {}).get("disruptedPods") or {}):
                continue
            allowed[index][0] -= 1
            breaks = breaks or allowed[index][0] < 0
        (violating if breaks else harmless).append(pod)
    return violating, harmless
