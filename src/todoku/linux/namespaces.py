"""Linux namespaces by path: make and pin them, enter them, open sockets and start programs inside them.

A namespace is named by a path that opens it: a pin (a bind mount of its nsfs file) or `/proc/PID/ns/net`.
A pin inside another mount namespace is reached through `/proc/PID/root/...`.

Source: namespaces(7), setns(2), unshare(2), nsenter(1).  Two traps:

- Mount namespaces belong to a whole file-system context: setns(mnt) fails with EINVAL while threads share
  one.  `in_thread` gives the calling code a thread with a context of its own.
- `/proc` shows the processes of the PID namespace it was mounted in, so `/proc/self` may be missing after
  entering another mount namespace.  Whatever is needed of it is opened before.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Final, TypeAlias, TypeVar

T = TypeVar("T")

Netns: TypeAlias = str | int | None
"""A network namespace: a path, an open descriptor, or None (or "") for the caller's own."""

CLONE_FS: Final = 0x00000200
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

# In the order of entering: the mount namespace last, because paths change with it.
KINDS: Final = {
    "pid": CLONE_NEWPID,
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
    "net": CLONE_NEWNET,
    "mnt": CLONE_NEWNS,
}

_OPEN_TREE, _MOVE_MOUNT = 428, 429  # the same number on every architecture
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC, _AT_RECURSIVE, _AT_EMPTY_PATH = (
    1,
    os.O_CLOEXEC,
    0x8000,
    0x1000,
)
_MOVE_MOUNT_F_EMPTY_PATH, _AT_FDCWD = 4, -100
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Paths of the namespaces of a place; "" means the caller's own."""

    net: str = ""
    mnt: str = ""
    uts: str = ""
    pid: str = ""
    ipc: str = ""

    def paths(self) -> dict[str, str]:
        """The kinds that are set, in the order in which they are entered."""
        return {kind: path for kind in KINDS if (path := getattr(self, kind))}


@contextlib.contextmanager
def inside_net(netns: Netns) -> Iterator[None]:
    """Run the block with the calling thread in another network namespace; nothing may be awaited in it."""
    if netns is None or netns == "":
        yield
        return
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with _opened(netns) as there:
            setns(there, CLONE_NEWNET)
        try:
            yield
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)


