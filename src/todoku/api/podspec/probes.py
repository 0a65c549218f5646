"""Validation of probes, hooks and their actions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from todoku.api import validation
from todoku.api.errors import FieldError, Path, forbidden, invalid, not_supported, required
from todoku.api.meta import Object

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE_KINDS = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOK_KINDS = ("exec", "httpGet", "tcpSocket", "sleep")
_COUNTS = (
    "initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold",
)  # fmt: skip


def probe_problems(container: Object, path: Path, *, grace: int | None) -> list[FieldError]:
    """The lifecycle and the probes of a container that stays; `grace` is the pod's, in seconds."""
    problems: list[FieldError] = []
    if container.get("lifecycle"):
        problems += _lifecycle_problems(container["lifecycle"], path / "lifecycle", grace)
    for field in PROBES:
        probe = container.get(field)
        if probe is not None:
            problems += _probe_problems(probe, path / field, readiness=field == "readinessProbe")
    return problems


def _probe_problems(probe: Object, path: Path, *, readiness: bool) -> list[FieldError]:
    problems = handler_problems(probe, path, kinds=_PROBE_KINDS)
    for field in _COUNTS:
        if isinstance(probe.get(field), int) and probe[field] < 0:
            problems += validation.non_negative(probe[field], path / field)
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        text = "must be greater than 0"
        problems.append(invalid(path / "terminationGracePeriodSeconds", grace, text))
    if grace is not None and readiness:
        text = "must not be set for readinessProbes"
        problems.append(invalid(path / "terminationGracePeriodSeconds", grace, text))
    if not readiness and probe.get("successThreshold", 1) != 1:
        problems.append(invalid(path / "successThreshold", probe["successThreshold"], "must be 1"))
    return problems


def _lifecycle_problems(lifecycle: Object, path: Path, grace: int | None) -> list[FieldError]:
    problems: list[FieldError] = []
    for hook in ("postStart", "preStop"):
        if lifecycle.get(hook) is not None:
            problems += handler_problems(
                lifecycle[hook], path / hook, kinds=_HOOK_KINDS, grace=grace
            )
    return problems


def handler_problems(
    handler: Object, path: Path, *, kinds: Sequence[str], grace: int | None = None
) -> list[FieldError]:
    """Exactly one action (validateHandler)."""
    problems: list[FieldError] = []
    seen = 0
    for kind in kinds:
        action = handler.get(kind)
        if action is None:
            continue
        if seen:
            problems.append(forbidden(path / kind, "may not specify more than 1 handler type"))
        elif kind == "sleep":
            problems += _sleep_problems(action, path / kind, grace)
        else:
            problems += _HANDLERS[kind](action, path / kind)
        seen += 1
    if not seen:
        problems.append(required(path, "must specify a handler type"))
    return problems


def _exec_problems(action: Object, path: Path) -> list[FieldError]:
    return [] if action.get("command") else [required(path / "command")]


def _http_problems(action: Object, path: Path) -> list[FieldError]:
    problems = [] if action.get("path") else [required(path / "path")]
    problems += port_or_name_problems(action.get("port"), path / "port")
    if action.get("scheme") not in ("HTTP", "HTTPS"):
        problems.append(
            not_supported(path / "scheme", action.get("scheme") or "", ("HTTP", "HTTPS"))
        )
    for header in action.get("httpHeaders") or ():
        name = header.get("name") or ""
        if not re.fullmatch(r"[-A-Za-z0-9]+", name):
            text = (
                "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', "
                "regex used for validation is '[-A-Za-z0-9]+')"
            )
            problems.append(invalid(path / "httpHeaders", name, text))
    return problems


def port_or_name_problems(port: Any, path: Path) -> list[FieldError]:
    if isinstance(port, str):
        return [invalid(path, port, text) for text in validation.port_name_problems(port)]
    return validation.port_number(port, path)


def _tcp_problems(action: Object, path: Path) -> list[FieldError]:
    return port_or_name_problems(action.get("port"), path / "port")


def _grpc_problems(action: Object, path: Path) -> list[FieldError]:
    return validation.port_number(action.get("port"), path / "port")


def _sleep_problems(action: Object, path: Path, grace: int | None) -> list[FieldError]:
    seconds = action.get("seconds") or 0
    if grace is None or 0 <= seconds <= grace:
        return []
    text = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
    return [invalid(path, seconds, text)]


_HANDLERS = {
    "exec": _exec_problems,
    "httpGet": _http_problems,
    "tcpSocket": _tcp_problems,
    "grpc": _grpc_problems,
}
