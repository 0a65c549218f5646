"""PodResizeValidator: a pod that runs is not resized beyond what its node can give, and only on Linux (v1.36)."""

from __future__ import annotations

from collections.abc import Mapping

from todoku.api.errors import Forbidden
from todoku.api.meta import Object
from todoku.api.podspec.resources import parsed
from todoku.api.quantities import ZERO, Quantity
from todoku.api.quota import pod_amounts
from todoku.apiserver.admission.base import Plugin, new_object, new_spec, refusal
from todoku.apiserver.config import Attributes, Objects


class PodResizeValidator(Plugin):
    name = "PodResizeValidator"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def validate(self, attributes: Attributes) -> None:
        if attributes.resource.name != "pods" or attributes.subresource != "resize":
            return
        pod, spec = new_object(attributes), new_spec(attributes)
        name = spec.get("nodeName")
        if not name or _generation(pod) == _generation(attributes.old or {}):
            return
        node = self._objects.get("nodes", name)
        if node is None:
            raise refusal(attributes, f'node "{name}" not found')
        system = (node["metadata"].get("labels") or {}).get("kubernetes.io/os", "linux")
        if system != "linux":
            why = f'pod resize is only supported on linux nodes, node "{name}" is "{system}"'
            raise _caused(refusal(attributes, why), "UnsupportedPlatform")
        if lacks := lacking(spec, (node.get("status") or {}).get("allocatable") or {}):
            why = f"node didn't have enough allocatable resources: {lacks}"
            raise _caused(refusal(attributes, why), "NodeCapacity")


def lacking(spec: Object, allocatable: Mapping[str, object]) -> str:
    """What of the pod's requests is more than the node has; cpu in thousandths."""
    wanted, given = pod_amounts(spec, "requests"), parsed(allocatable)
    return "; ".join(
        f"{name}, requested: {shown(wanted[name])}, allocatable: {shown(given.get(name, ZERO))}"
        for name, shown in (("cpu", Quantity.milli), ("memory", Quantity.units))
        if wanted.get(name, ZERO) > given.get(name, ZERO)
    )


def _generation(pod: Object) -> object:
    return (pod.get("metadata") or {}).get("generation")


def _caused(error: Forbidden, reason: str) -> Forbidden:
    error.details["causes"] = [{"reason": reason}]
    return error
