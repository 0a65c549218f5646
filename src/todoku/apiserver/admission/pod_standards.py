"""The Pod Security Standards: what the levels baseline and restricted refuse, in the words clients know.

Each check is one function that tells what is wrong; standards have versions, and each check is part of them since one.
Source: docs, Pod Security Standards; k8s.io/pod-security-admission policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from todoku.api.meta import Object

LATEST = 1 << 16  # above every minor version

Check: TypeAlias = Callable[[Object, Object, int], str]
"""(metadata, spec, minor version) -> what is wrong, or ""."""


@dataclass(frozen=True, slots=True)
class Standard:
    """One check; `stricter` takes its place in the level restricted, from that one's first version on."""

    check: Check
    since: int = 0
    stricter: Standard | None = None


def violations(level: str, metadata: Object, spec: Object, minor: int = LATEST) -> list[str]:
    """What of a pod is against a level in a version, worded for the client; [] for the privileged one."""
    if level == "privileged":
        return []
    chosen = list(_chosen(level, minor))
    return [problem for one in chosen if (problem := one.check(metadata, spec, minor))]


def _chosen(level: str, minor: int) -> Iterator[Standard]:
    for one in _BASELINE:
        replaced = level == "restricted" and one.stricter and minor >= one.stricter.since
        if minor >= one.since and not replaced:
            yield one
    if level == "restricted":
        yield from (one for one in _RESTRICTED if minor >= one.since)


# -- reading a pod


def _containers(spec: Object) -> Iterator[Object]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or ()


def _context(holder: Object) -> Object:
    context = holder.get("securityContext") or {}
    assert isinstance(context, dict)
    return context


def _named(spec: Object, bad: Callable[[Object], object]) -> list[str]:
    return [str(one.get("name", "")) for one in _containers(spec) if bad(one)]


def _list(what: str, names: Sequence[str]) -> str:
    return f"{what}{'s' if len(names) != 1 else ''} {_quoted(names)}"


def _quoted(values: Sequence[str]) -> str:
    return ", ".join(f'"{value}"' for value in values)


def _setters(pod: bool, names: Sequence[str]) -> str:
    """Who sets something: the pod, some of its containers, or both."""
    return " and ".join(
        [*(["pod"] if pod else []), *([_list("container", names)] if names else [])]
    )


def _is_windows(spec: Object, minor: int) -> bool:
    return minor >= 25 and (spec.get("os") or {}).get("name") == "windows"


def _has_own_users(spec: Object, minor: int) -> bool:
    """A pod in a user namespace: its root is nobody's outside."""
    return minor >= 35 and spec.get("hostUsers") is False


# -- baseline


def _app_armor(metadata: Object, spec: Object, minor: int) -> str:
    prefix = "container.apparmor.security.beta.kubernetes.io/"
    good = (None, "RuntimeDefault", "Localhost")

    def profile(holder: Object) -> str | None:
        return (_context(holder).get("appArmorProfile") or {}).get("type")

    pod = profile(spec) not in good
    names = _named(spec, lambda one: profile(one) not in good)
    found = sorted(
        {str(profile(one)) for one in (spec, *_containers(spec))} - {str(g) for g in good}
    )
    annotations = [
        f'{key}="{value}"' for key, value in sorted((metadata.get("annotations") or {}).items())
        if key.startswith(prefix) and value not in ("", "runtime/default") and not value.startswith("localhost/")
    ]  # fmt: skip
    setters = [one for one in (_setters(pod, names),) if one]
    if annotations:
        setters.append("annotation" if len(annotations) == 1 else "annotations")
    if not setters:
        return ""
    values = [*found, *annotations]
    reason = f"forbidden AppArmor profile{'s' if len(values) != 1 else ''}"
    who = " and ".join(setters)
    return f"{reason} ({who} must not set AppArmor profile type to {_quoted(values)})"


_BASE_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
        "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    }
)  # fmt: skip


