"""Mounts: bind, tmpfs, overlay, read-only; and paths that cannot leave their root.

Source: mount(2), umount2(2), openat2(2) RESOLVE_IN_ROOT, Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2

_RESOLVE_IN_ROOT = 0x10
_RESOLVE_NO_MAGICLINKS = 0x02
_SYS_OPENAT2 = 437  # the same number on every architecture
_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2).  Raises OSError with both paths."""
    done = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        kind.encode(),
        ctypes.c_ulong(flags),
        data.encode(),
    )
    if done != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"mount {kind or 'bind'} {source}: {os.strerror(code)}", target)


def umount(target: str, *, lazy: bool = True) -> bool:
    """Unmount the topmost mount at `target`; False if nothing is mounted there or it is gone."""
    if _libc.umount2(os.fsencode(target), MNT_DETACH if lazy else 0) == 0:
        return True
    code = ctypes.get_errno()
    if code in (2, 22):  # ENOENT, EINVAL: no mount point
        return False
    raise OSError(code, os.strerror(code), target)


def umount_all(part: str) -> None:
    """Unmount everything whose path has `part` in it, innermost first.

    A recursive bind of a folder copies the mounts below it, and a copy keeps its folder from being removed: name
    by `part` what is the same in both paths.
    """
    found = {one.target for one in mounted() if part in f"{one.target}/"}
    for target in sorted(found, reverse=True):
        while umount(target):
            pass


def bind(source: str, target: str, *, read_only: bool = False, recursive: bool = True) -> None:
    """Show `source` at `target`, which exists and is of the same sort."""
    deep = MS_REC if recursive else 0
    mount(source, target, "", MS_BIND | deep)
    if read_only:
        mount("", target, "", MS_REMOUNT | MS_BIND | MS_RDONLY)


def tmpfs(target: str, *, size_bytes: int = 0, mode: int = 0o755) -> None:
    """An empty memory file system at `target`; `size_bytes` 0 leaves the kernel's limit."""
    size = f",size={size_bytes}" if size_bytes else ""
    mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode:o}{size}")


def make_private(target: str = "/") -> None:
    """Let no mount below `target` reach other mount namespaces, nor come from them."""
    mount("none", target, "", MS_PRIVATE | MS_REC)


def overlay(target: str, lower: Sequence[str], upper: str, work: str) -> None:
    """An overlay with `lower` directories, topmost first, and a writable `upper`.

    `volatile` spares the sync at unmount: a container's writable layer does not outlive a crash anyway.
    """
    escaped = ":".join(path.replace("\\", "\\\\").replace(":", "\\:") for path in lower)
    data = f"lowerdir={escaped},upperdir={upper},workdir={work}"
    mount("overlay", target, "overlay", 0, f"{data},volatile")


@dataclass(frozen=True, slots=True)
class Mounted:
    """A line of mountinfo: where, of what kind, and with which options of the mount and of the file system."""

    target: str
    kind: str
    options: str
    super_options: str


def mounted() -> list[Mounted]:
    """The mounts that the calling thread sees, in the order they were made."""
    found = []
    with open("/proc/thread-self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _, right = line.rstrip("\n").partition(" - ")
            fields, (kind, _, *rest) = left.split(" "), right.split(" ")
            found.append(Mounted(_unescape(fields[4]), kind, fields[5], " ".join(rest)))
    return found


def open_beneath(root: str, path: str, flags: int = os.O_PATH, mode: int = 0) -> int:
    """Open `path` as if `root` were `/`: neither `..` nor a symbolic link leads out.  Raises OSError."""
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        how = _OpenHow(flags | os.O_CLOEXEC, mode, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
        found = _libc.syscall(
            _SYS_OPENAT2, folder, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how)
        )
    finally:
        os.close(folder)
    if found < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), os.path.join(root, path.lstrip("/")))
    return int(found)


def resolve_beneath(root: str, path: str) -> str:
    """The real path of something that exists, found as if `root` were `/`.  Raises OSError."""
    descriptor = open_beneath(root, path)
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def make_directories_beneath(root: str, path: str, mode: int = 0o755) -> str:
    """Like `os.makedirs`, as if `root` were `/`; the real path of the directory.  Raises OSError."""
    parts = [part for part in path.split("/") if part]
    descriptor = open_beneath(root, "/", os.O_PATH | os.O_DIRECTORY)
    try:
        for index, part in enumerate(parts):
            if part != "..":
                try:
                    os.mkdir(part, mode, dir_fd=descriptor)
                except FileExistsError:
                    pass
            deeper = open_beneath(root, "/".join(parts[: index + 1]), os.O_PATH | os.O_DIRECTORY)
            os.close(descriptor)
            descriptor = deeper
        return os.readlink(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _unescape(text: str) -> str:
    for escaped, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escaped, plain)
    return text
