"""The node's streaming server: exec, attach, port-forward and logs over SPDY/3.1 and WebSocket."""

from todoku.kubelet.streaming.backend import (
    Backend,
    ByteReader,
    ByteWriter,
    LogOptions,
    Process,
    Streams,
)

__all__ = ["Backend", "ByteReader", "ByteWriter", "LogOptions", "Process", "Streams"]
