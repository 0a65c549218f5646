"""Validation of security contexts, of the pod and of a container, and of the annotations they replaced."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

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
from todoku.api.internals import rendered
from todoku.api.meta import Object
from todoku.api.podspec.paths import descending_problems
from todoku.api.podspec.windows import windows_option_problems

_MAX_ID = 2**31 - 1
_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_MAX_PROFILE_PATH = 4095
_SYSCTL_TEXT = (
    "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*"
    "[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
)
_SEGMENT = r"[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL = re.compile(rf"({_SEGMENT}[\./])*{_SEGMENT}")
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "fs.mqueue.")


def _id_problems(value: object, path: Path) -> list[FieldError]:
    if isinstance(value, int) and not 0 <= value <= _MAX_ID:
        return [invalid(path, value, f"must be between 0 and {_MAX_ID}, inclusive")]
    return []


def pod_security_problems(spec: Object, path: Path) -> list[FieldError]:
    """The pod's security context, beside the namespaces it shares with the host (validatePodSpecSecurityContext)."""
    context = spec.get("securityContext")
    problems: list[FieldError] = []
    if context:
        for field in ("fsGroup", "runAsUser", "runAsGroup"):
            problems += _id_problems(context.get(field), path / field)
        for index, group in enumerate(context.get("supplementalGroups") or ()):
            problems += _id_problems(group, path / "supplementalGroups" / index)
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        text = "ShareProcessNamespace and HostPID cannot both be enabled"
        problems.append(invalid(path / "shareProcessNamespace", True, text))
    if not context:
        return problems
    problems += _sysctl_problems(context.get("sysctls") or (), path / "sysctls", spec)
    problems += _choice(context, "fsGroupChangePolicy", ("Always", "OnRootMismatch"), path)
    problems += seccomp_problems(context.get("seccompProfile"), path / "seccompProfile")
    problems += windows_option_problems(context.get("windowsOptions"), path / "windowsOptions")
    problems += apparmor_problems(context.get("appArmorProfile"), path / "appArmorProfile")
    problems += _choice(context, "supplementalGroupsPolicy", ("Merge", "Strict"), path)
    problems += _choice(context, "seLinuxChangePolicy", ("Recursive",), path)
    return problems


def _choice(context: Object, field: str, supported: Sequence[str], path: Path) -> list[FieldError]:
    value = context.get(field)
    if value is None or value in supported:
        return []
    return [not_supported(path / field, value, supported)]


def _sysctl_problems(sysctls: Sequence[Object], path: Path, spec: Object) -> list[FieldError]:
    problems: list[FieldError] = []
    names: set[str] = set()
    for index, one in enumerate(sysctls):
        at, name = path / index / "name", str(one.get("name") or "")
        if not name:
            problems.append(required(at))
        elif len(name) > 253 or not _SYSCTL.fullmatch(name):
            problems.append(invalid(at, name, _SYSCTL_TEXT))
        elif name in names:
            problems.append(duplicate(at, name))
        plain = name.replace("/", ".")
        if spec.get("hostNetwork") and plain.startswith("net."):
            problems.append(invalid(at, name, "may not be specified when 'hostNetwork' is true"))
        elif spec.get("hostIPC") and (plain.startswith(_IPC_SYSCTLS) or plain == "kernel.sem"):
            problems.append(invalid(at, name, "may not be specified when 'hostIPC' is true"))
        names.add(name)
    return problems


def seccomp_problems(profile: Object | None, path: Path) -> list[FieldError]:
    """validateSeccompProfileField."""
    if profile is None:
        return []
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    problems: list[FieldError] = []
    if not kind:
        text = "type is required when seccompProfile is set"
        problems.append(required(path / "type", text))
    elif kind not in _PROFILES:
        problems.append(not_supported(path / "type", kind, _PROFILES))
    at = path / "localhostProfile"
    if kind == "Localhost":
        if local is None:
            problems.append(required(at, "must be set when seccomp type is Localhost"))
        else:
            problems += descending_problems(local, at)
    elif local is not None:
        shown = rendered(profile, "SeccompProfile")
        problems.append(invalid(at, shown, "can only be set when seccomp type is Localhost"))
    return problems


def apparmor_problems(profile: Object | None, path: Path) -> list[FieldError]:
    """ValidateAppArmorProfileField."""
    if profile is None:
        return []
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    at = path / "localhostProfile"
    if not kind:
        return [required(path / "type", "type is required when appArmorProfile is set")]
    if kind not in _PROFILES:
        return [not_supported(path / "type", kind, _PROFILES)]
    if kind != "Localhost":
        if local is None:
            return []
        return [invalid(at, local, "can only be set when AppArmor type is Localhost")]
    if local is None:
        return [required(at, "must be set when AppArmor type is Localhost")]
    problems: list[FieldError] = []
    if local != local.strip():
        problems.append(invalid(at, local, "must not be padded with whitespace"))
    elif not local:
        problems.append(required(at, "must be set when AppArmor type is Localhost"))
    if len(local) > _MAX_PROFILE_PATH:
        problems.append(too_long(at, _MAX_PROFILE_PATH))
    return problems


def container_security_problems(
    context: Object | None, path: Path, *, host_users: bool = True
) -> list[FieldError]:
    """SecurityContext of one container (ValidateSecurityContext)."""
    if not context:
        return []
    problems: list[FieldError] = []
    for field in ("runAsUser", "runAsGroup"):
        problems += _id_problems(context.get(field), path / field)
    mount = context.get("procMount")
    problems += _choice(context, "procMount", ("Default", "Unmasked"), path)
    if host_users and mount == "Unmasked":
        text = "`hostUsers` must be false to use `Unmasked`"
        problems.append(invalid(path / "procMount", mount, text))
    problems += seccomp_problems(context.get("seccompProfile"), path / "seccompProfile")
    problems += _escalation_problems(context, path)
    problems += windows_option_problems(context.get("windowsOptions"), path / "windowsOptions")
    problems += apparmor_problems(context.get("appArmorProfile"), path / "appArmorProfile")
    return problems


