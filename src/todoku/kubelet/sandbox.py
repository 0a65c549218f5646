"""A pod's namespaces: made, pinned, and let go.  No pause container: a pin keeps a namespace as well.

Only a shared PID namespace needs a process; see `worker.py`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

from todoku.linux import mounts, namespaces

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_CLONE_NEWIPC = 0x08000000
# What containerd gives every pod with a network of its own: no port needs privilege, ping needs none either.
_DEFAULT_SYSCTLS = {
    "net.ipv4.ip_unprivileged_port_start": "0",
    "net.ipv4.ping_group_range": "0 2147483647",
}


class Sandboxes:
    """Namespaces pinned below `folder`, which is on a tmpfs and private to this mount namespace.  Blocks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def folder(self, sandbox: str) -> Path:
        return self._folder / sandbox

    def create(
        self,
        sandbox: str,
        *,
        hostname: str,
        host_network: bool,
        host_ipc: bool,
        sysctls: Mapping[str, str],
    ) -> dict[str, str]:
        """Make the namespaces; kind → path.  Raises OSError, and leaves nothing behind then."""
        folder = self.folder(sandbox)
        folder.mkdir()
        wanted = {"ipc": _CLONE_NEWIPC} if not host_ipc else {}
        if not host_network:
            wanted |= {"net": namespaces.CLONE_NEWNET, "uts": namespaces.CLONE_NEWUTS}
        try:
            self._shared_memory(folder, host_ipc)
            paths = {kind: str(folder / kind) for kind in wanted}

            def make() -> None:
                own = namespaces.own_namespaces()
                try:
                    namespaces.unshare(sum(wanted.values()))
                    if not host_network:
                        namespaces.set_host_name(hostname)
                        _loopback_up()
                    _set_sysctls(sysctls if host_network else {**_DEFAULT_SYSCTLS, **sysctls})
                    for kind, path in paths.items():
                        namespaces.pin_own(own, kind, path)
                finally:
                    os.close(own)

            if wanted or sysctls:
                namespaces.in_thread(make)
        except BaseException:
            self.remove(sandbox)
            raise
        return paths

    def shm(self, sandbox: str) -> str:
        return str(self.folder(sandbox) / "shm")

    def alive(self, sandbox: str) -> bool:
        """Whether the sandbox's namespaces are still pinned here (they are gone after a power cut)."""
        folder = self.folder(sandbox)
        return os.path.ismount(folder / "shm") or (folder / "shm").is_symlink()

    def known(self) -> list[str]:
        return [path.name for path in self._folder.iterdir()]

    def remove(self, sandbox: str) -> None:
        """Let the namespaces go.  Idempotent."""
        folder = self.folder(sandbox)
        if not folder.exists():
            return
        for kind in ("net", "uts", "ipc"):
            namespaces.unpin(str(folder / kind))
        if not (folder / "shm").is_symlink():
            while mounts.umount(str(folder / "shm")):
                pass
        shutil.rmtree(folder)

    def _shared_memory(self, folder: Path, host_ipc: bool) -> None:
        if host_ipc:
            (folder / "shm").symlink_to("/dev/shm")
            return
        (folder / "shm").mkdir()
        mounts.tmpfs(str(folder / "shm"), size_bytes=64 << 20, mode=0o1777)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(sock, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def _set_sysctls(sysctls: Mapping[str, str]) -> None:
    # /proc/sys shows the namespaces of the calling thread
    for name, value in sysctls.items():
        path = "/proc/sys/" + name.replace(".", "/")
        try:
            with open(path, "w", encoding="ascii") as file:
                file.write(value)
        except OSError as error:
            raise OSError(error.errno, f"sysctl {name}={value}: {error.strerror}") from error
