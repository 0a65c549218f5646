"""Who a container runs as and what it may do; pure.

Sources: core/v1 SecurityContext and PodSecurityContext, containerd's default capabilities, KEP-3619.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from todoku.api.images import ImageConfig
from todoku.api.meta import Object
from todoku.kubelet.environment import ConfigError

Json = dict[str, Any]

DEFAULT_CAPABILITIES: Final = (
    "CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
)  # fmt: skip
ALL_CAPABILITIES: Final = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
    "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip
"""In the kernel's order: a capability's number is its index (capability.h)."""

MASKED_PATHS: Final = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
READONLY_PATHS: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@dataclass(frozen=True, slots=True)
class User:
    """Numeric identity of a container's processes."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


def setting(spec: Object, pod: Object, name: str) -> Any:
    """A security setting of the container, else of its pod; None if neither says anything."""
    own = (spec.get("securityContext") or {}).get(name)
    return own if own is not None else (pod["spec"].get("securityContext") or {}).get(name)


def privileged(spec: Object) -> bool:
    return bool((spec.get("securityContext") or {}).get("privileged"))


def user(spec: Object, pod: Object, image: ImageConfig, *, passwd: str, group: str) -> User:
    """Resolve who runs, from the spec, the image and the account files in it.  Raises ConfigError."""
    run_as = setting(spec, pod, "runAsUser")
    name, _, group_name = image.user.partition(":")
    accounts = _accounts(passwd)
    if run_as is not None:
        account = next((one for one in accounts if one.uid == run_as), User(run_as, 0))
        group_name = ""
    else:
        account = _account(name, accounts)
    _check_nonroot(spec, pod, account.uid, name if run_as is None else "")
    gid = setting(spec, pod, "runAsGroup")
    if gid is None:
        gid = _group_id(group_name, group) if group_name else account.gid
    return User(account.uid, gid, _groups(pod, account, gid, passwd, group), account.home)


def capabilities(spec: Object, *, bounding: Sequence[str] = ALL_CAPABILITIES) -> tuple[str, ...]:
    """What the container keeps; names come with or without CAP_, in any case; `all` means all."""
    if privileged(spec):
        return tuple(bounding)
    changes = (spec.get("securityContext") or {}).get("capabilities") or {}
    added = [_capability(one) for one in changes.get("add") or ()]
    dropped = [_capability(one) for one in changes.get("drop") or ()]
    kept = set(ALL_CAPABILITIES if "CAP_ALL" in added else DEFAULT_CAPABILITIES)
    kept = set() if "CAP_ALL" in dropped else kept - set(dropped)
    if "CAP_ALL" in added:
        kept = set(ALL_CAPABILITIES) - set(dropped)
    kept |= set(added) - {"CAP_ALL"}
    return tuple(one for one in ALL_CAPABILITIES if one in kept and one in bounding)


def bounding_set(mask: int) -> tuple[str, ...]:
    """The capabilities in a CapBnd mask of /proc/PID/status: more than that nobody can give."""
    return tuple(name for bit, name in enumerate(ALL_CAPABILITIES) if mask >> bit & 1)


def no_new_privileges(spec: Object) -> bool:
    context = spec.get("securityContext") or {}
    if context.get("privileged"):
        return False
    return context.get("allowPrivilegeEscalation") is False


def seccomp_profile(spec: Object, pod: Object) -> tuple[str, str]:
    """(`Unconfined` | `RuntimeDefault` | `Localhost`, its path).  Privileged containers are unconfined."""
    profile = setting(spec, pod, "seccompProfile")
    if privileged(spec) or not profile:
        return "Unconfined", ""
    return str(profile["type"]), str(profile.get("localhostProfile", ""))


