"""Node (core/v1)."""

from __future__ import annotations

import ipaddress
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
)
from todoku.api.meta import Object
from todoku.api.podspec.scheduling import TAINT_EFFECTS
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import AGE, NAME, keep_all_but_status, keep_status
from todoku.api.resources.rules import Rules
from todoku.api.tables import created

_ROLE = "node-role.kubernetes.io/"
_SPEC = Path("spec")


def _default(obj: Object) -> None:
    obj.setdefault("spec", {})


def _prepare_create(obj: Object) -> None:
    spec = obj["spec"]
    if spec.get("podCIDR") and not spec.get("podCIDRs"):
        spec["podCIDRs"] = [spec["podCIDR"]]


def _prepare_update(new: Object, old: Object) -> None:
    keep_status(new, old)
    _prepare_create(new)


def _validate(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    problems = taint_problems(spec.get("taints") or (), _SPEC / "taints")
    problems += _cidr_problems(spec)
    if old is not None:
        problems += _update_problems(spec, old.get("spec") or {})
    return problems


def taint_problems(taints: Sequence[Object], path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        at, key, value = path / index, taint.get("key") or "", taint.get("value") or ""
        problems += [
            invalid(at / "key", key, text) for text in validation.qualified_name_problems(key)
        ]
        problems += [
            invalid(at / "value", value, text) for text in validation.label_value_problems(value)
        ]
        effect = taint.get("effect") or ""
        if not effect:
            problems.append(required(at / "effect"))
        elif effect not in TAINT_EFFECTS:
            problems.append(not_supported(at / "effect", effect, TAINT_EFFECTS))
        if (key, effect) in seen:
            shown = duplicate(at, taint)
            text = f"{shown.message}: taints must be unique by key and effect pair"
            problems.append(FieldError(at, shown.reason, text))
        seen.add((key, effect))
    return problems


def _cidr_problems(spec: Object) -> list[FieldError]:
    cidrs = spec.get("podCIDRs") or ()
    path = _SPEC / "podCIDRs"
    problems: list[FieldError] = []
    for index, cidr in enumerate(cidrs):
        try:
            ipaddress.ip_network(cidr)
        except ValueError:
            text = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            problems.append(invalid(path / index, cidr, text))
    if len(cidrs) > 2:
        text = "may specify no more than one CIDR for each IP family"
        problems.append(invalid(path, list(cidrs), text))
    if cidrs and spec.get("podCIDR") and spec["podCIDR"] != cidrs[0]:
        text = "the first podCIDRs item must match podCIDR"
        problems.append(invalid(path / 0, cidrs[0], text))
    return problems


def _update_problems(spec: Object, before: Object) -> list[FieldError]:
    problems: list[FieldError] = []
    if before.get("podCIDRs") and spec.get("podCIDRs") != before["podCIDRs"]:
        text = 'node updates may not change podCIDR except from "" to valid'
        problems.append(forbidden(_SPEC / "podCIDRs", text))
    if before.get("providerID") and spec.get("providerID") != before["providerID"]:
        text = 'node updates may not change providerID except from "" to valid'
        problems.append(forbidden(_SPEC / "providerID", text))
    return problems


def _validate_status(new: Object, old: Object) -> list[FieldError]:
    problems: list[FieldError] = []
    seen: list[tuple[str, str]] = []
    for index, one in enumerate((new.get("status") or {}).get("addresses") or ()):
        pair = (one.get("type", ""), one.get("address", ""))
        if pair in seen:
            problems.append(duplicate(Path("status") / "addresses" / index, one))
        seen.append(pair)
    return problems


def roles(node: Object) -> str:
    """The ROLES column: from labels `node-role.kubernetes.io/X` and `kubernetes.io/role=X`."""
    found = set()
    for key, value in (node["metadata"].get("labels") or {}).items():
        if key.startswith(_ROLE) and len(key) > len(_ROLE):
            found.add(key.removeprefix(_ROLE))
        elif key == "kubernetes.io/role" and value:
            found.add(value)
    return ",".join(sorted(found)) or "<none>"


def state(node: Object) -> str:
    """The STATUS column: `Ready`, `NotReady,SchedulingDisabled`, `Unknown`."""
    shown = "Unknown"
    for condition in (node.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Ready":
            shown = "Ready" if condition.get("status") == "True" else "NotReady"
    if (node.get("spec") or {}).get("unschedulable"):
        shown += ",SchedulingDisabled"
    return shown


def _address(node: Object, kind: str) -> str:
    for one in (node.get("status") or {}).get("addresses") or ():
        if one.get("type") == kind:
            return str(one.get("address", ""))
    return "<none>"


def _row(node: Object) -> list[object]:
    info = (node.get("status") or {}).get("nodeInfo") or {}
    return [
        node["metadata"]["name"],
        state(node),
        roles(node),
        created(node),
        info.get("kubeletVersion", ""),
        _address(node, "InternalIP"),
        _address(node, "ExternalIP"),
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _selectable(node: Object) -> dict[str, str]:
    spec = node.get("spec") or {}
    return {"spec.unschedulable": "true" if spec.get("unschedulable") else "false"}


NODE = Rules(
    strategy=Strategy(
        default=_default,
        prepare_create=_prepare_create,
        prepare_update=_prepare_update,
        prepare_status=keep_all_but_status,
        validate=_validate,
        validate_status=_validate_status,
        selectable_fields=_selectable,
        selectable_field_names=("spec.unschedulable",),
        has_generation=False,
    ),
    columns=(
        NAME,
        Column(name="Status", description="The status of the node"),
        Column(name="Roles", description="The roles of the node"),
        AGE,
        Column(name="Version", documents="core.v1.NodeSystemInfo.kubeletVersion"),
        Column(name="Internal-IP", priority=1, documents="core.v1.NodeStatus.addresses"),
        Column(name="External-IP", priority=1, documents="core.v1.NodeStatus.addresses"),
        Column(name="OS-Image", priority=1, documents="core.v1.NodeSystemInfo.osImage"),
        Column(name="Kernel-Version", priority=1, documents="core.v1.NodeSystemInfo.kernelVersion"),
        Column(
            name="Container-Runtime",
            priority=1,
            documents="core.v1.NodeSystemInfo.containerRuntimeVersion",
        ),
    ),
    row=_row,
)
