"""Validation of what a container or a pod asks for: names of resources, amounts, requests within limits, claims."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from todoku.api import quantities, validation
from todoku.api.errors import (
    FieldError,
    Path,
    duplicate,
    forbidden,
    invalid,
    not_found_field,
    not_supported,
    required,
)
from todoku.api.internals import rendered
from todoku.api.meta import Object
from todoku.api.quantities import Quantity

CONTAINER_RESOURCES = frozenset(["cpu", "memory", "ephemeral-storage"])
_OBJECTS = (
    "pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps",
    "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
)  # fmt: skip
# What can be counted, in whole numbers only.
INTEGER_RESOURCES = frozenset(_OBJECTS)
QUOTA_RESOURCES = frozenset(
    [
        "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage",
        "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage", *_OBJECTS,
    ]
)  # fmt: skip
STANDARD_RESOURCES = QUOTA_RESOURCES | {"storage"}
_HUGE = "hugepages-"


def is_huge(name: str) -> bool:
    return name.startswith(_HUGE)


def is_native(name: str) -> bool:
    """The server's own: without a domain, or in kubernetes.io."""
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    """A device of someone else's: `example.com/gpu` (IsExtendedResourceName)."""
    if is_native(name) or name.startswith("requests."):
        return False
    return not validation.qualified_name_problems(f"requests.{name}")


def is_overcommittable(name: str) -> bool:
    return is_native(name) and not is_huge(name)


def resource_name_problems(name: str, path: Path) -> list[FieldError]:
    """The name of anything that has an amount (validateResourceName)."""
    if name in STANDARD_RESOURCES:
        return []
    problems = [invalid(path, name, text) for text in validation.qualified_name_problems(name)]
    if not problems and "/" not in name and not name.startswith((_HUGE, f"requests.{_HUGE}")):
        return [invalid(path, name, "must be a standard resource type or fully qualified")]
    return problems


def container_resource_problems(name: str, path: Path) -> list[FieldError]:
    """The name of something a container can have (validateContainerResourceName)."""
    if name in CONTAINER_RESOURCES:
        return []
    problems = resource_name_problems(name, path)
    if "/" not in name:
        if not is_huge(name):
            problems.append(invalid(path, name, "must be a standard resource for containers"))
    elif not is_native(name) and not is_extended(name):
        problems.append(invalid(path, name, "doesn't follow extended resource name standard"))
    return problems


def _pod_resource_problems(name: str, path: Path) -> list[FieldError]:
    """The name of something a pod as a whole can have (validatePodResourceName)."""
    problems = resource_name_problems(name, path)
    if not problems and name not in ("cpu", "memory") and not is_huge(name):
        return [not_supported(path, name, ("cpu", "memory"))]
    return problems


def amount_problems(name: str, amount: Any, path: Path) -> list[FieldError]:
    """The amount of a resource: not negative, and whole if it can only be counted (ValidateResourceQuantityValue)."""
    return _amount(name, amount, path)[1]


def _amount(name: str, amount: Any, path: Path) -> tuple[Quantity | None, list[FieldError]]:
    try:
        quantity = quantities.parse(amount)
    except (quantities.QuantityError, TypeError) as error:
        return None, [invalid(path, amount, str(error))]
    problems: list[FieldError] = []
    if quantity < quantities.ZERO:
        problems.append(invalid(path, str(quantity), "must be greater than or equal to 0"))
    if _is_counted(name) and quantity.milli() % 1000:
        problems.append(invalid(path, quantity, "must be an integer"))
    return quantity, problems


def _is_counted(name: str) -> bool:
    if name in CONTAINER_RESOURCES:
        return False
    return name in INTEGER_RESOURCES or is_extended(name)


def _page_problems(name: str, quantity: Quantity, path: Path) -> list[FieldError]:
    try:
        page = quantities.parse(name.removeprefix(_HUGE)).value
    except quantities.QuantityError:
        page = quantities.ZERO.value
    if page > 0 and quantity.value.denominator == 1 and quantity.value % page == 0:
        return []
    text = f"{quantity} is not positive integer multiple of {name}"
    return [invalid(path, str(quantity), text)]


