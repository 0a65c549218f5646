"""Dynamic resource allocation (resource.k8s.io/v1), and ComponentStatus (core/v1)."""

from __future__ import annotations

from typing import Any

from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.claim_validation import (
    claim_problems,
    claim_status_problems,
    class_problems,
    template_problems,
)
from todoku.api.resources.generic import (
    AGE,
    NAME,
    clear_status,
    keep_all_but_own_status,
    keep_status,
)
from todoku.api.resources.rules import Rules
from todoku.api.resources.slice_validation import slice_problems
from todoku.api.tables import created


def _default_requests(devices: Any) -> None:
    """A request asks for one device of its class unless it says otherwise."""
    for request in (devices or {}).get("requests") or ():
        for one in (request.get("exactly"), *(request.get("firstAvailable") or ())):
            if one is None:
                continue
            if not one.get("allocationMode"):
                one["allocationMode"] = "ExactCount"
            if one["allocationMode"] == "ExactCount" and not one.get("count"):
                one["count"] = 1
            for toleration in one.get("tolerations") or ():
                toleration.setdefault("operator", "Equal")


def _default_claim(obj: Object) -> None:
    _default_requests(obj.setdefault("spec", {}).get("devices"))


def _default_template(obj: Object) -> None:
    _default_requests((obj.setdefault("spec", {}).get("spec") or {}).get("devices"))


def _state(obj: Object) -> str:
    status = obj.get("status") or {}
    states = ["deleted"] if obj["metadata"].get("deletionTimestamp") else []
    if status.get("allocation") is not None:
        states.append("allocated")
        if status.get("reservedFor"):
            states.append("reserved")
    return ",".join(states) or "pending"


RESOURCE_CLAIM = Rules(
    strategy=Strategy(
        default=_default_claim,
        prepare_create=clear_status,
        prepare_update=keep_status,
        prepare_status=keep_all_but_own_status,
        validate=claim_problems,
        validate_status=claim_status_problems,
        has_generation=False,
        delete_returns_object=True,
    ),
    columns=(
        NAME,
        Column(
            name="State",
            description="A summary of the current state (allocated, pending, reserved, etc.).",
        ),
        AGE,
    ),
    row=lambda obj: [obj["metadata"]["name"], _state(obj), created(obj)],
)

RESOURCE_CLAIM_TEMPLATE = Rules(
    strategy=Strategy(
        default=_default_template,
        validate=template_problems,
        has_status=False,
        has_generation=False,
        delete_returns_object=True,
    ),
)


def _slice_row(obj: Object) -> list[object]:
    spec = obj.get("spec") or {}
    return [
        obj["metadata"]["name"],
        spec.get("nodeName", ""),
        spec.get("driver", ""),
        (spec.get("pool") or {}).get("name", ""),
        created(obj),
    ]


def _slice_fields(obj: Object) -> dict[str, str]:
    spec = obj.get("spec") or {}
    return {"spec.nodeName": spec.get("nodeName", ""), "spec.driver": spec.get("driver", "")}


DEVICE_CLASS = Rules(
    strategy=Strategy(validate=class_problems, has_status=False, delete_returns_object=True)
)

RESOURCE_SLICE = Rules(
    strategy=Strategy(
        validate=slice_problems,
        selectable_fields=_slice_fields,
        selectable_field_names=("spec.nodeName", "spec.driver"),
        has_status=False,
        delete_returns_object=True,
    ),
    columns=(
        NAME,
        Column(name="Node", documents="resource.v1.ResourceSliceSpec.nodeName"),
        Column(name="Driver", documents="resource.v1.ResourceSliceSpec.driver"),
        Column(name="Pool", documents="resource.v1.ResourcePool.name"),
        AGE,
    ),
    row=_slice_row,
)


def _status_row(obj: Object) -> list[object]:
    """ComponentStatus."""
    status = message = error = ""
    for one in obj.get("conditions") or ():
        if one.get("type") == "Healthy":
            healthy = one.get("status") == "True"
            status = "Healthy" if healthy else "Unhealthy"
            message, error = one.get("message", ""), one.get("error", "")
    return [obj["metadata"]["name"], status or "Unknown", message, error]


COMPONENT_STATUS = Rules(
    deprecation="v1 ComponentStatus is deprecated in v1.19+",
    strategy=Strategy(has_status=False, has_generation=False),
    columns=(
        NAME,
        Column(name="Status", description="Status of the component conditions"),
        Column(name="Message", description="Message of the component conditions"),
        Column(name="Error", description="Error of the component conditions"),
    ),
    row=_status_row,
)
