"""What a lab needs of the machine: probed, never assumed.  `doctor` shows it, `up` refuses without it.

Nothing is left behind: probes run in namespaces of their own, in a child process.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from todoku.lab import lifecycle, state
from todoku.lab.paths import CACHE, STATE, Paths
from todoku.lab.sockets import free_port, port_is_free
from todoku.linux import namespaces
from todoku.linux.cgroups import Cgroups
from todoku.linux.links import Links

Level = Literal["ok", "warning", "error"]
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Program -> the distribution's package (Debian 12).
TOOLS = {
    "catatonit": "catatonit",
    "conmon": "conmon",
    "nft": "nftables",
    "nsenter": "util-linux",
    "setsid": "util-linux",
    "dpkg-deb": "dpkg",
}
RUNTIMES = {"crun": "crun", "runc": "runc"}
OPTIONAL_TOOLS = {"skopeo": ("skopeo", "images can only come from recipes and archives")}

_CAPABILITIES = {
    "cap_sys_admin": (21, "namespaces and mounts"),
    "cap_net_admin": (12, "interfaces and rules"),
    "cap_net_raw": (13, "ARP"),
    "cap_sys_ptrace": (19, "adopting a running lab"),
    "cap_sys_chroot": (18, "containers"),
    "cap_mknod": (27, "device files of containers"),
    "cap_setuid": (7, "users of containers"),
    "cap_setgid": (6, "groups of containers"),
    "cap_kill": (5, "ending processes"),
    "cap_chown": (0, "files of containers"),
    "cap_dac_override": (1, "files of containers"),
}
_MIN_DESCRIPTORS = 4096
_MIN_FREE_BYTES = 500 * 1024 * 1024
_MIN_MEMORY_BYTES = 1024**3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `remedy` is set unless it is ok."""

    level: Level
    subject: str
    message: str
    remedy: str = ""


def all_findings() -> list[Finding]:
    """Every check, in the order in which a user should repair things."""
    found: list[Finding] = []
    for check in (_privilege, _tools, _kernel, _groups, _limits, _ports, _space, _notes):
        found += check()
    return found


def blocking() -> list[Finding]:
    """What makes `up` impossible; quick, because `up` waits for it."""
    found: list[Finding] = []
    for check in (_privilege, _tools, _kernel, _limits):
        found += [finding for finding in check() if finding.level == "error"]
        if found:
            return found  # without privilege every later probe would fail, too
    return found


def _privilege() -> Iterator[Finding]:
    if os.geteuid() != 0:
        yield Finding(
            "error", "root", "Todoku makes namespaces, mounts and rules", "run it as root (sudo)"
        )
        return
    held = _effective_capabilities()
    lacking = [name for name, (bit, _) in _CAPABILITIES.items() if not held >> bit & 1]
    for name in lacking:
        yield Finding(
            "error",
            name,
            f"root lacks it here; needed for {_CAPABILITIES[name][1]}",
            "run outside of a restricted container, or grant the capability",
        )
    if not lacking:
        yield Finding("ok", "root", "with all capabilities that a lab needs")


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _tools() -> Iterator[Finding]:
    for program, package in TOOLS.items():
        path = shutil.which(program, path=SEARCH_PATH)
        if path:
            yield Finding("ok", program, path)
        else:
            yield Finding("error", program, "is not installed", f"apt-get install {package}")
    runtimes = {name: shutil.which(name, path=SEARCH_PATH) for name in RUNTIMES}
    if not any(runtimes.values()):
        yield Finding("error", "crun", "no container runtime", "apt-get install crun")
    for name, path in runtimes.items():
        if path:
            yield Finding("ok", name, path)
    for program, (package, without) in OPTIONAL_TOOLS.items():
        path = shutil.which(program, path=SEARCH_PATH)
        remedy = f"apt-get install {package}"
        yield (
            Finding("ok", program, path)
            if path
            else Finding("warning", program, f"is not installed: {without}", remedy)
        )


def _kernel() -> Iterator[Finding]:
    if os.geteuid() != 0:
        return
    for name, (probe, needed) in _PROBES.items():
        try:
            _in_child(probe)
        except OSError as error:
            yield Finding(
                "error" if needed else "warning",
                name,
                f"the kernel refuses it: {error.strerror or error}",
                f"load or enable it ({_MODULES.get(name, 'kernel configuration')})",
            )
        else:
            yield Finding("ok", name, "works")


_MODULES = {
    "bridge": "modprobe bridge",
    "veth": "modprobe veth",
    "vxlan": "modprobe vxlan",
    "overlay": "modprobe overlay",
    "nftables": "modprobe nf_tables nft_chain_nat nft_masq nft_numgen",
}


def _new_net() -> None:
    namespaces.unshare(namespaces.CLONE_NEWNET)


def _probe_namespaces() -> None:
    namespaces.unshare(
        namespaces.CLONE_NEWNET
        | namespaces.CLONE_NEWNS
        | namespaces.CLONE_NEWUTS
        | namespaces.CLONE_NEWIPC
        | namespaces.CLONE_NEWPID
    )


def _probe_bridge() -> None:
    _new_net()
    with Links() as links:
        links.add_bridge("probe0")


