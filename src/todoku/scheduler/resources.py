"""How much a pod asks for, in whole numbers: cpu in thousandths, all else in units.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from todoku.api import quantities
from todoku.api.meta import Object

Amounts: TypeAlias = dict[str, int]

# What a container without a request counts for when nodes are compared (not when they are filtered).
DEFAULT_CPU_MILLI, DEFAULT_MEMORY_BYTES = 100, 200 * 1024 * 1024


def amounts(listed: Mapping[str, object] | None) -> Amounts:
    """A ResourceList as numbers."""
    return {name: _number(name, value) for name, value in (listed or {}).items()}


def _number(name: str, value: object) -> int:
    quantity = quantities.parse(value)  # type: ignore[arg-type]
    return quantity.milli() if name == "cpu" else quantity.units()


def requests(pod: Object) -> Amounts:
    """What the pod needs at once, at most: its containers and sidecars, its greatest init step, its overhead.

    Requests at pod level, where given, replace the sum of the containers (KEP-2837).
    """
    return _pod_amounts(pod, {})


def nonzero_requests(pod: Object) -> Amounts:
    """cpu and memory, with a small default for containers that ask for nothing."""
    found = _pod_amounts(pod, {"cpu": DEFAULT_CPU_MILLI, "memory": DEFAULT_MEMORY_BYTES})
    return {"cpu": found.get("cpu", 0), "memory": found.get("memory", 0)}


def _pod_amounts(pod: Object, default: Amounts) -> Amounts:
    spec = _while_resized(pod)
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, _asked(container, default))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        asked = _asked(container, default)
        if container.get("restartPolicy") == "Always":
            _add(total, asked)
            _add(sidecars, asked)
            asked = dict(sidecars)
        else:
            asked = _sum(asked, sidecars)
        _raise(peak, asked)
    _raise(total, peak)
    whole = amounts((spec.get("resources") or {}).get("requests"))
    total |= whole
    _add(total, amounts(spec.get("overhead")))
    return total


def _while_resized(pod: Object) -> Object:
    """The spec with what containers hold on their node: a wish that cannot be met there takes nothing (KEP-1287)."""
    spec: Object = pod["spec"]
    status = pod.get("status") or {}
    resize = [c for c in status.get("conditions") or () if c["type"].startswith("PodResize")]
    if not resize:
        return spec
    met = all(one.get("reason") != "Infeasible" for one in resize)
    held = {
        one["name"]: _held(one)
        for field in ("containerStatuses", "initContainerStatuses")
        for one in status.get(field) or ()
    }
    return spec | {
        field: [_holding(one, held.get(one["name"]), met) for one in spec.get(field) or ()]
        for field in ("containers", "initContainers")
    }


def _held(status: Object) -> Amounts:
    found = amounts(status.get("allocatedResources"))
    _raise(found, amounts((status.get("resources") or {}).get("requests")))
    return found


def _holding(container: Object, held: Amounts | None, met: bool) -> Object:
    if not held:
        return container
    asked = amounts((container.get("resources") or {}).get("requests")) if met else {}
    _raise(asked, held)
    wire = {name: f"{value}m" if name == "cpu" else str(value) for name, value in asked.items()}
    return container | {"resources": {"requests": wire}}


def _asked(container: Object, default: Amounts) -> Amounts:
    return default | amounts((container.get("resources") or {}).get("requests"))


def _sum(one: Amounts, other: Amounts) -> Amounts:
    result = dict(one)
    _add(result, other)
    return result


def _add(total: Amounts, more: Amounts) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _raise(total: Amounts, at_least: Amounts) -> None:
    for name, value in at_least.items():
        total[name] = max(total.get(name, 0), value)