def resource_problems(
    resources: Object, path: Path, claims: Collection[str] = ()
) -> list[FieldError]:
    """Limits, requests and claims of a container (ValidateContainerResourceRequirements)."""
    if not resources:
        return []
    return _requirements(resources, path, claims, container_resource_problems)


def _requirements(
    resources: Object,
    path: Path,
    claims: Collection[str],
    name_problems: Callable[[str, Path], list[FieldError]],
) -> list[FieldError]:
    problems: list[FieldError] = []
    limits: dict[str, Quantity] = {}
    seen: set[str] = set()
    for field in ("limits", "requests"):
        at_list = path / field
        for name, amount in (resources.get(field) or {}).items():
            at = at_list.key(name)
            seen.add(name)
            problems += name_problems(name, at)
            quantity, more = _amount(name, amount, at)
            problems += more
            if quantity is None:
                continue
            if field == "limits":
                limits[name] = quantity
            else:
                problems += _within_limit(name, quantity, limits.get(name), at_list, path)
            if is_huge(name):
                problems += _page_problems(name, quantity, at)
    if any(is_huge(name) for name in seen) and not seen & {"cpu", "memory"}:
        problems.append(forbidden(path, "HugePages require cpu or memory"))
    if resources.get("claims"):
        problems += _claim_names(resources["claims"], claims, path / "claims")
    return problems


def _within_limit(
    name: str, request: Quantity, limit: Quantity | None, path: Path, resources_path: Path
) -> list[FieldError]:
    overcommit = is_overcommittable(name)
    if limit is None:
        if overcommit:
            return []
        text = "Limit must be set for non overcommitable resources"
        return [required(resources_path / "limits", text)]
    if not overcommit and request != limit:
        return [invalid(path, str(request), f"must be equal to {name} limit of {limit}")]
    if request > limit:
        text = f"must be less than or equal to {name} limit of {limit}"
        return [invalid(path, str(request), text)]
    return []


_MAX_LISTINGS = 100


def _claim_names(wanted: Sequence[Object], claims: Collection[str], path: Path) -> list[FieldError]:
    """Claims of a container name claims of its pod, each once (validateResourceClaimNames)."""
    problems: list[FieldError] = []
    names: set[str] = set()
    requests: dict[str, int] = {}  # how many requests of a claim are named
    unknown = 0
    for index, claim in enumerate(wanted):
        at, name, request = path / index, claim.get("name") or "", claim.get("request") or ""
        if not name:
            problems.append(required(at))
            continue
        if name in names:
            problems.append(duplicate(at, name))
        else:
            key = name
            if request:
                texts = validation.dns1123_label(request)
                problems += [invalid(at / "request", request, text) for text in texts]
                key = f"{name}/{request}"
            if key in names:
                problems.append(duplicate(at, key))
            elif not request:
                problems += [duplicate(at, name)] * requests.get(name, 0)
            if request and key not in names:
                requests[name] = requests.get(name, 0) + 1
            names.add(key)
        if name not in claims:
            text = "must be one of the names in pod.spec.resourceClaims"
            if unknown < _MAX_LISTINGS:  # all of many names with each of many problems is too much
                text += f": {', '.join(sorted(claims))}" if claims else " which is empty"
            unknown += 1
            problems.append(not_found_field(at, name, text))
    return problems


def pod_claim_problems(claims: Sequence[Object], path: Path) -> list[FieldError]:
    """spec.resourceClaims (validatePodResourceClaims)."""
    problems: list[FieldError] = []
    names: set[str] = set()
    for index, claim in enumerate(claims):
        at, name = path / index, claim.get("name") or ""
        if not name:
            problems.append(required(at / "name"))
        elif name in names:
            problems.append(duplicate(at / "name", name))
        else:
            problems += [
                invalid(at / "name", name, text) for text in validation.dns1123_label(name)
            ]
            names.add(name)
        problems += _claim_source(claim, at)
    return problems


