"""How many replicas a metric asks for, and how fast a target may be scaled there.  Pure.

Source: docs, Horizontal Pod Autoscaling (algorithm details); KEP-853 (configurable scaling).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from todoku.api import quantities, times
from todoku.api.meta import Object
from todoku.controllers import conditions, pods
from todoku.controllers.controller import deleting

TOLERANCE = 0.1
CPU_INITIALISATION_SECONDS = 300.0
READINESS_DELAY_SECONDS = 30.0
STABILISATION_SECONDS = 300.0  # before scaling down, unless the behavior says otherwise


class NoMetric(Exception):
    """Why a metric asks for nothing: `reason` is that of the condition and the Event; `long` says of what value."""

    def __init__(self, reason: str, message: str, long: str = "") -> None:
        super().__init__(message)
        self.reason, self.long = reason, long or message


class Sample(NamedTuple):
    """What one pod uses, in thousandths, measured over `window` seconds until `at`."""

    amount: int
    at: float
    window: float


@dataclass(frozen=True, slots=True)
class Usage:
    """Used against wanted: `ratio` 1 is on target; `average` in thousandths, `percent` of the requests."""

    ratio: float
    average: int
    percent: int | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    replicas: int
    usage: Usage


@dataclass(slots=True)
class _Groups:
    measured: dict[str, int] = field(default_factory=dict)
    unready: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)


def samples(listed: Sequence[Object], resource: str, container: str = "") -> dict[str, Sample]:
    """By pod name, from metrics.k8s.io PodMetrics; a pod of which a container lacks the resource is left out."""
    found: dict[str, Sample] = {}
    for one in listed:
        used = [c for c in one.get("containers") or () if container in ("", c.get("name"))]
        amounts = [(c.get("usage") or {}).get(resource) for c in used]
        if not amounts or None in amounts:
            continue
        total = sum(quantities.parse(str(amount)).milli() for amount in amounts)
        window = times.parse_duration(str(one.get("window") or "60s"))
        found[one["metadata"]["name"]] = Sample(total, times.parse(one["timestamp"]), window)
    return found


def requests(listed: Sequence[Object], resource: str, container: str = "") -> dict[str, int]:
    """What each pod requests, in thousandths.  Raises NoMetric if a container states nothing."""
    found: dict[str, int] = {}
    for pod in listed:
        total = 0
        for one in pod["spec"].get("containers") or ():
            if container not in ("", one["name"]):
                continue
            stated = ((one.get("resources") or {}).get("requests") or {}).get(resource)
            if stated is None:
                name = pod["metadata"]["name"]
                raise NoMetric(
                    "FailedGetResourceMetric",
                    f"missing request for {resource} in container {one['name']} of Pod {name}",
                )
            total += quantities.parse(str(stated)).milli()
        found[pod["metadata"]["name"]] = total
    return found


def propose(
    listed: Sequence[Object], measured: Mapping[str, Sample], *, resource: str, current: int, now: float,
    percent: int | None = None, average: int | None = None, requested: Mapping[str, int] | None = None,
) -> Proposal:  # fmt: skip
    """Replicas by a target utilization (`percent` of `requested`) or a target `average` per pod.

    Pods without a sample count against the direction of the change, those that are not ready only hold it back.
    Raises NoMetric when nothing is known of the pods.
    """
    groups = _grouped(listed, measured, resource, now)
    if not groups.measured:
        text = "did not receive metrics for targeted pods (pods might be unready)"
        raise NoMetric("FailedGetResourceMetric", text)

    def usage(amounts: Mapping[str, int]) -> Usage:
        total = sum(amounts.values())
        mean = total // len(amounts)
        if percent is None:
            return Usage(mean / max(average or 0, 1), mean)
        wanted = sum((requested or {}).get(name, 0) for name in amounts)
        if not wanted:
            text = "no metrics returned matched known pods"
            raise NoMetric("FailedGetResourceMetric", text)
        used = total * 100 // wanted
        return Usage(used / percent, mean, used)

    seen = usage(groups.measured)
    grows_over_unready = bool(groups.unready) and seen.ratio > 1
    if not grows_over_unready and not groups.missing:
        if _tolerable(seen.ratio):
            return Proposal(current, seen)
        return Proposal(math.ceil(seen.ratio * len(groups.measured)), seen)
    amounts = dict(groups.measured)
    for name in groups.missing:
        if seen.ratio > 1:
            amounts[name] = 0
        elif percent is None:
            amounts[name] = average or 0
        else:
            amounts[name] = (requested or {}).get(name, 0) * max(100, percent) // 100
    if grows_over_unready:
        amounts |= dict.fromkeys(groups.unready, 0)
    ratio = usage(amounts).ratio
    if _tolerable(ratio) or (seen.ratio < 1) != (ratio < 1):
        return Proposal(current, seen)
    wanted_now = math.ceil(ratio * len(amounts))
    if (ratio < 1 and wanted_now > current) or (ratio > 1 and wanted_now < current):
        return Proposal(current, seen)
    return Proposal(wanted_now, seen)


def _tolerable(ratio: float) -> bool:
    return abs(1.0 - ratio) <= TOLERANCE


def _grouped(
    listed: Sequence[Object], measured: Mapping[str, Sample], resource: str, now: float
) -> _Groups:
    groups = _Groups()
    for pod in listed:
        name, sample = pod["metadata"]["name"], measured.get(pod["metadata"]["name"])
        if deleting(pod) or pods.phase(pod) == "Failed":
            continue
        if pods.phase(pod) == "Pending":
            groups.unready.add(name)
        elif sample is None:
            groups.missing.add(name)
        elif resource == "cpu" and _starting(pod, sample, now):
            groups.unready.add(name)
        else:
            groups.measured[name] = sample.amount
    return groups


def _starting(pod: Object, sample: Sample, now: float) -> bool:
    """Whether the processor time was that of a start."""
    status = pod.get("status") or {}
    ready = conditions.find(status.get("conditions"), "Ready")
    if ready is None or not status.get("startTime"):
        return True
    began, changed = times.parse(status["startTime"]), times.parse(ready["lastTransitionTime"])
    if began + CPU_INITIALISATION_SECONDS > now:
        return ready["status"] == "False" or sample.at < changed + sample.window
    return bool(ready["status"] == "False" and began + READINESS_DELAY_SECONDS > changed)


# -- how fast


@dataclass(slots=True)
class History:
    """What one autoscaler recommended and did: (when, replicas) and (when, change)."""

    recommended: list[tuple[float, int]] = field(default_factory=list)
    grown: list[tuple[float, int]] = field(default_factory=list)
    shrunk: list[tuple[float, int]] = field(default_factory=list)

    def forget(self, now: float) -> None:
        for name in ("recommended", "grown", "shrunk"):
            kept = [one for one in getattr(self, name) if one[0] > now - 3600.0]
            setattr(self, name, kept)


class Step(NamedTuple):
    """The size to go to, and the conditions that say why."""

    replicas: int
    conditions: tuple[Object, ...]


def step(spec: Object, history: History, *, current: int, desired: int, now: float) -> Step:
    """Hold a wish to the recent recommendations, the rules of the behavior, and the bounds."""
    history.forget(now)
    low, high = spec.get("minReplicas", 1), spec["maxReplicas"]
    behavior = spec.get("behavior")
    if behavior is None:
        steady, able = _stabilised(history, {}, desired, desired, now)
        room = (max(2 * current, 4), 0)
    else:
        steady, able = _stabilised(history, behavior, current, desired, now)
        room = (
            max(_ceiling(behavior, history, current, now), current),
            min(_floor(behavior, history, current, now), current),
        )
    top, bottom = min(high, room[0]), max(low, room[1])
    history.recommended.append((now, desired))
    if steady > top:
        return Step(top, (able, _TOO_FAST_UP if top < high else _TOO_MANY))
    if steady < bottom:
        return Step(bottom, (able, _TOO_FAST_DOWN if bottom > low else _TOO_FEW))
    return Step(steady, (able, _WITHIN))


def _stabilised(
    history: History, behavior: Object, current: int, desired: int, now: float
) -> tuple[int, Object]:
    up = _window(behavior, "scaleUp", 0.0)
    down = _window(behavior, "scaleDown", STABILISATION_SECONDS)
    lowest = min([desired, *(n for at, n in history.recommended if at > now - up)])
    highest = max([desired, *(n for at, n in history.recommended if at > now - down)])
    steady = highest if not behavior else min(max(current, lowest), highest)
    if steady > desired:
        text = "recent recommendations were higher than current one, applying the highest recent recommendation"
        return steady, _condition("AbleToScale", "True", "ScaleDownStabilized", text)
    if steady < desired:
        text = "recent recommendations were lower than current one, applying the lowest recent recommendation"
        return steady, _condition("AbleToScale", "True", "ScaleUpStabilized", text)
    text = "recommended size matches current size"
    return steady, _condition("AbleToScale", "True", "ReadyForNewScale", text)


def _window(behavior: Object, field: str, default: float) -> float:
    given = (behavior.get(field) or {}).get("stabilizationWindowSeconds")
    return default if given is None else float(given)


def _ceiling(behavior: Object, history: History, current: int, now: float) -> int:
    rules = behavior.get("scaleUp") or {}
    if rules.get("selectPolicy") == "Disabled":
        return current
    found: list[int] = []
    for policy in rules.get("policies") or ():
        start = current - _net(history, policy["periodSeconds"], now)
        if policy["type"] == "Pods":
            found.append(start + policy["value"])
        else:
            found.append(math.ceil(start * (1 + policy["value"] / 100)))
    if not found:
        return 2**31 - 1
    return min(found) if rules.get("selectPolicy") == "Min" else max(found)


def _floor(behavior: Object, history: History, current: int, now: float) -> int:
    rules = behavior.get("scaleDown") or {}
    if rules.get("selectPolicy") == "Disabled":
        return current
    found: list[int] = []
    for policy in rules.get("policies") or ():
        start = current - _net(history, policy["periodSeconds"], now)
        if policy["type"] == "Pods":
            found.append(start - policy["value"])
        else:
            found.append(int(start * (1 - policy["value"] / 100)))
    if not found:
        return 0
    return max(found) if rules.get("selectPolicy") == "Min" else min(found)


def _net(history: History, period: int, now: float) -> int:
    """By how much the target has grown in the period."""
    grown = sum(n for at, n in history.grown if at > now - period)
    return grown - sum(n for at, n in history.shrunk if at > now - period)


def _condition(type: str, status: str, reason: str, message: str) -> Object:
    return {"type": type, "status": status, "reason": reason, "message": message}


_TOO_MANY = _condition(
    "ScalingLimited", "True", "TooManyReplicas",
    "the desired replica count is more than the maximum replica count",
)  # fmt: skip
_TOO_FEW = _condition(
    "ScalingLimited", "True", "TooFewReplicas",
    "the desired replica count is less than the minimum replica count",
)  # fmt: skip
_TOO_FAST_UP = _condition(
    "ScalingLimited", "True", "ScaleUpLimit",
    "the desired replica count is increasing faster than the maximum scale rate",
)  # fmt: skip
_TOO_FAST_DOWN = _condition(
    "ScalingLimited", "True", "ScaleDownLimit",
    "the desired replica count is decreasing faster than the maximum scale rate",
)  # fmt: skip
_WITHIN = _condition(
    "ScalingLimited", "False", "DesiredWithinRange",
    "the desired count is within the acceptable range",
)  # fmt: skip