def _probe_veth() -> None:
    _new_net()
    with Links() as links:
        links.add_veth("probe0", "probe1")


def _probe_vxlan() -> None:
    _new_net()
    with Links() as links:
        links.add_vxlan("probe0", vni=1, local="127.0.0.1")


def _probe_overlay() -> None:
    from todoku.linux import mounts

    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.make_private("/")
    mounts.tmpfs("/mnt")
    for folder in ("lower", "upper", "work", "merged"):
        os.mkdir(f"/mnt/{folder}")
    mounts.overlay("/mnt/merged", ["/mnt/lower"], "/mnt/upper", "/mnt/work")


def _probe_nftables() -> None:
    from todoku.linux.nftables import Nft

    _new_net()
    Nft().apply(_NFT_PROBE)


# What the proxy's shared chains are made of: a typeof map keyed with numgen, in one dnat rule.
_NFT_PROBE = """\
table ip probe {
  map m { typeof ip daddr . meta l4proto . th dport . numgen random mod 2 : ip daddr . th dport; }
  chain c {
    type nat hook prerouting priority -100;
    dnat to ip daddr . meta l4proto . th dport . numgen random mod 2 map @m
  }
  chain p {
    type nat hook postrouting priority 100;
    ct status dnat masquerade
  }
}
"""


def _probe_pidfd() -> None:
    os.close(os.pidfd_open(os.getpid()))


_PROBES: dict[str, tuple[Callable[[], None], bool]] = {
    "namespaces": (_probe_namespaces, True),
    "pidfd": (_probe_pidfd, True),
    "bridge": (_probe_bridge, True),
    "veth": (_probe_veth, True),
    "vxlan": (_probe_vxlan, True),
    "overlay": (_probe_overlay, True),
    "nftables": (_probe_nftables, True),
}


def _in_child(probe: Callable[[], None]) -> None:
    """Run a probe in a process whose namespaces die with it.  Raises OSError."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            probe()
        except OSError as error:
            code = error.errno or errno.EIO
            os.write(theirs, str(error).encode())
        except BaseException as error:
            code = errno.EIO
            os.write(theirs, str(error).encode())
        finally:
            os._exit(min(code, 255))
    os.close(theirs)
    with open(ours, "rb") as pipe:
        text = pipe.read().decode(errors="replace")
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        raise OSError(code, text or os.strerror(abs(code)))


def _groups() -> Iterator[Finding]:
    groups = Cgroups()
    if not groups.version:
        yield Finding(
            "warning",
            "control groups",
            "are not mounted: no limits for containers and no `node pause`",
            "mount them (/sys/fs/cgroup)",
        )
        return
    lacking = [
        name
        for name in ("cpu", "memory", "pids", "freezer")
        if groups.version != "v2" and name not in groups.controllers
    ]
    if lacking:
        yield Finding(
            "warning",
            "control groups",
            f"{groups.version}, without {', '.join(lacking)}: those limits do not apply",
            "mount the controllers",
        )
    else:
        yield Finding("ok", "control groups", groups.version)


def _limits() -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _MIN_DESCRIPTORS:
        yield Finding(
            "error",
            "open files",
            f"the limit is {hard}",
            f"raise it (ulimit -Hn {_MIN_DESCRIPTORS * 4})",
        )
    else:
        yield Finding("ok", "open files", f"limit {soft}")


def _ports() -> Iterator[Finding]:
    """The local ports of labs that are down must be free when they start."""
    try:
        yield Finding("ok", "local port", f"127.0.0.1:{free_port()} is free for a new lab")
    except OSError as error:
        yield Finding("error", "local port", str(error), "end whoever holds the ports (ss -ltnp)")
    for name in state.names():
        lasting = state.read_state(Paths(name))
        if lasting is None or lifecycle.running(name) or port_is_free(lasting.port):
            continue
        message = f"127.0.0.1:{lasting.port} of the stopped lab {name} is taken"
        yield Finding("warning", "local port", message, "end whoever listens there (ss -ltnp)")


def _space() -> Iterator[Finding]:
    for folder in (STATE, CACHE):
        place = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(place).free
        if free < _MIN_FREE_BYTES:
            yield Finding(
                "warning", str(folder), f"{free // 1024**2} MiB free", "make room (500 MiB)"
            )
        else:
            yield Finding("ok", str(folder), f"{free // 1024**2} MiB free")
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
            if available < _MIN_MEMORY_BYTES:
                message = f"{available // 1024**2} MiB available"
                yield Finding("warning", "memory", message, "a lab wants 1 GiB")
            else:
                yield Finding("ok", "memory", f"{available // 1024**2} MiB available")


def _notes() -> Iterator[Finding]:
    kubectl = shutil.which("kubectl")
    if kubectl:
        yield Finding("ok", "kubectl", kubectl)
    else:
        yield Finding(
            "warning", "kubectl", "is not installed", "`todoku kubectl` has the common commands"
        )
    yield Finding(
        "warning",
        "privileged pods",
        "a lab run by root is no sandbox: a privileged pod can harm this machine",
        "run only manifests that you trust",
    )
