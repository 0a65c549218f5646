"""What is particular to pods of one operating system: Windows options, and fields that only one of them has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from todoku.api import validation
from todoku.api.errors import FieldError, Path, forbidden, invalid, not_supported, required
from todoku.api.meta import Object

Containers = Sequence[tuple[Object, Path]]

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NETBIOS = re.compile(r'[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}')
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BAD_USER = re.compile(r'["/\\:;|=,+*?<>@\[\]]')
_CREDENTIAL_KIB = 64


def windows_option_problems(options: Object | None, path: Path) -> list[FieldError]:
    """WindowsSecurityContextOptions (validateWindowsSecurityContextOptions)."""
    if options is None:
        return []
    problems: list[FieldError] = []
    name, spec = options.get("gmsaCredentialSpecName"), options.get("gmsaCredentialSpec")
    if name is not None:
        at = path / "gmsaCredentialSpecName"
        problems += [invalid(at, name, text) for text in validation.dns1123_subdomain(name)]
    if spec is not None:
        at = path / "gmsaCredentialSpec"
        if not spec:
            text = "gmsaCredentialSpec cannot be an empty string"
            problems.append(invalid(at, spec, text))
        elif len(spec.encode()) > _CREDENTIAL_KIB * 1024:
            text = f"gmsaCredentialSpec size must be under {_CREDENTIAL_KIB} KiB"
            problems.append(invalid(at, spec, text))
    user = options.get("runAsUserName")
    if user is not None:
        at = path / "runAsUserName"
        problems += [invalid(at, user, f"runAsUserName{text}") for text in _user_problems(user)]
    return problems


def _user_problems(name: str) -> list[str]:
    """What is wrong with `DOMAIN\\USER`, as the rest of a sentence."""
    if not name:
        return [" cannot be an empty string"]
    if _CONTROL.search(name):
        return [" cannot contain control characters"]
    if name.count("\\") > 1:
        return [" cannot contain more than one backslash"]
    domain, backslash, user = name.rpartition("\\")
    problems: list[str] = []
    if len(domain) >= 256:
        problems.append("'s Domain length must be under 256 characters")
    if backslash and not (_NETBIOS.fullmatch(domain) or _DOMAIN.fullmatch(domain)):
        problems.append("'s Domain doesn't match the NetBios nor the DNS format")
    if not user:
        problems.append("'s User cannot be empty")
    elif len(user) > 104:
        problems.append("'s User length must not be longer than 104 characters")
    if re.fullmatch(r"[. ]+", user):
        problems.append("'s User cannot contain only periods or spaces")
    if _BAD_USER.search(user):
        problems.append("'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]")
    return problems


def host_process_problems(spec: Object, path: Path, containers: Containers) -> list[FieldError]:
    """HostProcess containers: all of the pod or none (validateWindowsHostProcessPod)."""
    problems: list[FieldError] = []
    of_pod = _host_process(spec)
    count = 0
    for container, at in containers:
        own = _host_process(container)
        if of_pod is not None and own is not None and of_pod != own:
            shown = "true" if of_pod else "false"
            text = f"pod hostProcess value must be identical if both are specified, was {shown}"
            where = at / "securityContext" / "windowsOptions" / "hostProcess"
            problems.append(invalid(where, own, text))
        count += bool(of_pod if own is None else own)
    if not count:
        return problems
    if count != len(containers):
        text = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        problems.append(invalid(path, "", text))
    if not spec.get("hostNetwork"):
        text = "hostNetwork must be true if pod contains any hostProcess containers"
        problems.append(invalid(path / "hostNetwork", False, text))
    return problems


def _host_process(holder: Object) -> bool | None:
    options = (holder.get("securityContext") or {}).get("windowsOptions") or {}
    value = options.get("hostProcess")
    return value if isinstance(value, bool) else None


def system_problems(spec: Object, path: Path, containers: Containers) -> list[FieldError]:
    """spec.os and the fields its system does not have (validateOS, validateLinux, validateWindows)."""
    system = spec.get("os")
    if system is None:
        return []
    name = system.get("name") or ""
    if not name:
        return [required(path / "os" / "name", "cannot be empty")]
    if name == "linux":
        return _linux(spec, path, containers)
    if name == "windows":
        return _windows(spec, path, containers)
    return [not_supported(path / "os", name, ("linux", "windows"))]


def _linux(spec: Object, path: Path, containers: Containers) -> list[FieldError]:
    return [
        forbidden(
            at / "securityContext" / "windowsOptions",
            "windows options cannot be set for a linux pod",
        )
        for holder, at in ((spec, path), *containers)
        if (holder.get("securityContext") or {}).get("windowsOptions") is not None
    ]


# field, whether it lies in the security context; in the order in which upstream looks
_POD_FIELDS = (
    ("appArmorProfile", True), ("seLinuxOptions", True), ("hostUsers", False), ("hostPID", False),
    ("hostIPC", False), ("seccompProfile", True), ("fsGroup", True), ("fsGroupChangePolicy", True),
    ("sysctls", True), ("shareProcessNamespace", False), ("runAsUser", True), ("runAsGroup", True),
    ("supplementalGroups", True), ("supplementalGroupsPolicy", True), ("seLinuxChangePolicy", True),
)  # fmt: skip
_CONTAINER_FIELDS = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem",
    "privileged", "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup",
)  # fmt: skip
# Set means true, or not empty.
_WEAK = ("hostPID", "hostIPC", "sysctls")


def _windows(
    spec: Object, path: Path, containers: Iterable[tuple[Object, Path]]
) -> list[FieldError]:
    text = "cannot be set for a windows pod"
    context = spec.get("securityContext") or {}
    problems: list[FieldError] = []
    for field, inside in _POD_FIELDS:
        value = (context if inside else spec).get(field)
        if value if field in _WEAK else value is not None:
            at = path / "securityContext" / field if inside else path / field
            problems.append(forbidden(at, text))
    for container, at in containers:
        own = container.get("securityContext") or {}
        problems += [
            forbidden(at / "securityContext" / field, text)
            for field in _CONTAINER_FIELDS
            if own.get(field) is not None
        ]
    return problems
