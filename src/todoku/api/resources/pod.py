"""Pod and PodTemplate (core/v1)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from todoku.api import validation
from todoku.api.errors import FieldError, Path, duplicate, forbidden, invalid
from todoku.api.meta import Object, copy
from todoku.api.podspec import (
    default_pod_spec,
    default_template,
    validate_pod_spec,
    validate_template,
)
from todoku.api.podspec.defaults import default_pod_only
from todoku.api.podspec.qos import qos_class
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import NAME, keep_all_but_status, keep_status
from todoku.api.resources.pod_columns import COLUMNS, row
from todoku.api.resources.pod_warnings import pod_warnings, template_warnings
from todoku.api.resources.rules import Rules
from todoku.api.resources.templates import containers_cell, images_cell

_SPEC = Path("spec")


def _default(pod: Object) -> None:
    spec = pod.setdefault("spec", {})
    default_pod_spec(spec)
    default_pod_only(spec)


def _prepare_create(pod: Object) -> None:
    pod["status"] = {"phase": "Pending", "qosClass": qos_class(pod["spec"])}


def _prepare_update(new: Object, old: Object) -> None:
    keep_status(new, old)
    if "ephemeralContainers" in old["spec"]:
        new["spec"]["ephemeralContainers"] = old["spec"]["ephemeralContainers"]
    else:
        new["spec"].pop("ephemeralContainers", None)


def _prepare_status(new: Object, old: Object) -> None:
    keep_all_but_status(new, old)
    owners = old["metadata"].get("ownerReferences")
    if owners is None:
        new["metadata"].pop("ownerReferences", None)
    else:
        new["metadata"]["ownerReferences"] = owners
    if "qosClass" in (old.get("status") or {}):
        new.setdefault("status", {})["qosClass"] = old["status"]["qosClass"]


def _validate(new: Object, old: Object | None) -> list[FieldError]:
    if old is None:
        return _create_problems(new)
    return update_problems(new, old)


def _create_problems(pod: Object) -> list[FieldError]:
    problems = validate_pod_spec(pod["spec"], _SPEC, pod=True)
    for gate in pod["spec"].get("schedulingGates") or ():
        if pod["spec"].get("nodeName"):
            text = f"cannot be set until all schedulingGates have been cleared ({gate.get('name')})"
            problems.append(forbidden(_SPEC / "nodeName", text))
            break
    if pod["spec"].get("ephemeralContainers"):
        problems.append(forbidden(_SPEC / "ephemeralContainers", "cannot be set on create"))
    return problems


_UPDATE_TEXT = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def update_problems(new: Object, old: Object) -> list[FieldError]:
    """What may change in a running pod (ValidatePodUpdate)."""
    problems: list[FieldError] = []
    fresh, stored = new["spec"], old["spec"]
    for field in ("containers", "initContainers"):
        before, after = stored.get(field) or (), fresh.get(field) or ()
        if len(before) != len(after):
            text = "pod updates may not add or remove containers"
            problems.append(forbidden(_SPEC / field, text))
            return problems
        for index, container in enumerate(after):
            if not container.get("image"):
                problems.append(
                    FieldError(
                        _SPEC / field / index / "image", "FieldValueRequired", "Required value"
                    )
                )
    problems += _deadline_problems(fresh, stored)
    problems += _toleration_problems(fresh, stored)
    problems += _gate_problems(fresh, stored)
    if problems:
        return problems
    changed = changed_fields(_with_allowed(fresh, stored), fresh)
    if changed:
        problems.append(forbidden(_SPEC, f"{_UPDATE_TEXT}\n{', '.join(changed)}"))
    return problems


def _deadline_problems(fresh: Object, stored: Object) -> list[FieldError]:
    before, after = stored.get("activeDeadlineSeconds"), fresh.get("activeDeadlineSeconds")
    path = _SPEC / "activeDeadlineSeconds"
    if after is not None:
        problems = validation.in_range(after, 0, 2**31 - 1, path)
        if not problems and before is not None and after > before:
            problems.append(invalid(path, after, "must be less than or equal to previous value"))
        return problems
    if before is not None:
        return [invalid(path, after, "must not update from a positive integer to nil value")]
    return []


def _toleration_problems(fresh: Object, stored: Object) -> list[FieldError]:
    after = fresh.get("tolerations") or []
    for one in stored.get("tolerations") or ():
        if not any(_same_toleration(one, other) for other in after):
            text = "existing toleration can not be modified except its tolerationSeconds"
            return [forbidden(_SPEC / "tolerations", text)]
    return []


def _same_toleration(one: Object, other: Object) -> bool:
    return {k: v for k, v in one.items() if k != "tolerationSeconds"} == {
        k: v for k, v in other.items() if k != "tolerationSeconds"
    }


def _gate_problems(fresh: Object, stored: Object) -> list[FieldError]:
    before = {gate.get("name") for gate in stored.get("schedulingGates") or ()}
    added = [
        gate.get("name", "")
        for gate in fresh.get("schedulingGates") or ()
        if gate.get("name") not in before
    ]
    if added:
        text = "only deletion is allowed, but found new scheduling gates"
        return [forbidden(_SPEC / "schedulingGates", f"{text} '{added[0]}'")]
    return []


def _with_allowed(fresh: Object, stored: Object) -> Object:
    """The stored spec with every change that is allowed taken from the new one."""
    allowed: Object = copy(stored)
    for field in ("containers", "initContainers"):
        for before, after in zip(allowed.get(field) or (), fresh.get(field) or (), strict=True):
            before["image"] = after.get("image")
    gated = bool(stored.get("schedulingGates"))
    fields = ["activeDeadlineSeconds", "tolerations", "schedulingGates"]
    if (
        stored.get("terminationGracePeriodSeconds", 0) < 0
        and fresh.get("terminationGracePeriodSeconds") == 1
    ):
        fields.append("terminationGracePeriodSeconds")
    if gated:
        fields += ["nodeSelector", "affinity"]
    for field in fields:
        if field in fresh:
            allowed[field] = fresh[field]
        else:
            allowed.pop(field, None)
    return allowed


def changed_fields(one: Any, other: Any, prefix: str = "spec") -> list[str]:
    """Paths at which two values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(set(one) | set(other))
        return [
            path
            for key in keys
            for path in changed_fields(one.get(key), other.get(key), f"{prefix}.{key}")
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [
            path for index, (a, b) in pairs for path in changed_fields(a, b, f"{prefix}[{index}]")
        ]
    if one == other or (not one and not other):
        return []
    return [prefix]


def ephemeral_problems(new: Object, old: Object) -> list[FieldError]:
    """`/ephemeralcontainers`: may only be added to."""
    path = _SPEC / "ephemeralContainers"
    problems = validate_pod_spec(new["spec"], _SPEC, pod=True)
    after = {one.get("name"): one for one in new["spec"].get("ephemeralContainers") or ()}
    for one in old["spec"].get("ephemeralContainers") or ():
        if one["name"] not in after:
            problems.append(
                forbidden(
                    path, f'existing ephemeral containers "{one["name"]}" may not be removed\n'
                )
            )
        elif after[one["name"]] != one:
            problems.append(
                forbidden(
                    path, f'existing ephemeral containers "{one["name"]}" may not be changed\n'
                )
            )
    return problems


def _validate_status(new: Object, old: Object) -> list[FieldError]:
    problems: list[FieldError] = []
    before, after = old.get("status") or {}, new.get("status") or {}
    nominated = after.get("nominatedNodeName") or ""
    path = Path("status")
    if nominated:
        problems += [
            invalid(path / "nominatedNodeName", nominated, text)
            for text in validation.dns1123_subdomain(nominated)
        ]
    kinds: set[str] = set()
    for index, condition in enumerate(after.get("conditions") or ()):
        if condition.get("type") in kinds:
            problems.append(duplicate(path / "conditions" / index / "type", condition["type"]))
        kinds.add(condition.get("type", ""))
    if after.get("podIPs") != before.get("podIPs"):
        problems += _address_problems(after.get("podIPs") or (), path / "podIPs")
    if before.get("qosClass") and after.get("qosClass") != before["qosClass"]:
        problems.append(invalid(path / "qosClass", after.get("qosClass"), "field is immutable"))
    return problems


def _address_problems(ips: Sequence[Object], path: Path) -> list[FieldError]:
    """Addresses, at most one of each family."""
    problems: list[FieldError] = []
    families: list[int] = []
    for index, one in enumerate(ips):
        text = str(one.get("ip", ""))
        try:
            families.append(ipaddress.ip_address(text).version)
        except ValueError:
            reason = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            problems.append(invalid(path / index, text, reason))
    if len(ips) > 1 and not problems and len(set(families)) != len(families):
        shown = [one["ip"] for one in ips]
        reason = "may specify no more than one IP for each IP family"
        problems.append(invalid(path, shown, reason))
    return problems


def selectable(pod: Object) -> dict[str, str]:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    ips = status.get("podIPs") or ()
    return {
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.restartPolicy": spec.get("restartPolicy", ""),
        "spec.schedulerName": spec.get("schedulerName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "spec.hostNetwork": "true" if spec.get("hostNetwork") else "false",
        "status.phase": status.get("phase", ""),
        "status.podIP": ips[0].get("ip", "") if ips else status.get("podIP", ""),
        "status.nominatedNodeName": status.get("nominatedNodeName", ""),
    }


def grace_seconds(pod: Object) -> int:
    """The grace of a plain delete: none for pods that are not on a node or have ended."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in ("Failed", "Succeeded"):
        return 0
    seconds = int(spec.get("terminationGracePeriodSeconds", 30))
    return 1 if seconds < 0 else seconds


POD = Rules(
    strategy=Strategy(
        default=_default,
        prepare_create=_prepare_create,
        prepare_update=_prepare_update,
        prepare_status=_prepare_status,
        validate=_validate,
        validate_status=_validate_status,
        warnings=pod_warnings,
        selectable_fields=selectable,
        selectable_field_names=tuple(selectable({})),
        graceful=grace_seconds,
        delete_returns_object=True,
    ),
    columns=COLUMNS,
    row=row,
)


def _default_pod_template(obj: Object) -> None:
    default_template(obj.setdefault("template", {}))


def _validate_pod_template(new: Object, old: Object | None) -> list[FieldError]:
    return validate_template(new["template"], Path("template"))


def _template_row(obj: Object) -> list[object]:
    spec = obj["template"].get("spec") or {}
    labels = obj["template"].get("metadata", {}).get("labels") or {}
    shown = ",".join(f"{key}={labels[key]}" for key in sorted(labels)) or "<none>"
    return [obj["metadata"]["name"], containers_cell(spec), images_cell(spec), shown]


POD_TEMPLATE = Rules(
    strategy=Strategy(
        default=_default_pod_template,
        validate=_validate_pod_template,
        warnings=lambda new, old: template_warnings(new.get("template") or {}, "template"),
        has_status=False,
        has_generation=True,
        delete_returns_object=True,
    ),
    columns=(
        NAME,
        Column(name="Containers", description="Names of each container in the template."),
        Column(name="Images", description="Images referenced by each container in the template."),
        Column(name="Pod Labels", description="The labels for the pod template."),
    ),
    row=_template_row,
)