def _claim_source(claim: Object, at: Path) -> list[FieldError]:
    fields = ("resourceClaimName", "resourceClaimTemplateName")
    given = [one for one in fields if claim.get(one) is not None]
    problems: list[FieldError] = []
    shown = rendered(claim, "PodResourceClaim")
    if len(given) == 2:
        text = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
        problems.append(invalid(at, shown, text))
    if not given:
        text = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
        problems.append(invalid(at, shown, text))
    for field in given:
        texts = validation.dns1123_subdomain(claim[field])
        problems += [invalid(at / field, claim[field], text) for text in texts]
    return problems


Amounts = dict[str, Quantity]


def parsed(amounts: Mapping[str, object] | None) -> Amounts:
    """The amounts as numbers; what is no quantity is left out."""
    found: Amounts = {}
    for name, amount in (amounts or {}).items():
        if isinstance(amount, str | int | float):
            try:
                found[name] = quantities.parse(amount)
            except quantities.QuantityError:
                continue
    return found


def aggregate(spec: Object, field: str) -> Amounts:
    """What the containers ask for together: their sum, or the largest init container if that is more.

    Sidecars (init containers that restart always) run beside everything that starts after them.
    Source: KEP-753; k8s.io/component-helpers resource AggregateContainerRequests.
    """
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, container, field)
    sidecars: Amounts = {}
    largest: Amounts = {}
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            _add(total, container, field)
            _add(sidecars, container, field)
            peak = dict(sidecars)
        else:
            peak = dict(sidecars)
            _add(peak, container, field)
        _raise(largest, peak)
    _raise(total, largest)
    return total


def _add(total: Amounts, container: Object, field: str) -> None:
    for name, amount in parsed((container.get("resources") or {}).get(field)).items():
        total[name] = total[name] + amount if name in total else amount


def _raise(total: Amounts, floor: Amounts) -> None:
    for name, amount in floor.items():
        if name not in total or total[name] < amount:
            total[name] = amount


def pod_resource_problems(spec: Object, path: Path) -> list[FieldError]:
    """Amounts of the pod as a whole, and how they fit those of its containers (validatePodResources)."""
    resources, at = spec.get("resources"), path / "resources"
    if resources is None:
        return []
    if (spec.get("os") or {}).get("name") == "windows":
        return [forbidden(at, "may not be set for a windows pod")]
    problems: list[FieldError] = []
    if resources.get("claims"):
        problems.append(
            forbidden(at / "claims", "claims may not be set for Resources at pod-level")
        )
    problems += _requirements(resources, at, (), _pod_resource_problems)
    requests, limits = parsed(resources.get("requests")), parsed(resources.get("limits"))
    for name, amount in aggregate(spec, "requests").items():
        if name in requests and amount > requests[name]:
            text = f"must be greater than or equal to aggregate container requests of {amount}"
            problems.append(invalid((at / "requests").key(name), str(requests[name]), text))
    for name, amount in aggregate(spec, "limits").items():
        if is_huge(name) and name in limits and amount > limits[name]:
            text = f"must be greater than or equal to aggregate container limits of {amount}"
            problems.append(invalid((at / "limits").key(name), str(limits[name]), text))
    for index, container in enumerate(spec.get("containers") or ()):
        for name, amount in parsed((container.get("resources") or {}).get("limits")).items():
            if name in limits and amount > limits[name]:
                where = (at / "containers" / index).key(name) / "limits"
                text = f"must be less than or equal to pod limits of {limits[name]}"
                problems.append(invalid(where, str(amount), text))
    return problems


def resize_policy_problems(
    policies: Sequence[Object], path: Path, restart_policy: str
) -> list[FieldError]:
    """validateResizePolicy."""
    problems: list[FieldError] = []
    seen: set[str] = set()
    for index, one in enumerate(policies):
        name, policy = one.get("resourceName") or "", one.get("restartPolicy") or ""
        if name in seen:
            problems.append(duplicate(path / index, name))
        seen.add(name)
        for value, supported in (
            (name, ("cpu", "memory")),
            (policy, ("NotRequired", "RestartContainer")),
        ):
            if not value:
                problems.append(required(path))
            elif value not in supported:
                problems.append(not_supported(path, value, supported))
        if restart_policy == "Never" and policy != "NotRequired":
            text = "must be 'NotRequired' when pod `restartPolicy` is 'Never'"
            problems.append(invalid(path, policy, text))
    return problems