def _added(container: Object) -> list[str]:
    capabilities = _context(container).get("capabilities") or {}
    return list(capabilities.get("add") or ())


def _capabilities(metadata: Object, spec: Object, minor: int) -> str:
    bad = {one for container in _containers(spec) for one in _added(container)} - _BASE_CAPABILITIES
    names = _named(spec, lambda one: set(_added(one)) - _BASE_CAPABILITIES)
    if not bad:
        return ""
    return (
        f"non-default capabilities ({_list('container', names)} must not include "
        f"{_quoted(sorted(bad))} in securityContext.capabilities.add)"
    )


def _host_namespaces(metadata: Object, spec: Object, minor: int) -> str:
    used = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    return f"host namespaces ({', '.join(used)})" if used else ""


def _host_paths(metadata: Object, spec: Object, minor: int) -> str:
    names = [
        str(one.get("name", ""))
        for one in spec.get("volumes") or ()
        if one.get("hostPath") is not None
    ]
    return f"hostPath volumes ({_list('volume', names)})" if names else ""


def _host_ports(metadata: Object, spec: Object, minor: int) -> str:
    def ports(container: Object) -> list[str]:
        return [str(one["hostPort"]) for one in container.get("ports") or () if one.get("hostPort")]

    names = _named(spec, ports)
    if not names:
        return ""
    used = sorted({port for one in _containers(spec) for port in ports(one)})
    word = "hostPort" if len(used) == 1 else "hostPorts"
    uses = "uses" if len(names) == 1 else "use"
    return f"hostPort ({_list('container', names)} {uses} {word} {', '.join(used)})"


def _host_probes(metadata: Object, spec: Object, minor: int) -> str:
    def hosts(container: Object) -> list[str]:
        lifecycle = container.get("lifecycle") or {}
        handlers = [
            container.get(one) for one in ("livenessProbe", "readinessProbe", "startupProbe")
        ]
        handlers += [lifecycle.get("postStart"), lifecycle.get("preStop")]
        return [
            (handler.get(kind) or {})["host"]
            for handler in handlers if handler
            for kind in ("httpGet", "tcpSocket") if (handler.get(kind) or {}).get("host")
        ]  # fmt: skip

    names = sorted(set(_named(spec, hosts)))
    if not names:
        return ""
    found = sorted({host for one in _containers(spec) for host in hosts(one)})
    uses = "uses" if len(names) == 1 else "use"
    what = _list("probe or lifecycle host", found)
    return f"probe or lifecycle host ({_list('container', names)} {uses} {what})"


def _privileged(metadata: Object, spec: Object, minor: int) -> str:
    names = _named(spec, lambda one: _context(one).get("privileged"))
    if not names:
        return ""
    return f"privileged ({_list('container', names)} must not set securityContext.privileged=true)"


def _proc_mount(metadata: Object, spec: Object, minor: int) -> str:
    return "" if _has_own_users(spec, minor) else _any_proc_mount(metadata, spec, minor)


def _any_proc_mount(metadata: Object, spec: Object, minor: int) -> str:
    def mount(container: Object) -> str:
        return str(_context(container).get("procMount") or "Default")

    names = _named(spec, lambda one: mount(one) != "Default")
    if not names:
        return ""
    kinds = sorted({mount(one) for one in _containers(spec)} - {"Default"})
    who = _list("container", names)
    return f"procMount ({who} must not set securityContext.procMount to {_quoted(kinds)})"


_SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t"})


