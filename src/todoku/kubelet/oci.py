"""The OCI configuration of a container; pure.  Source: OCI runtime-spec 1.0, config.md and config-linux.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from todoku.kubelet.records import Sandbox
from todoku.kubelet.security import MASKED_PATHS, READONLY_PATHS, User
from todoku.linux.cgroups import Limits

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mount:
    """A bind mount into the container; `propagation` as in core/v1 VolumeMount."""

    source: str
    target: str
    read_only: bool = False
    propagation: str = "None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """All that a container's configuration depends on."""

    rootfs: str
    hostname: str
    arguments: Sequence[str]
    environment: Sequence[str]
    working_dir: str
    user: User
    capabilities: Sequence[str]
    mounts: Sequence[Mount]
    sandbox: Sandbox
    shm: str
    limits: Limits
    cgroup: str = ""
    terminal: bool = False
    read_only: bool = False
    privileged: bool = False
    no_new_privileges: bool = False
    unmasked: bool = False
    seccomp: Json | None = None
    oom_score_adj: int | None = None
    host_pid: bool = False
    share_pid_of: int = 0
    devices: Sequence[Json] = ()
    cgroup_v2: bool = False


def config(request: Request) -> Json:
    """The `config.json` of the bundle."""
    document: Json = {
        "ociVersion": "1.0.2",
        "process": process(request),
        "root": {"path": request.rootfs, "readonly": request.read_only},
        "mounts": _mounts(request),
        "linux": _linux(request),
    }
    if not request.sandbox.utsns and not request.sandbox.host_network:
        document["hostname"] = request.hostname
    return document


def process(request: Request) -> Json:
    """The OCI process: also what `exec` starts, with other arguments."""
    kept = list(request.capabilities)
    found: Json = {
        "terminal": request.terminal,
        "user": {
            "uid": request.user.uid,
            "gid": request.user.gid,
            "additionalGids": list(request.user.groups),
        },
        "args": list(request.arguments),
        "env": list(request.environment),
        "cwd": request.working_dir or "/",
        "capabilities": {"bounding": kept, "effective": kept, "permitted": kept},
        "noNewPrivileges": request.no_new_privileges,
    }
    if request.oom_score_adj is not None:
        found["oomScoreAdj"] = request.oom_score_adj
    return found


def _linux(request: Request) -> Json:
    linux: Json = {
        "namespaces": _namespaces(request),
        "rootfsPropagation": _root_propagation(request.mounts),
    }
    if request.cgroup:
        linux["cgroupsPath"] = request.cgroup
        linux["resources"] = _resources(request)
    if not (request.privileged or request.unmasked):
        linux["maskedPaths"] = list(MASKED_PATHS)
        linux["readonlyPaths"] = list(READONLY_PATHS)
    if request.seccomp is not None:
        linux["seccomp"] = request.seccomp
    if request.privileged:
        linux["devices"] = list(request.devices)
    return linux


def _namespaces(request: Request) -> list[Json]:
    sandbox = request.sandbox
    found: list[Json] = [{"type": "mount"}]
    for kind, path in (("network", sandbox.netns), ("ipc", sandbox.ipcns), ("uts", sandbox.utsns)):
        if path:
            found.append({"type": kind, "path": path})
    if request.share_pid_of:
        found.append({"type": "pid", "path": f"/proc/{request.share_pid_of}/ns/pid"})
    elif not request.host_pid:
        found.append({"type": "pid"})
    if request.cgroup_v2 and not request.privileged:
        found.append({"type": "cgroup"})
    return found


def _resources(request: Request) -> Json:
    limits = request.limits
    cpu: Json = {"shares": limits.cpu_shares}
    if limits.cpu_quota_microseconds:
        cpu |= {"quota": limits.cpu_quota_microseconds, "period": limits.cpu_period_microseconds}
    found: Json = {"devices": [{"allow": request.privileged, "access": "rwm"}]}
    if limits.cpu_shares:
        found["cpu"] = cpu
    if limits.memory_bytes:
        found["memory"] = {"limit": limits.memory_bytes, "swap": limits.memory_bytes}
    if limits.pids:
        found["pids"] = {"limit": limits.pids}
    return found


def _mounts(request: Request) -> list[Json]:
    sys_mode = "rw" if request.privileged else "ro"
    common = ["nosuid", "noexec", "nodev"]
    found = [
        _mount("/proc", "proc", "proc", common),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        _mount("/dev/mqueue", "mqueue", "mqueue", common),
        _mount("/sys", "sysfs", "sysfs", [*common, sys_mode]),
        _mount("/dev/shm", "bind", request.shm, ["bind", "rprivate"]),
    ]  # fmt: skip
    if request.cgroup:
        found.append(_mount("/sys/fs/cgroup", "cgroup", "cgroup", [*common, "relatime", sys_mode]))
    ordered = sorted(
        request.mounts, key=lambda mount: mount.target.count("/") if mount.target != "/" else 0
    )
    given = {mount.target for mount in ordered}
    found = [one for one in found if one["destination"] not in given]
    return found + [_bind(mount) for mount in ordered]


def _mount(target: str, kind: str, source: str, options: Sequence[str]) -> Json:
    return {"destination": target, "type": kind, "source": source, "options": list(options)}


def _bind(mount: Mount) -> Json:
    propagation = {"HostToContainer": "rslave", "Bidirectional": "rshared"}.get(
        mount.propagation, "rprivate"
    )
    options = ["rbind", propagation, "ro" if mount.read_only else "rw"]
    return _mount(mount.target, "bind", mount.source, options)


def _root_propagation(mounts: Sequence[Mount]) -> str:
    kinds = {mount.propagation for mount in mounts}
    if "Bidirectional" in kinds:
        return "rshared"
    return "rslave" if "HostToContainer" in kinds else "rprivate"
