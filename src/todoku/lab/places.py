"""Places: the lab itself, and each machine of it (nodes, outside hosts, gateway, the LAN's switch).

A place is the set of namespaces that its init holds: the distribution's `catatonit -P`, which sleeps and reaps.
The lab's init is the first process of a PID and mount namespace; every machine's init is the first of a nested
PID namespace with network, mount, host-name and IPC namespaces of its own.  So cutting a machine's power is
one signal: when its init dies, the kernel kills every process on it and lets go of its namespaces; when the
lab's init dies, everything of the lab dies.  Nothing is in any global list, and nothing has to be unpinned.

These functions run in children of the fork server (single-threaded, before any loop).
Source: pid_namespaces(7), mount_namespaces(7), sysfs(5).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from todoku.linux import mounts, namespaces
from todoku.linux.cgroups import hierarchies
from todoku.linux.namespaces import Namespaces

_READY: Final = b"\x01"


@dataclass(frozen=True, slots=True)
class Share:
    """A folder of the real machine, shown in the place at `at`, which is made if missing."""

    path: str
    at: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class PlaceSpec:
    """What a machine looks like from inside.

    `files` maps paths such as `/etc/hosts` to the files shown there; `keep` are folders below /run that stay
    visible (the lab's sockets); all else in /run is the machine's own and empty.  A `bare` place is only a
    network namespace (the switch).
    """

    lab: str
    name: str
    host_name: str
    files: tuple[tuple[str, str], ...] = ()
    keep: tuple[str, ...] = ()
    shares: tuple[Share, ...] = ()
    bare: bool = False


def namespaces_of(pid: int, *, processes: bool = True) -> Namespaces:
    """The namespaces that the init `pid` holds, as paths."""
    folder = f"/proc/{pid}/ns"
    return Namespaces(
        net=f"{folder}/net",
        mnt=f"{folder}/mnt",
        uts=f"{folder}/uts",
        ipc=f"{folder}/ipc",
        pid=f"{folder}/pid" if processes else "",
    )


def init_name(lab: str, place: str = "") -> str:
    """How ps(1) shows an init; `sweep` finds a lab's inits by it."""
    return f"todoku/{lab}/{place}" if place else f"todoku/{lab}"


def start_lab(lab: str) -> int:
    """Make the lab's PID and mount namespaces and their init; its process id.

    Raises OSError.  The caller's own children are born in the new PID namespace from then on: call it in a
    process that ends.
    """
    namespaces.unshare(namespaces.CLONE_NEWPID)

    def prepare() -> None:
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.make_private("/")
        mounts.mount("proc", "/proc", "proc")

    return _start_init(init_name(lab), prepare)


def start_place(spec: PlaceSpec) -> int:
    """Make a machine's namespaces and their init; its process id as this process sees it.

    The calling process is inside the lab's PID and mount namespaces.  Raises OSError.
    """
    namespaces.unshare(namespaces.CLONE_NEWPID)

    def prepare() -> None:
        namespaces.unshare(
            namespaces.CLONE_NEWNET
            | namespaces.CLONE_NEWNS
            | namespaces.CLONE_NEWUTS
            | namespaces.CLONE_NEWIPC
        )
        mounts.make_private("/")
        namespaces.set_host_name(spec.host_name)
        _network_defaults()
        mounts.mount("proc", "/proc", "proc")
        if not spec.bare:
            _own_sysfs()
            _own_run(spec.keep)
            _own_files(spec.files)
            _shares(spec.shares)

    return _start_init(init_name(spec.lab, spec.name), prepare)


def _start_init(name: str, prepare: Callable[[], None]) -> int:
    """Fork the first process of the new PID namespace; return once it is what it shall be."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _become_init(name, prepare, theirs)
    os.close(theirs)
    with open(ours, "rb") as pipe:
        answer = pipe.read()
    if answer == _READY:
        return pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise OSError(answer.decode(errors="replace") or f"the init of {name} died")


def _become_init(name: str, prepare: Callable[[], None], pipe: int) -> None:
    """In the forked child: prepare, say so, and become catatonit; never returns."""
    try:
        os.setsid()
        prepare()
        os.chdir("/")
        null = os.open("/dev/null", os.O_RDWR)
        for target in (0, 1, 2):
            os.dup2(null, target)
        os.write(pipe, _READY)
        # Executing closes every descriptor of the fork server: they are all close-on-exec.
        os.execvp("catatonit", [name, "-P"])
    except BaseException as error:
        os.write(pipe, f"{name}: {error}".encode())
    finally:
        os._exit(1)


def _network_defaults() -> None:
    """Settings of a new network namespace, before it has an interface.

    IPv6 addresses are usable at once (the lab hands them out, nobody else does), and routers are not obeyed.
    """
    for file, value in (
        ("ipv6/conf/default/accept_dad", "0"),
        ("ipv6/conf/all/accept_dad", "0"),
        ("ipv6/conf/default/accept_ra", "0"),
        ("ipv4/conf/default/arp_notify", "1"),
        ("ipv4/ping_group_range", "0 2147483647"),
    ):
        try:
            with open(f"/proc/sys/net/{file}", "w") as setting:
                setting.write(value)
        except FileNotFoundError:
            continue  # a kernel without IPv6


def _own_sysfs() -> None:
    """/sys of this network namespace, with the control groups as they were.

    A version 2 hierarchy beside version 1 is covered: crun refuses a hybrid view, and limits live in version 1.
    """
    found = mounts.mounted()
    inside = [mount.target for mount in found if mount.target.startswith("/sys/")]
    kept = None
    if "/sys/fs/cgroup" in inside:
        kept = namespaces.clone_tree("/sys/fs/cgroup")
    mounts.umount("/sys")
    mounts.mount("sysfs", "/sys", "sysfs", mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC)
    if kept is None:
        return
    namespaces.attach_tree(kept, "/sys/fs/cgroup")
    unified, controllers = hierarchies(found)
    if unified is not None and controllers:
        mounts.tmpfs(str(unified))


def _own_run(keep: Sequence[str]) -> None:
    """An empty /run but for the lab's own folder."""
    kept = [(path, namespaces.clone_tree(path)) for path in keep]
    mounts.tmpfs("/run")
    os.mkdir("/run/lock", 0o1777)
    for path, tree in kept:
        os.makedirs(path, mode=0o700)
        namespaces.attach_tree(tree, path)


def _own_files(files: Sequence[tuple[str, str]]) -> None:
    """Show files of the machine's folder at well-known paths; where the path is missing, it stays so.

    A path that leads into /run (a resolv.conf of systemd-resolved) is made there, in the machine's own /run.
    """
    for path, source in files:
        target = os.path.realpath(path)
        if target.startswith("/run/"):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "a"):
                pass
        if os.path.exists(target):
            mounts.bind(source, target)


def _shares(shares: Sequence[Share]) -> None:
    for share in shares:
        os.makedirs(share.at, exist_ok=True)
        mounts.bind(share.path, share.at, read_only=share.read_only)
