"""Node (core/v1)."""

from __future__ import annotations

from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import AGE, NAME, keep_all_but_status, keep_status
from todoku.api.resources.node_validation import validate, validate_change, warnings
from todoku.api.resources.rules import Rules
from todoku.api.tables import created

_ROLE = "node-role.kubernetes.io/"


def _default(obj: Object) -> None:
    """Of `podCIDR` and `podCIDRs`, the first says what counts; what is there can be used."""
    spec, status = obj.setdefault("spec", {}), obj.get("status") or {}
    if spec.get("podCIDR") and (spec.get("podCIDRs") or [""])[0] != spec["podCIDR"]:
        spec["podCIDRs"] = [spec["podCIDR"]]
    elif spec.get("podCIDRs"):
        spec["podCIDR"] = spec["podCIDRs"][0]
    if status.get("capacity") is not None and status.get("allocatable") is None:
        status["allocatable"] = dict(status["capacity"])


def _prepare_create(obj: Object) -> None:
    (obj.get("status") or {}).pop("config", None)


def _prepare_status(new: Object, old: Object) -> None:
    keep_all_but_status(new, old)
    if (old.get("status") or {}).get("config") is None:
        (new.get("status") or {}).pop("config", None)


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
        prepare_update=keep_status,
        prepare_status=_prepare_status,
        validate=validate,
        validate_status=validate_change,
        warnings=warnings,
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
