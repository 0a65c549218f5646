"""Validation of security contexts, of the pod and of a container."""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api.errors import FieldError, Path, forbidden, invalid, not_supported, required
from todoku.api.meta import Object

_MAX_ID = 2**31 - 1
_SECCOMP = ("Localhost", "RuntimeDefault", "Unconfined")


def _id_problems(value: object, path: Path) -> list[FieldError]:
    if isinstance(value, int) and not 0 <= value <= _MAX_ID:
        return [invalid(path, value, f"must be between 0 and {_MAX_ID}, inclusive")]
    return []


def pod_security_problems(
    context: Object, path: Path, *, host_network: bool, host_users: bool
) -> list[FieldError]:
    """PodSecurityContext; `host_*` come from the spec beside it."""
    problems: list[FieldError] = []
    for field in ("fsGroup", "runAsUser", "runAsGroup"):
        problems += _id_problems(context.get(field), path / field)
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        problems += _id_problems(group, path / "supplementalGroups" / index)
    policy = context.get("fsGroupChangePolicy")
    if policy is not None and policy not in ("Always", "OnRootMismatch"):
        problems.append(
            not_supported(path / "fsGroupChangePolicy", policy, ("Always", "OnRootMismatch"))
        )
    merge = context.get("supplementalGroupsPolicy")
    if merge is not None and merge not in ("Merge", "Strict"):
        problems.append(
            not_supported(path / "supplementalGroupsPolicy", merge, ("Merge", "Strict"))
        )
    problems += _sysctl_problems(context.get("sysctls") or (), path / "sysctls", host_network)
    problems += _profile_problems(context, path)
    return problems


def _sysctl_problems(sysctls: Sequence[Object], path: Path, host_network: bool) -> list[FieldError]:
    problems: list[FieldError] = []
    names: set[str] = set()
    for index, one in enumerate(sysctls):
        at, name = path / index / "name", str(one.get("name") or "")
        if not name:
            problems.append(required(at))
        elif name in names:
            problems.append(FieldError(at, "FieldValueDuplicate", f'Duplicate value: "{name}"'))
        elif host_network and name.replace("/", ".").startswith("net."):
            text = "may not be specified when 'hostNetwork' is true"
            problems.append(invalid(at, name, text))
        names.add(name)
    return problems


def _profile_problems(context: Object, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for field in ("seccompProfile", "appArmorProfile"):
        profile = context.get(field)
        if profile is None:
            continue
        at, kind = path / field, profile.get("type") or ""
        if not kind:
            problems.append(
                required(
                    at / "type",
                    "type is required when seccompProfile is set"
                    if field[0] == "s"
                    else "type is required when appArmorProfile is set",
                )
            )
        elif kind not in _SECCOMP:
            problems.append(not_supported(at / "type", kind, _SECCOMP))
        local = profile.get("localhostProfile")
        if kind == "Localhost" and not local:
            text = (
                "must be set when type is Localhost"
                if field[0] == "a"
                else "must be set when seccomp type is Localhost"
            )
            problems.append(required(at / "localhostProfile", text))
        elif kind != "Localhost" and local is not None:
            text = (
                "can only be set when type is Localhost"
                if field[0] == "a"
                else "can only be set when seccomp type is Localhost"
            )
            problems.append(invalid(at / "localhostProfile", local, text))
    return problems


def container_security_problems(context: Object, path: Path) -> list[FieldError]:
    """SecurityContext of one container."""
    problems: list[FieldError] = []
    for field in ("runAsUser", "runAsGroup"):
        problems += _id_problems(context.get(field), path / field)
    mount = context.get("procMount")
    if mount is not None and mount not in ("Default", "Unmasked"):
        problems.append(not_supported(path / "procMount", mount, ("Default", "Unmasked")))
    problems += _profile_problems(context, path)
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            text = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            problems.append(invalid(path, context, text))
        added = (context.get("capabilities") or {}).get("add") or ()
        if "SYS_ADMIN" in added or "CAP_SYS_ADMIN" in added:
            text = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            problems.append(invalid(path, context, text))
    return problems


def host_user_problems(spec: Object, path: Path) -> list[FieldError]:
    """A pod in its own user namespace cannot share the host's other namespaces."""
    if spec.get("hostUsers") is not False:
        return []
    return [
        forbidden(path / field, "when `hostUsers` is false")
        for field in ("hostNetwork", "hostPID", "hostIPC")
        if spec.get(field)
    ]
