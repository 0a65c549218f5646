"""The node's streaming server: exec, attach and port-forward over SPDY/3.1 and WebSocket."""

from todoku.kubelet.streaming.backend import (
    Backend,
    ByteReader,
    ByteWriter,
    LogOptions,
    Process,
    Streams,
)
from todoku.kubelet.streaming.routes import add_routes

__all__ = ["Backend", "ByteReader", "ByteWriter", "LogOptions", "Process", "Streams", "add_routes"]