def _selinux(metadata: Object, spec: Object, minor: int) -> str:
    allowed = _SELINUX_TYPES | ({"container_engine_t"} if minor >= 31 else set())

    def options(holder: Object) -> Object:
        found = _context(holder).get("seLinuxOptions") or {}
        assert isinstance(found, dict)
        return found

    def bad(holder: Object) -> bool:
        one = options(holder)
        return bool(one.get("type", "") not in allowed or one.get("user") or one.get("role"))

    who = _setters(bad(spec), _named(spec, bad))
    if not who:
        return ""
    holders = [options(one) for one in (spec, *_containers(spec))]
    kinds = sorted({str(one.get("type", "")) for one in holders} - allowed)
    problems = [_list("type", kinds)] if kinds else []
    problems += [
        f"{field} may not be set" for field in ("user", "role") if any(one.get(field) for one in holders)
    ]  # fmt: skip
    return f"seLinuxOptions ({who} set forbidden securityContext.seLinuxOptions: {'; '.join(problems)})"


_GOOD_SECCOMP = ("RuntimeDefault", "Localhost")


def _seccomp_type(holder: Object) -> str:
    profile = _context(holder).get("seccompProfile")
    return "" if profile is None else str(profile.get("type", ""))


def _bad_seccomp(holder: Object) -> bool:
    return (
        _context(holder).get("seccompProfile") is not None
        and _seccomp_type(holder) not in _GOOD_SECCOMP
    )


def _unconfined(metadata: Object, spec: Object, minor: int) -> str:
    who = _setters(_bad_seccomp(spec), _named(spec, _bad_seccomp))
    if not who:
        return ""
    kinds = sorted({_seccomp_type(one) for one in (spec, *_containers(spec)) if _bad_seccomp(one)})
    return f"seccompProfile ({who} must not set securityContext.seccompProfile.type to {_quoted(kinds)})"


_SYSCTLS = {
    "kernel.shm_rmid_forced": 0,
    "net.ipv4.ip_local_port_range": 0,
    "net.ipv4.tcp_syncookies": 0,
    "net.ipv4.ping_group_range": 0,
    "net.ipv4.ip_unprivileged_port_start": 0,
    "net.ipv4.ip_local_reserved_ports": 27,
    "net.ipv4.tcp_keepalive_time": 29,
    "net.ipv4.tcp_fin_timeout": 29,
    "net.ipv4.tcp_keepalive_intvl": 29,
    "net.ipv4.tcp_keepalive_probes": 29,
    "net.ipv4.tcp_rmem": 32,
    "net.ipv4.tcp_wmem": 32,
}  # since when each is safe


def _sysctls(metadata: Object, spec: Object, minor: int) -> str:
    used = [str(one.get("name", "")) for one in _context(spec).get("sysctls") or ()]
    bad = [one for one in used if minor < _SYSCTLS.get(one, LATEST + 1)]
    return f"forbidden sysctls ({', '.join(bad)})" if bad else ""


def _host_process(metadata: Object, spec: Object, minor: int) -> str:
    def bad(holder: Object) -> bool:
        return bool((_context(holder).get("windowsOptions") or {}).get("hostProcess"))

    who = _setters(bad(spec), _named(spec, bad))
    return (
        f"hostProcess ({who} must not set securityContext.windowsOptions.hostProcess=true)"
        if who
        else ""
    )


# -- restricted


def _escalation(metadata: Object, spec: Object, minor: int) -> str:
    names = _named(spec, lambda one: _context(one).get("allowPrivilegeEscalation") is not False)
    if not names or _is_windows(spec, minor):
        return ""
    return (
        f"allowPrivilegeEscalation != false ({_list('container', names)} must set "
        "securityContext.allowPrivilegeEscalation=false)"
    )


def _restricted_capabilities(metadata: Object, spec: Object, minor: int) -> str:
    if _is_windows(spec, minor):
        return ""
    parts = []

    def keeps(container: Object) -> bool:
        capabilities = _context(container).get("capabilities") or {}
        return "ALL" not in (capabilities.get("drop") or ())

    names = _named(spec, keeps)
    if names:
        parts.append(
            f'{_list("container", names)} must set securityContext.capabilities.drop=["ALL"]'
        )
    extra = _named(spec, lambda one: set(_added(one)) - {"NET_BIND_SERVICE"})
    if extra:
        bad = sorted({a for one in _containers(spec) for a in _added(one)} - {"NET_BIND_SERVICE"})
        parts.append(
            f"{_list('container', extra)} must not include {_quoted(bad)} in "
            "securityContext.capabilities.add"
        )
    return f"unrestricted capabilities ({'; '.join(parts)})" if parts else ""


