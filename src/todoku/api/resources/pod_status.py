"""Validation of what is written to a pod's status (pkg/apis/core/validation ValidatePodStatusUpdate)."""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api import validation
from todoku.api.errors import (
    FieldError,
    Path,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
)
from todoku.api.internals import rendered_list
from todoku.api.meta import Object
from todoku.api.podspec.annotations import annotation_change_problems

_STATUS = Path("status")
_SYSTEM_CONDITIONS = ("Initialized", "PodScheduled", "Ready")
_HEALTH = ("Healthy", "Unhealthy", "Unknown")
_MESSAGE_BYTES = 1024
STATUS_LISTS = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")


def validate_status(new: Object, old: Object) -> list[FieldError]:
    spec, before, after = old["spec"], old.get("status") or {}, new.get("status") or {}
    problems = annotation_change_problems(
        new["metadata"].get("annotations") or {},
        old["metadata"].get("annotations") or {},
        Path("metadata") / "annotations",
    )
    problems += _conditions(after.get("conditions") or ())
    problems += _nominated(after, before, bound=bool(spec.get("nodeName")))
    if (after.get("observedGeneration") or 0) < 0:
        text = "must be a non-negative integer"
        problems.append(invalid(_STATUS / "observedGeneration", after["observedGeneration"], text))
    problems += validation.immutable(
        after.get("qosClass") or "", before.get("qosClass") or "", _STATUS / "qosClass"
    )
    for field in STATUS_LISTS:
        statuses = after.get(field) or ()
        problems += _transitions(statuses, before.get(field) or (), spec, field)
    problems += _claims(after, spec)
    problems += _addresses(after, before, "podIPs")
    problems += _host_addresses(after, before)
    for field in STATUS_LISTS:
        problems += _users(after.get(field) or (), spec, _STATUS / field)
    for field in STATUS_LISTS:
        problems += _health(after.get(field) or (), spec, field)
    return problems


def _conditions(conditions: Sequence[Object]) -> list[FieldError]:
    problems: list[FieldError] = []
    for index, condition in enumerate(conditions):
        at, kind = _STATUS / "conditions" / index, condition.get("type") or ""
        generation = condition.get("observedGeneration") or 0
        if generation < 0:
            text = "must be a non-negative integer"
            problems.append(invalid(at / "observedGeneration", generation, text))
        if kind not in _SYSTEM_CONDITIONS:
            texts = validation.qualified_name_problems(kind)
            problems += [invalid(at / "Type", kind, text) for text in texts]
    return problems


def _nominated(after: Object, before: Object, *, bound: bool) -> list[FieldError]:
    name, at = after.get("nominatedNodeName") or "", _STATUS / "nominatedNodeName"
    if not name or name == (before.get("nominatedNodeName") or ""):
        return []
    problems = [invalid(at, name, text) for text in validation.dns1123_subdomain(name)]
    if bound:
        problems.append(forbidden(at, "may not be set on pods that are already bound to a node"))
    return problems


def _transitions(
    after: Sequence[Object], before: Sequence[Object], spec: Object, field: str
) -> list[FieldError]:
    """A container that has ended for good does not come back."""
    if not before or (field != "ephemeralContainerStatuses" and _restarts_all(spec)):
        return []
    fresh = {one.get("name"): one for one in after}
    problems: list[FieldError] = []
    for index, one in enumerate(before):
        ended = (one.get("state") or {}).get("terminated")
        now = fresh.get(one.get("name"))
        if ended is None or now is None or (now.get("state") or {}).get("terminated") is not None:
            continue
        if not _may_restart(one.get("name"), ended.get("exitCode") or 0, spec, field):
            text = "may not be transitioned to non-terminated state"
            problems.append(forbidden(_STATUS / field / index / "state", text))
    return problems


def _restarts_all(spec: Object) -> bool:
    return any(
        rule.get("action") == "RestartAllContainers"
        for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
        for rule in container.get("restartPolicyRules") or ()
    )


_SPEC_LISTS = {"containerStatuses": "containers", "initContainerStatuses": "initContainers"}


def _may_restart(name: object, exit_code: int, spec: Object, field: str) -> bool:
    """Whether rules or policies let a container start again (KEP-5307)."""
    for container in spec.get(_SPEC_LISTS.get(field, "")) or ():
        if container.get("name") != name:
            continue
        if any(_rule_holds(rule, exit_code) for rule in container.get("restartPolicyRules") or ()):
            return True
        policy = container.get("restartPolicy") or spec.get("restartPolicy")
        return policy == "Always" or (policy == "OnFailure" and exit_code != 0)
    return False


def _rule_holds(rule: Object, exit_code: int) -> bool:
    codes = rule.get("exitCodes") or {}
    inside = exit_code in (codes.get("values") or ())
    return (
        inside if codes.get("operator") == "In" else codes.get("operator") == "NotIn" and not inside
    )


