"""APIService (apiregistration.k8s.io/v1)."""

from __future__ import annotations

import base64

from todoku.api import validation
from todoku.api.errors import FieldError, Path, invalid, required
from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import (
    AGE,
    NAME,
    clear_status,
    keep_all_but_own_status,
    keep_status,
)
from todoku.api.resources.rules import Rules
from todoku.api.tables import created

_SPEC = Path("spec")


def _default(obj: Object) -> None:
    service = obj.setdefault("spec", {}).get("service")
    if service is not None and service.get("port") is None:
        service["port"] = 443


def _validate(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    group, version = spec.get("group") or "", spec.get("version") or ""
    problems: list[FieldError] = []
    wanted = f"{version}.{group}"
    name = new["metadata"].get("name", "")
    if name != wanted:
        text = f'must be `spec.version+"."+spec.group`: "{wanted}"'
        problems.append(invalid(Path("metadata") / "name", name, text))
    if not group and version != "v1":
        text = "only v1 may have an empty group and it better be legacy kube"
        problems.append(required(_SPEC / "group", text))
    if group:
        problems += [
            invalid(_SPEC / "group", group, text) for text in validation.dns1123_subdomain(group)
        ]
    problems += [
        invalid(_SPEC / "version", version, text) for text in validation.dns1035_label(version)
    ]
    for field, high in (("groupPriorityMinimum", 20000), ("versionPriority", 1000)):
        value = spec.get(field) or 0
        if not 0 < value <= high:
            text = f"must be positive and less than {high}"
            problems.append(invalid(_SPEC / field, value, text))
    return problems + _service(spec)


def _service(spec: Object) -> list[FieldError]:
    service = spec.get("service")
    if service is None:
        problems: list[FieldError] = []
        if spec.get("caBundle"):
            text = "local APIServices may not have a caBundle"
            problems.append(
                invalid(
                    _SPEC / "caBundle", f"{len(base64.b64decode(spec['caBundle']))} bytes", text
                )
            )
        if spec.get("insecureSkipTLSVerify"):
            text = "local APIServices may not have insecureSkipTLSVerify"
            problems.append(invalid(_SPEC / "insecureSkipTLSVerify", True, text))
        return problems
    problems = [
        required(_SPEC / "service" / field)
        for field in ("namespace", "name")
        if not service.get(field)
    ]
    port = service.get("port") or 0
    if not 1 <= port <= 65535:
        text = "port is not valid: must be between 1 and 65535, inclusive"
        problems.append(invalid(_SPEC / "service" / "port", port, text))
    if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
        text = "may not be true if caBundle is present"
        problems.append(invalid(_SPEC / "insecureSkipTLSVerify", True, text))
    return problems


def _row(obj: Object) -> list[object]:
    service = (obj.get("spec") or {}).get("service")
    shown = f"{service.get('namespace')}/{service.get('name')}" if service else "Local"
    state = "Unknown"
    for one in (obj.get("status") or {}).get("conditions") or ():
        if one.get("type") == "Available":
            state = str(one.get("status"))
            if state != "True":
                state += f" ({one.get('reason', '')})"
    return [obj["metadata"]["name"], shown, state, created(obj)]


API_SERVICE = Rules(
    strategy=Strategy(
        default=_default,
        prepare_create=clear_status,
        prepare_update=keep_status,
        prepare_status=keep_all_but_own_status,
        validate=_validate,
        has_generation=False,
    ),
    columns=(
        NAME,
        Column(
            name="Service", description="The reference to the service that hosts this API endpoint."
        ),
        Column(name="Available", description="Whether this service is available."),
        AGE,
    ),
    row=_row,
)
