"""Throw-away network namespaces for kernel tests: held by a descriptor, so nothing can be left behind."""

import contextlib
import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Netns:
    """A network namespace with `lo` up; it disappears when closed.  Has a thread that lives in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"netns-{name}")
        self.fd = self._thread.submit(_enter_new_namespace).result()
        self.path = f"/proc/{os.getpid()}/fd/{self.fd}"
        self.ip("link set lo up")

    def close(self) -> None:
        self._thread.shutdown()
        os.close(self.fd)

    def call(self, function: Callable[..., T], *args: object) -> T:
        """Run a function on the thread that lives in the namespace."""
        return self._thread.submit(function, *args).result()

    def run(self, *argv: str, check: bool = True, timeout: float = 10) -> str:
        """Run a command inside; its standard output."""
        command = ["nsenter", f"--net={self.path}", "--", *argv]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode:
            raise AssertionError(f"{self.name}: {' '.join(argv)}: {done.stderr.strip()}")
        return done.stdout

    def ip(self, *lines: str) -> None:
        """`ip` commands, one per argument, in one process."""
        text = "\n".join(lines) + "\n"
        done = subprocess.run(
            ["nsenter", f"--net={self.path}", "--", "ip", "-batch", "-"],
            input=text, capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
        if done.returncode:
            raise AssertionError(f"{self.name}: ip -batch: {done.stderr.strip()}")

    def sysctl(self, key: str, value: str) -> None:
        self.run("sh", "-c", f"echo {value} > /proc/sys/{key.replace('.', '/')}")

    def socket(self, kind: int = socket.SOCK_STREAM, family: int = socket.AF_INET) -> socket.socket:
        """A socket made inside; it can be used from any thread."""
        made = self.call(socket.socket, family, kind)
        made.settimeout(2)
        return made


def connect(a: Netns, b: Netns, *, a_name: str, b_name: str) -> None:
    """A veth pair between two namespaces, both ends up."""
    a.ip(f"link add {a_name} type veth peer name {b_name} netns {b.path}", f"link set {a_name} up")
    b.ip(f"link set {b_name} up")


@contextlib.contextmanager
def namespaces(*names: str) -> Iterator[tuple[Netns, ...]]:
    with contextlib.ExitStack() as stack:
        made = []
        for name in names:
            made.append(Netns(name))
            stack.callback(made[-1].close)
        yield tuple(made)


class Server:
    """Answers every TCP connection or UDP datagram with its name and the client address it saw."""

    def __init__(
        self,
        where: Netns,
        name: str,
        port: int,
        *,
        address: str = "",
        kind: int = socket.SOCK_STREAM,
    ) -> None:
        self.name, self.kind = name, kind
        self._socket = where.socket(kind)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((address, port))
        if kind == socket.SOCK_STREAM:
            self._socket.listen(128)
        self._stop = threading.Event()
        self._socket.settimeout(0.05)
        self._thread = threading.Thread(target=self._serve, name=f"server-{name}")
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                self._answer()
            except TimeoutError:
                continue
            except ConnectionError:
                continue

    def _answer(self) -> None:
        if self.kind == socket.SOCK_DGRAM:
            _, client = self._socket.recvfrom(100)
            self._socket.sendto(f"{self.name} {client[0]}".encode(), client)
            return
        connection, client = self._socket.accept()
        with connection:
            connection.sendall(f"{self.name} {client[0]}".encode())


def ask(
    where: Netns, address: str, port: int, *,
    kind: int = socket.SOCK_STREAM, timeout: float = 1.0, source: str = "",
) -> str:  # fmt: skip
    """One exchange with a Server: "name client-address", or `refused`, `timeout`, `no-route`."""
    with where.socket(kind) as probe:
        probe.settimeout(timeout)
        try:
            if source:
                probe.bind((source, 0))
            probe.connect((address, port))
            if kind == socket.SOCK_DGRAM:
                probe.send(b"?")
            return probe.recv(100).decode()
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "timeout"
        except OSError as error:
            return {101: "no-route", 113: "no-route"}.get(error.errno or 0, repr(error))


def _enter_new_namespace() -> int:
    if _libc.unshare(_CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
