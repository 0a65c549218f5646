"""Listening sockets that outlive their child: opened by the supervisor, passed on, recovered after a crash.

They listen before the child runs, so clients of a restarting API server wait instead of being refused.
"""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Mapping

from todoku.linux.namespaces import socket_in

_SYS_PIDFD_GETFD = 438  # the same number on every architecture
_BACKLOG = 1024
_libc = ctypes.CDLL(None, use_errno=True)


def api_listeners(netns: str, lan_port: int, local_port: int) -> dict[str, socket.socket]:
    """The API server's two sockets: in its node's network, and on the real machine.  Raises OSError."""
    lan = listen(netns, "0.0.0.0", lan_port)
    try:
        return {"lan": lan, "local": listen("", "127.0.0.1", local_port)}
    except OSError:
        lan.close()
        raise


def listen(netns: str, address: str, port: int) -> socket.socket:
    """A listening TCP socket in a network namespace ("" for our own).  Raises OSError naming the address."""
    one = socket_in(netns, socket.AF_INET, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((address, port))
        one.listen(_BACKLOG)
    except OSError as error:
        one.close()
        raise OSError(error.errno, f"{address}:{port}: {error.strerror}") from error
    return one


def recovered(pid: int, descriptors: Mapping[str, int]) -> dict[str, socket.socket]:
    """The same sockets out of a living child.  pidfd_getfd(2); raises OSError."""
    pidfd = os.pidfd_open(pid)
    try:
        return {
            name: socket.socket(fileno=_take(pidfd, number)) for name, number in descriptors.items()
        }
    finally:
        os.close(pidfd)


def _take(pidfd: int, number: int) -> int:
    found = int(_libc.syscall(_SYS_PIDFD_GETFD, pidfd, number, 0))
    if found < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"pidfd_getfd: {os.strerror(code)}")
    return found


def free_port(first: int = 16443) -> int:
    """A port of 127.0.0.1 that nobody listens on, below those the kernel hands out."""
    for port in range(first, first + 4096):
        try:
            listen("", "127.0.0.1", port).close()
        except OSError:
            continue
        return port
    raise OSError(f"no free port on 127.0.0.1 from {first}")


def port_is_free(port: int) -> bool:
    """Whether 127.0.0.1:port can be listened on."""
    try:
        listen("", "127.0.0.1", port).close()
    except OSError:
        return False
    return True