def seccomp(document: Json, kept: Sequence[str], machine: str) -> Json:
    """Docker's profile form (conditions by capability and architecture) as the OCI form."""
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    calls = []
    for one in document["syscalls"]:
        includes, excludes = one.get("includes") or {}, one.get("excludes") or {}
        if includes.get("caps") and not set(includes["caps"]) <= set(kept):
            continue
        if includes.get("arches") and arch not in includes["arches"]:
            continue
        if set(excludes.get("caps") or ()) & set(kept) or arch in (excludes.get("arches") or ()):
            continue
        call: Json = {"names": one["names"], "action": one["action"]}
        if one.get("args"):
            call["args"] = one["args"]
        if one.get("errnoRet") is not None:
            call["errnoRet"] = one["errnoRet"]
        calls.append(call)
    native = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}.get(machine, "")
    mapped = next(
        (one for one in document.get("archMap") or () if one["architecture"] == native), None
    )
    arches = [mapped["architecture"], *mapped["subArchitectures"]] if mapped else []
    profile: Json = {"defaultAction": document["defaultAction"], "syscalls": calls}
    if document.get("defaultErrnoRet") is not None:
        profile["defaultErrnoRet"] = document["defaultErrnoRet"]
    return profile | ({"architectures": arches} if arches else {})


def load_seccomp(text: str, kept: Sequence[str], machine: str) -> Json:
    """A profile file in either form."""
    document: Json = json.loads(text)
    if "archMap" in document or any("includes" in one for one in document.get("syscalls", ())):
        return seccomp(document, kept, machine)
    return document


def _capability(name: str) -> str:
    upper = name.upper()
    return upper if upper.startswith("CAP_") else f"CAP_{upper}"


def _accounts(passwd: str) -> list[User]:
    found = []
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and fields[2].isdecimal() and fields[3].isdecimal():
            found.append(_Named(int(fields[2]), int(fields[3]), (), fields[5] or "/", fields[0]))
    return list(found)


@dataclass(frozen=True, slots=True)
class _Named(User):
    name: str = ""


def _account(name: str, accounts: Sequence[User]) -> User:
    if not name:
        return next((one for one in accounts if one.uid == 0), User(0, 0, (), "/root"))
    for one in accounts:
        if isinstance(one, _Named) and (one.name == name or str(one.uid) == name):
            return one
    if name.isdecimal():
        return User(int(name), 0)
    raise ConfigError(f"unable to find user {name}: no matching entries in passwd file")


def _group_id(name: str, group: str) -> int:
    if name.isdecimal():
        return int(name)
    for line in group.splitlines():
        fields = line.split(":")
        if fields[0] == name and len(fields) > 2:
            return int(fields[2])
    raise ConfigError(f"unable to find group {name}: no matching entries in group file")


def _groups(pod: Object, account: User, gid: int, passwd: str, group: str) -> tuple[int, ...]:
    context = pod["spec"].get("securityContext") or {}
    groups = [gid]
    if context.get("supplementalGroupsPolicy") != "Strict" and isinstance(account, _Named):
        for line in group.splitlines():
            fields = line.split(":")
            if len(fields) > 3 and account.name in fields[3].split(",") and fields[2].isdecimal():
                groups.append(int(fields[2]))
    if context.get("fsGroup") is not None:
        groups.append(context["fsGroup"])
    groups += context.get("supplementalGroups") or ()
    return tuple(dict.fromkeys(groups))


def _check_nonroot(spec: Object, pod: Object, uid: int, name: str) -> None:
    if not setting(spec, pod, "runAsNonRoot"):
        return
    where = f'pod: "{_full_name(pod)}", container: {spec["name"]}'
    if name and not name.isdecimal():
        raise ConfigError(
            f"container has runAsNonRoot and image has non-numeric user ({name}), "
            f"cannot verify user is non-root ({where})"
        )
    if uid == 0:
        if setting(spec, pod, "runAsUser") is not None:
            raise ConfigError(f"container's runAsUser breaks non-root policy ({where})")
        raise ConfigError(f"container has runAsNonRoot and image will run as root ({where})")


def _full_name(pod: Object) -> str:
    metadata: Mapping[str, str] = pod["metadata"]
    return f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