def _claims(status: Object, spec: Object) -> list[FieldError]:
    """status.resourceClaimStatuses name claims of the spec."""
    known = {one.get("name") for one in spec.get("resourceClaims") or ()}
    problems: list[FieldError] = []
    seen: set[str] = set()
    for index, one in enumerate(status.get("resourceClaimStatuses") or ()):
        at, name = _STATUS / "resourceClaimStatuses" / index, one.get("name") or ""
        if name not in known:
            text = "must match the name of an entry in `spec.resourceClaims`"
            problems.append(invalid(at / "name", name, text))
        if name in seen:
            problems.append(duplicate(at / "name", name))
        seen.add(name)
        claim = one.get("resourceClaimName")
        if claim is not None:
            texts = validation.dns1123_subdomain(claim)
            problems += [invalid(at / "resourceClaimName", claim, text) for text in texts]
    return problems


def _addresses(after: Object, before: Object, field: str) -> list[FieldError]:
    """At most one address of each family, each in its plain form."""
    found, path = after.get(field) or [], _STATUS / field
    kept = [one.get("ip") or "" for one in before.get(field) or ()]
    problems: list[FieldError] = []
    for index, one in enumerate(found):
        problems += validation.address_problems(one.get("ip") or "", path / index, kept)
    families = {validation.family_of(one.get("ip") or "") for one in found}
    if len(found) > 1 and (len(found) > 2 or families != {4, 6}):
        text = "may specify no more than one IP for each IP family"
        problems.append(invalid(path, rendered_list(found, "PodIP"), text))
    return problems


def _host_addresses(after: Object, before: Object) -> list[FieldError]:
    found = after.get("hostIPs") or ()
    if not found:
        return []
    first = found[0].get("ip") or ""
    problems: list[FieldError] = []
    if (after.get("hostIP") or "") != first:
        at = _STATUS / "hostIPs" / 0 / "ip"
        problems.append(invalid(at, first, "must be equal to `hostIP`"))
    return problems + _addresses(after, before, "hostIPs")


def _users(statuses: Sequence[Object], spec: Object, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    windows = (spec.get("os") or {}).get("name") == "windows"
    for index, one in enumerate(statuses):
        user = (one.get("user") or {}).get("linux")
        if user is None:
            continue
        at = path / index / "user" / "linux"
        if windows:
            problems.append(forbidden(at, "cannot be set for a windows pod"))
            continue
        ids = [("uid", user.get("uid") or 0), ("gid", user.get("gid") or 0)]
        for field, value in ids:
            problems += validation.in_range(value, 0, 2**31 - 1, at / field)
        for number, group in enumerate(user.get("supplementalGroups") or ()):
            where = at / "supplementalGroups" / number
            problems += validation.in_range(group, 0, 2**31 - 1, where)
    return problems


def _health(statuses: Sequence[Object], spec: Object, field: str) -> list[FieldError]:
    """allocatedResourcesStatus: of resources that the container asks for, each device once."""
    containers = {one.get("name"): one for one in spec.get(_SPEC_LISTS.get(field, "")) or ()}
    problems: list[FieldError] = []
    for index, status in enumerate(statuses):
        listed, path = status.get("allocatedResourcesStatus") or (), _STATUS / field / index
        if listed and field not in _SPEC_LISTS:
            text = "must not be specified in container status"
            problems.append(forbidden(path / "allocatedResourcesStatus", text))
            continue
        for number, one in enumerate(listed):
            at = path / "allocatedResourcesStatus" / number
            container = containers.get(status.get("name"))
            if container is not None:
                problems += _asked_for(one.get("name") or "", container, at / "name")
            problems += _devices(one.get("resources") or (), at / "resources")
    return problems


def _asked_for(name: str, container: Object, path: Path) -> list[FieldError]:
    resources = container.get("resources") or {}
    if not name.startswith("claim:"):
        text = "must match one of the container's resource requests"
        return [] if name in (resources.get("requests") or ()) else [invalid(path, name, text)]
    for claim in resources.get("claims") or ():
        request = claim.get("request")
        if name == f"claim:{claim.get('name')}" + (f"/{request}" if request else ""):
            return []
    text = (
        "must match one of the container's resource claims in a format 'claim:<claimName>/<request>'"
        " or 'claim:<claimName>' if request is empty"
    )
    return [invalid(path, name, text)]


def _devices(devices: Sequence[Object], path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    seen: set[str] = set()
    for index, one in enumerate(devices):
        at, health, message = path / index, one.get("health") or "", one.get("message")
        if health not in _HEALTH:
            problems.append(not_supported(at / "health", health, _HEALTH))
        if message == "":
            problems.append(required(at / "message", "must be non-empty if specified"))
        elif message is not None and len(message) > _MESSAGE_BYTES:
            problems.append(too_long(at / "message", _MESSAGE_BYTES))
        device = one.get("resourceID") or ""
        if device in seen:
            problems.append(duplicate(at / "resourceID", device))
        seen.add(device)
    return problems
