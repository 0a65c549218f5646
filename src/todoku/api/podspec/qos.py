"""The quality-of-service class of a pod (pkg/apis/core/v1/helper/qos)."""

from __future__ import annotations

from todoku.api import quantities
from todoku.api.meta import Object

_COMPUTE = ("cpu", "memory")


def qos_class(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort, from the amounts of cpu and memory that are asked for."""
    if spec.get("resources"):
        sets = [spec["resources"]]
    else:
        containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
        sets = [container.get("resources") or {} for container in containers]
    requests = [_compute(one.get("requests")) for one in sets]
    limits = [_compute(one.get("limits")) for one in sets]
    if not any(requests) and not any(limits):
        return "BestEffort"
    complete = all(set(one) == set(_COMPUTE) for one in limits)
    if complete and all(asked == limit for asked, limit in zip(requests, limits, strict=True)):
        return "Guaranteed"
    return "Burstable"


def _compute(amounts: Object | None) -> dict[str, quantities.Quantity]:
    """The positive amounts of cpu and memory; what is no quantity counts as nothing."""
    found: dict[str, quantities.Quantity] = {}
    for name, amount in (amounts or {}).items():
        if name in _COMPUTE and quantities.is_quantity(amount):
            quantity = quantities.parse(amount)
            if quantity:
                found[name] = quantity
    return found
