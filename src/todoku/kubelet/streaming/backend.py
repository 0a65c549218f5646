"""What the node's streaming server needs of the kubelet: processes in containers, connections to ports, logs.

The kubelet implements `Backend`; the server speaks the protocols (SPDY/3.1, WebSocket) and knows no container.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol


class ByteReader(Protocol):
    """`asyncio.StreamReader` is one."""

    async def read(self, n: int = -1, /) -> bytes:
        """Up to `n` bytes, waiting for at least one; b"" means the end."""


class ByteWriter(Protocol):
    """Writes wait while the other side does not take bytes."""

    async def write(self, data: bytes, /) -> None:
        """Raises ConnectionError (BrokenPipeError) when nobody reads any more."""

    async def close(self) -> None:
        """The end of the bytes (half close); idempotent, never raises."""


@dataclass(frozen=True, slots=True)
class Streams:
    """Which streams a client asked for.  With a tty there is no stderr: it arrives on stdout."""

    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False


class Process(Protocol):
    """A running exec, or an attachment to a container's main process."""

    @property
    def stdin(self) -> ByteWriter | None: ...

    @property
    def stdout(self) -> ByteReader | None: ...

    @property
    def stderr(self) -> ByteReader | None: ...

    async def resize(self, width: int, height: int) -> None:
        """Set the terminal's size in cells; ignored without a tty or after the end."""

    async def wait(self) -> int:
        """The exit status, 128+N for signal N.  For an attachment: when the container ends (or its output does)."""

    async def close(self) -> None:
        """The client is gone or all is done: an exec's process is killed if it still runs, an attachment detaches.

        Idempotent; always called, exactly when the server will touch the process no more.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """v1 PodLogOptions.  `since` is a UNIX time in seconds."""

    follow: bool = False
    previous: bool = False
    since: float | None = None
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    stream: str = "All"  # All, Stdout, Stderr


class Backend(Protocol):
    """The kubelet.  `uid` is "" when the caller did not say.  Every method may raise an `ApiError`:

    NotFound for a pod that is not on this node (`pods "x" not found`), or for a container that does not run
    (`container not found ("c")`), InternalError when the runtime refuses.
    """

    async def exec(
        self,
        namespace: str,
        pod: str,
        uid: str,
        container: str,
        command: Sequence[str],
        streams: Streams,
    ) -> Process:
        """Start `command`.  A command that cannot be found is a `Process` that ends with 127 or 126, or an InternalError
        whose message is the runtime's."""

    async def attach(
        self, namespace: str, pod: str, uid: str, container: str, streams: Streams
    ) -> Process: ...

    async def port_forward(
        self, namespace: str, pod: str, uid: str, port: int
    ) -> tuple[ByteReader, ByteWriter]:
        """Connect to 127.0.0.1:`port` (then ::1) inside the pod's network namespace.

        Raises OSError when the pod refuses.
        """

    def logs(
        self, namespace: str, pod: str, container: str, options: LogOptions
    ) -> AsyncIterator[bytes]:
        """The container's log as bytes in pieces of any size.  ApiErrors come before the first piece.

        With `follow` it goes on until the container ends; closing the iterator stops it.
        """