def _escalation_problems(context: Object, path: Path) -> list[FieldError]:
    if context.get("allowPrivilegeEscalation") is not False:
        return []
    problems: list[FieldError] = []
    shown = rendered(context, "SecurityContext")
    capabilities = context.get("capabilities") or {}
    if context.get("privileged"):
        text = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        problems.append(invalid(path, shown, text))
    if "CAP_SYS_ADMIN" in (capabilities.get("add") or ()):
        text = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
        problems.append(invalid(path, shown, text))
    return problems


def host_user_problems(
    spec: Object, path: Path, containers: Iterator[tuple[Object, Path]]
) -> list[FieldError]:
    """A pod in its own user namespace cannot share the host's other namespaces (validateHostUsers)."""
    if spec.get("hostUsers") is not False:
        return []
    text = "when `hostUsers` is false"
    problems = [
        forbidden(path / shown, text)
        for field, shown in (
            ("hostNetwork", "hostNetwork"),
            ("hostPID", "HostPID"),
            ("hostIPC", "HostIPC"),
        )
        if spec.get(field)
    ]
    for container, at in containers:
        if container.get("volumeDevices"):
            problems.append(forbidden(at / "volumeDevices", text))
    return problems


SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
APPARMOR_CONTAINER = "container.apparmor.security.beta.kubernetes.io/"
_LOCALHOST = "localhost/"


def seccomp_annotation_problems(annotations: Mapping[str, str], path: Path) -> list[FieldError]:
    """ValidateSeccompPodAnnotations."""
    problems: list[FieldError] = []
    for key, value in annotations.items():
        if key != SECCOMP_POD and not key.startswith(SECCOMP_CONTAINER):
            continue
        if value.startswith(_LOCALHOST):
            problems += descending_problems(value.removeprefix(_LOCALHOST), path / key)
        elif value not in ("runtime/default", "docker/default", "unconfined"):
            problems.append(invalid(path / key, value, "must be a valid seccomp profile"))
    return problems


def apparmor_annotation_problems(
    annotations: Mapping[str, str], names: frozenset[str], path: Path
) -> list[FieldError]:
    """ValidateAppArmorPodAnnotations; `names` are the pod's containers."""
    problems: list[FieldError] = []
    for key, value in annotations.items():
        if not key.startswith(APPARMOR_CONTAINER):
            continue
        name = key.removeprefix(APPARMOR_CONTAINER)
        if name not in names:
            problems.append(invalid(path.key(key), name, "container not found"))
        known = value in ("", "runtime/default", "unconfined") or value.startswith(_LOCALHOST)
        if not known:
            text = f'invalid AppArmor profile name: "{value}"'
            problems.append(invalid(path.key(key), value, text))
    return problems


def apparmor_of_annotation(value: str) -> Object | None:
    """The field that says what the annotation says; None if no field can."""
    if value in ("runtime/default", "unconfined"):
        return {"type": "RuntimeDefault" if value == "runtime/default" else "Unconfined"}
    if not value.startswith(_LOCALHOST):
        return None
    profile = {"type": "Localhost", "localhostProfile": value.removeprefix(_LOCALHOST)}
    return None if apparmor_problems(profile, Path()) else profile


def profile_match_problems(
    annotations: Mapping[str, str],
    spec: Object,
    path: Path,
    containers: Sequence[tuple[Object, Path]],
) -> list[FieldError]:
    """An annotation and the field that replaced it must say the same."""
    context = spec.get("securityContext") or {}
    problems: list[FieldError] = []
    profile, value = context.get("seccompProfile"), annotations.get(SECCOMP_POD)
    if profile is not None and value is not None:
        at = path / "securityContext" / "seccompProfile"
        problems += _match("seccomp", value, profile, at)
    for container, at in containers:
        profile = (container.get("securityContext") or {}).get("seccompProfile")
        value = annotations.get(f"{SECCOMP_CONTAINER}{container.get('name')}")
        if profile is not None and value is not None:
            problems += _match("seccomp", value, profile, at / "securityContext" / "seccompProfile")
    if (spec.get("os") or {}).get("name") == "windows":
        return problems
    for container, at in containers:
        own = (container.get("securityContext") or {}).get("appArmorProfile")
        profile = own if own is not None else context.get("appArmorProfile")
        value = annotations.get(f"{APPARMOR_CONTAINER}{container.get('name')}")
        if profile is not None and value is not None:
            where = at / "securityContext" / "appArmorProfile"
            problems += _match("apparmor", value, profile, where)
    return problems


def _match(what: str, value: str, profile: Object, path: Path) -> list[FieldError]:
    kind = profile.get("type")
    kinds = {
        "Unconfined": value == "unconfined",
        "RuntimeDefault": value == "runtime/default"
        or (what == "seccomp" and value == "docker/default"),
        "Localhost": value.startswith(_LOCALHOST),
    }
    if not kinds.get(str(kind), True):
        return [forbidden(path / "type", f"{what} type in annotation and field must match")]
    if kind == "Localhost" and value.removeprefix(_LOCALHOST) != profile.get("localhostProfile"):
        text = f"{what} profile in annotation and field must match"
        return [forbidden(path / "localhostProfile", text)]
    return []
