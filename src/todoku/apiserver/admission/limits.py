"""LimitRanger: default amounts for containers, and bounds on what pods, containers and claims ask for.

Source: docs, Limit Ranges; the messages are those clients see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from todoku.api.errors import ApiError
from todoku.api.meta import Object
from todoku.api.quantities import Quantity, QuantityError, parse
from todoku.api.quota import pod_amounts
from todoku.apiserver.admission.base import (
    Plugin,
    creates,
    is_main,
    is_mirror_pod,
    new_object,
    new_spec,
    refusal,
)
from todoku.apiserver.config import Attributes, Objects

LIMIT_RANGES = "limitranges"
_ANNOTATION = "kubernetes.io/limit-ranger"
_CLAIMS = "persistentvolumeclaims"


class LimitRanger(Plugin):
    name = "LimitRanger"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def mutate(self, attributes: Attributes) -> None:
        if not creates(attributes, "pods") or is_mirror_pod(new_object(attributes)):
            return
        for one in self._objects.list(LIMIT_RANGES, attributes.namespace):
            _apply_defaults(new_object(attributes), new_spec(attributes), one)

    async def validate(self, attributes: Attributes) -> None:
        if not _is_bounded(attributes):
            return
        problems: list[str] = []
        for one in self._objects.list(LIMIT_RANGES, attributes.namespace):
            for item in (one.get("spec") or {}).get("limits") or ():
                problems += _problems(attributes, item)
        if problems:
            raise _refused(attributes, problems)


def _is_bounded(attributes: Attributes) -> bool:
    if attributes.operation not in ("CREATE", "UPDATE"):
        return False
    if attributes.resource.name == "pods":
        return creates(attributes, "pods") or attributes.subresource == "resize"
    return is_main(attributes, _CLAIMS)


def _refused(attributes: Attributes, problems: Sequence[str]) -> ApiError:
    unique = list(dict.fromkeys(problems))
    return refusal(attributes, unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]")


# -- defaults


def _apply_defaults(pod: Object, spec: Object, limit_range: Object) -> None:
    requests: dict[str, object] = {}
    limits: dict[str, object] = {}
    for item in (limit_range.get("spec") or {}).get("limits") or ():
        if item.get("type") == "Container":
            requests |= item.get("defaultRequest") or {}
            limits |= item.get("default") or {}
    notes = []
    for kind, containers in (("container", "containers"), ("init container", "initContainers")):
        for container in spec.get(containers) or ():
            for field, defaults in (("requests", requests), ("limits", limits)):
                added = _merge(container, field, defaults)
                if added:
                    what = f"{', '.join(sorted(added))} {field[:-1]}"
                    notes.append(f"{what} for {kind} {container.get('name', '')}")
    if notes:
        annotations = pod["metadata"].setdefault("annotations", {})
        annotations[_ANNOTATION] = f"LimitRanger plugin set: {'; '.join(notes)}"


def _merge(container: Object, field: str, defaults: Mapping[str, object]) -> list[str]:
    if not defaults:
        return []
    amounts = container.setdefault("resources", {}).setdefault(field, {})
    added = [name for name in defaults if name not in amounts]
    for name in added:
        amounts[name] = defaults[name]
    return added


# -- bounds


def _problems(attributes: Attributes, item: Object) -> list[str]:
    kind, spec = item.get("type"), new_spec(attributes)
    if attributes.resource.name == _CLAIMS:
        if kind != "PersistentVolumeClaim":
            return []
        requests = _parsed((spec.get("resources") or {}).get("requests"))
        return [*_minimum(item, requests, {}), *_claim_maximum(item, requests)]
    if kind == "Pod":
        return _bounds(item, pod_amounts(spec, "requests"), pod_amounts(spec, "limits"))
    if kind != "Container":
        return []
    found = []
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        resources = container.get("resources") or {}
        found += _bounds(item, _parsed(resources.get("requests")), _parsed(resources.get("limits")))
    return found


def _bounds(
    item: Object, requests: Mapping[str, Quantity], limits: Mapping[str, Quantity]
) -> list[str]:
    return [
        *_minimum(item, requests, limits),
        *_maximum(item, requests, limits),
        *_ratio(item, requests, limits),
    ]


def _minimum(
    item: Object, requests: Mapping[str, Quantity], limits: Mapping[str, Quantity]
) -> list[str]:
    found = []
    for name, text in (item.get("min") or {}).items():
        bound, head = parse(text), f"minimum {name} usage per {item['type']} is {text}"
        if name not in requests:
            found.append(f"{head}.  No request is specified")
        elif requests[name] < bound:
            found.append(f"{head}, but request is {requests[name]}")
        elif name in limits and limits[name] < bound:
            found.append(f"{head}, but limit is {limits[name]}")
    return found


def _maximum(
    item: Object, requests: Mapping[str, Quantity], limits: Mapping[str, Quantity]
) -> list[str]:
    found = []
    for name, text in (item.get("max") or {}).items():
        bound, head = parse(text), f"maximum {name} usage per {item['type']} is {text}"
        if name not in limits:
            found.append(f"{head}.  No limit is specified")
        elif limits[name] > bound:
            found.append(f"{head}, but limit is {limits[name]}")
        elif name in requests and requests[name] > bound:
            found.append(f"{head}, but request is {requests[name]}")
    return found


def _claim_maximum(item: Object, requests: Mapping[str, Quantity]) -> list[str]:
    """A claim has requests only; its maximum is compared with them."""
    return [
        f"maximum {name} usage per {item['type']} is {text}, but request is {requests[name]}"
        for name, text in (item.get("max") or {}).items()
        if name in requests and requests[name] > parse(text)
    ]


def _ratio(
    item: Object, requests: Mapping[str, Quantity], limits: Mapping[str, Quantity]
) -> list[str]:
    found = []
    for name, text in (item.get("maxLimitRequestRatio") or {}).items():
        head = f"{name} max limit to request ratio per {item['type']} is {text}"
        request, limit = requests.get(name), limits.get(name)
        if request is None or not request.value:
            found.append(f"{head}, but no request is specified or request is 0")
        elif limit is None or not limit.value:
            found.append(f"{head}, but no limit is specified or limit is 0")
        elif limit.value / request.value > parse(text).value:
            found.append(f"{head}, but provided ratio is {float(limit.value / request.value):f}")
    return found


def _parsed(amounts: Mapping[str, object] | None) -> dict[str, Quantity]:
    found = {}
    for name, amount in (amounts or {}).items():
        try:
            found[name] = parse(str(amount))
        except QuantityError:
            continue  # validation refuses it
    return found