def socket_in(netns: Netns, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket inside another network namespace; the calling thread is back home when it returns.

    The socket keeps that namespace alive until it is closed.  Raises OSError.
    """
    with inside_net(netns):
        return socket.socket(family, kind, protocol)


def enter(namespaces: Namespaces) -> None:
    """Move this whole process; call it before the first thread and the first event loop.

    A PID namespace takes only later children: fork after `enter` to be inside.  Afterwards the working
    directory is the root of the mount namespace.  Raises OSError naming the path.
    """
    opened = open_all(namespaces)
    try:
        enter_opened(opened)
    finally:
        for descriptor, _ in opened:
            os.close(descriptor)


def open_all(namespaces: Namespaces) -> list[tuple[int, int]]:
    """(descriptor, kind) of each namespace, in the order of entering; the caller closes them."""
    opened: list[tuple[int, int]] = []
    try:
        for kind, path in namespaces.paths().items():
            opened.append((os.open(path, os.O_RDONLY | os.O_CLOEXEC), KINDS[kind]))
    except BaseException:
        for descriptor, _ in opened:
            os.close(descriptor)
        raise
    return opened


def enter_opened(opened: Sequence[tuple[int, int]]) -> None:
    """Like `enter`, with the namespaces opened before."""
    for descriptor, kind in opened:
        setns(descriptor, kind)


def enter_argv(namespaces: Namespaces, argv: Sequence[str], *, cwd: str = "") -> list[str]:
    """The nsenter(1) command line that runs `argv` inside; `cwd` is a path inside."""
    paths = namespaces.paths()
    if not paths and not cwd:
        return list(argv)
    option = {"net": "--net", "mnt": "--mount", "uts": "--uts", "pid": "--pid", "ipc": "--ipc"}
    entered = [f"{option[kind]}={path}" for kind, path in paths.items()]
    where = [f"--wdns={cwd}"] if cwd else []
    return ["nsenter", *entered, *where, "--", *argv]


def spawn_in(
    namespaces: Namespaces,
    argv: Sequence[str],
    *,
    cwd: str = "",
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    pass_fds: Sequence[int] = (),
    start_new_session: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a program inside; safe in a process with threads.  Costs about 2 ms for nsenter(1).

    With a PID namespace the returned process is nsenter's, which passes the exit status on.
    """
    return subprocess.Popen(
        enter_argv(namespaces, argv, cwd=cwd),
        env=None if env is None else dict(env),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=tuple(pass_fds),
        start_new_session=start_new_session,
    )


def in_thread(function: Callable[[], T]) -> T:
    """Run `function` in a thread that may change namespaces and mounts as it likes, and wait for it.

    The thread has a file-system context of its own and ends with the call, so nothing leaks into this
    process.  Blocks: from an event loop use `asyncio.to_thread(in_thread, function)`.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            unshare(CLONE_FS)
            outcome.append(function())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, name="namespaces")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def create_net(path: str) -> None:
    """Make a network namespace, bring nothing up in it, and pin it at `path` (created if missing)."""

    def make() -> None:
        own = own_namespaces()
        try:
            unshare(CLONE_NEWNET)
            pin_own(own, "net", path)
        finally:
            os.close(own)

    in_thread(make)


def own_namespaces() -> int:
    """A descriptor of the calling thread's `/proc/thread-self/ns`, which works after entering others."""
    return os.open("/proc/thread-self/ns", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def pin_own(own: int, kind: str, path: str) -> None:
    """Pin the calling thread's present namespace at `path`; `own` comes from `own_namespaces`."""
    descriptor = os.open(kind, os.O_RDONLY | os.O_CLOEXEC, dir_fd=own)
    try:
        pin(descriptor, path)
    finally:
        os.close(descriptor)


def pin(namespace: str | int, path: str) -> None:
    """Keep a namespace alive at `path`, an empty file that is created if missing, in this mount namespace."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    with _opened(namespace) as source:
        attach_tree(_open_tree(source, b"", _AT_EMPTY_PATH), path)


def clone_tree(path: str) -> int:
    """A descriptor of a copy of the mounts at and below `path`, attached nowhere yet.  open_tree(2)."""
    return _open_tree(_AT_FDCWD, os.fsencode(path), _AT_RECURSIVE)


def attach_tree(tree: int, path: str) -> None:
    """Mount what `clone_tree` returned at `path`, and close it.  move_mount(2)."""
    try:
        _checked(
            _libc.syscall(
                _MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(path), _MOVE_MOUNT_F_EMPTY_PATH
            ),
            "move_mount",
            path,
        )
    finally:
        os.close(tree)


def _open_tree(folder: int, path: bytes, flags: int) -> int:
    flags |= _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC
    return _checked(_libc.syscall(_OPEN_TREE, folder, path, flags), "open_tree", os.fsdecode(path))


def unpin(path: str) -> None:
    """Let a pinned namespace go.  Idempotent: a path that is no pin, or is gone, is fine."""
    while _libc.umount2(os.fsencode(path), _MNT_DETACH) == 0:
        pass
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def setns(descriptor: int, kind: int = 0) -> None:
    """setns(2) for the calling thread.  Raises OSError."""
    _checked(_libc.setns(descriptor, kind), "setns")


def unshare(flags: int) -> None:
    """unshare(2) for the calling thread.  Raises OSError."""
    _checked(_libc.unshare(flags), "unshare")


def set_host_name(name: str) -> None:
    """Set the host name of the calling thread's UTS namespace."""
    socket.sethostname(name)


@contextlib.contextmanager
def _opened(namespace: str | int) -> Iterator[int]:
    if isinstance(namespace, int):
        yield namespace
        return
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _checked(result: int, call: str, path: str = "") -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}", path or None)
    return result