_VOLUMES = frozenset(
    {
        "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim",
        "projected", "secret",
    }
)  # fmt: skip


def _restricted_volumes(metadata: Object, spec: Object, minor: int) -> str:
    names, kinds = [], set()
    for volume in spec.get("volumes") or ():
        sources = [key for key, value in volume.items() if key != "name" and value is not None]
        if not _VOLUMES.intersection(sources):
            names.append(str(volume.get("name", "")))
            kinds.update(sources or ["unknown"])
    if not names:
        return ""
    uses = "uses" if len(names) == 1 else "use"
    what = _list("restricted volume type", sorted(kinds))
    return f"restricted volume types ({_list('volume', names)} {uses} {what})"


def _non_root(metadata: Object, spec: Object, minor: int) -> str:
    if _has_own_users(spec, minor):
        return ""

    def says(holder: Object) -> bool | None:
        value = _context(holder).get("runAsNonRoot")
        return None if value is None else bool(value)

    who = _setters(says(spec) is False, _named(spec, lambda one: says(one) is False))
    if who:
        return f"runAsNonRoot != true ({who} must not set securityContext.runAsNonRoot=false)"
    names = [] if says(spec) else _named(spec, lambda one: says(one) is None)
    return (
        f"runAsNonRoot != true (pod or {_list('container', names)} must set "
        "securityContext.runAsNonRoot=true)"
        if names
        else ""
    )


def _user(metadata: Object, spec: Object, minor: int) -> str:
    def root(holder: Object) -> bool:
        return bool(_context(holder).get("runAsUser") == 0)

    who = _setters(root(spec), _named(spec, root))
    if not who or _has_own_users(spec, minor):
        return ""
    return f"runAsUser=0 ({who} must not set runAsUser=0)"


def _seccomp(metadata: Object, spec: Object, minor: int) -> str:
    if _is_windows(spec, minor):
        return ""
    explicit = _unconfined(metadata, spec, minor)
    if explicit:
        return explicit
    names = [] if _seccomp_type(spec) else _named(spec, lambda one: not _seccomp_type(one))
    return (
        f"seccompProfile (pod or {_list('container', names)} must set "
        'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
        if names
        else ""
    )


_CAPABILITIES_STRICTLY = Standard(_restricted_capabilities, since=22)
_VOLUMES_STRICTLY = Standard(_restricted_volumes)
_PROC_MOUNT_STRICTLY = Standard(_any_proc_mount, since=35)
_SECCOMP_STRICTLY = Standard(_seccomp, since=19)

# In the order in which problems are listed: by the checks' upstream names, baseline first.
_BASELINE = (
    Standard(_app_armor),
    Standard(_capabilities, stricter=_CAPABILITIES_STRICTLY),
    Standard(_host_namespaces),
    Standard(_host_paths, stricter=_VOLUMES_STRICTLY),
    Standard(_host_ports),
    Standard(_host_probes, since=34),
    Standard(_privileged),
    Standard(_proc_mount, stricter=_PROC_MOUNT_STRICTLY),
    Standard(_selinux),
    Standard(_unconfined, since=19, stricter=_SECCOMP_STRICTLY),
    Standard(_sysctls),
    Standard(_host_process),
)
_RESTRICTED = (
    Standard(_escalation, since=8),
    _CAPABILITIES_STRICTLY,
    _PROC_MOUNT_STRICTLY,
    _VOLUMES_STRICTLY,
    Standard(_non_root),
    Standard(_user, since=23),
    _SECCOMP_STRICTLY,
)
