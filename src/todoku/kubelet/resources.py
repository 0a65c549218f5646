"""Requests and limits as cgroup settings, and the quality of service they amount to; pure.

Sources: KEP-2570 v1 mapping (2 to 262144 shares, 100 ms periods), core/v1 QOSClass, the kubelet's oom_score_adj.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from todoku.api import quantities
from todoku.api.meta import Object
from todoku.kubelet.records import INIT, restartable, specs
from todoku.linux.cgroups import Limits

_PERIOD = 100_000
_RESOURCES = ("cpu", "memory")


def qos_class(pod: Object) -> str:
    """Guaranteed, Burstable or BestEffort."""
    spec = pod["spec"]
    containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
    given = [one.get("resources") or {} for one in containers]
    if spec.get("resources"):  # pod-level resources decide alone (KEP-2837)
        given = [spec["resources"]]
    amounts = [
        quantities.parse(value)
        for one in given
        for part in ("requests", "limits")
        for name, value in (one.get(part) or {}).items()
        if name in _RESOURCES
    ]
    if not any(amounts):
        return "BestEffort"
    return "Guaranteed" if all(_guaranteed(one) for one in given) else "Burstable"


def _guaranteed(resources: Object) -> bool:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    return all(
        name in limits
        and quantities.parse(requests.get(name, limits[name])) == quantities.parse(limits[name])
        for name in _RESOURCES
    )


def container_limits(spec: Object) -> Limits:
    """What the container's own group gets."""
    resources = spec.get("resources") or {}
    return _limits(resources.get("requests") or {}, resources.get("limits") or {})


def pod_limits(pod: Object) -> Limits:
    """What the pod's group gets: the sum of its containers; a limit only if every container has one."""
    spec = pod["spec"]
    if spec.get("resources"):
        return _limits(
            spec["resources"].get("requests") or {}, spec["resources"].get("limits") or {}
        )
    running = [*spec["containers"], *(one for one in specs(pod, INIT) if restartable(one))]
    before = [one for one in specs(pod, INIT) if not restartable(one)]
    limits = {}
    for name in _RESOURCES:
        values = [_amount(one, "limits", name) for one in [*running, *before]]
        if all(value is not None for value in values):
            total = sum(
                (_amount(one, "limits", name) or Fraction(0) for one in running), Fraction(0)
            )
            limits[name] = max(
                [total, *(_amount(one, "limits", name) or Fraction(0) for one in before)]
            )
    requests = {
        name: sum((_amount(one, "requests", name) or Fraction(0) for one in running), Fraction(0))
        for name in _RESOURCES
    }
    return _of(requests, limits)


def oom_score_adj(pod: Object, spec: Object, memory_bytes: int) -> int:
    """Who dies first when memory runs out: -997 for guaranteed pods, 1000 for best effort."""
    quality = qos_class(pod)
    if (pod["spec"].get("priority") or 0) >= 2_000_000_000 or quality == "Guaranteed":
        return -997
    if quality == "BestEffort":
        return 1000
    request = int(_amount(spec, "requests", "memory") or 0)
    return min(max(1000 - 1000 * request // max(memory_bytes, 1), 3), 999)


def _limits(requests: Mapping[str, str], limits: Mapping[str, str]) -> Limits:
    return _of(_parsed(requests), _parsed(limits))


def _parsed(amounts: Mapping[str, str]) -> dict[str, Fraction]:
    return {
        name: Fraction(quantities.parse(value).milli(), 1000)
        for name, value in amounts.items()
        if name in _RESOURCES
    }


def _of(requests: Mapping[str, Fraction], limits: Mapping[str, Fraction]) -> Limits:
    cpu = requests.get("cpu") or limits.get("cpu") or Fraction(0)
    quota = limits.get("cpu", Fraction(0))
    return Limits(
        cpu_shares=min(max(int(cpu * 1024), 2), 262144),
        cpu_quota_microseconds=max(int(quota * _PERIOD), 1000) if quota else 0,
        cpu_period_microseconds=_PERIOD,
        memory_bytes=int(limits.get("memory", 0)),
    )


def _amount(spec: Object, part: str, name: str) -> Fraction | None:
    resources = spec.get("resources") or {}
    value = (resources.get(part) or {}).get(name)
    if value is None and part == "requests":
        value = (resources.get("limits") or {}).get(name)
    return None if value is None else Fraction(quantities.parse(value).milli(), 1000)
