"""One gRPC health check over cleartext HTTP/2, just what a probe needs.

Sources: RFC 9113 (frames), RFC 7541 (literal headers without indexing), grpc.health.v1, gRPC over HTTP/2.
The answer's headers are compressed and stay unread: the message itself says whether the service serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _END_HEADERS, _ACK, _PADDED = 1, 4, 1, 8
_STATUS = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


async def check(host: str, port: int, service: str) -> tuple[bool, str]:
    """Ask `Check`; whether it is SERVING, and a text for the event.  Raises OSError."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, b""))
        writer.write(_frame(_HEADERS, _END_HEADERS, 1, _headers(f"{host}:{port}")))
        writer.write(_frame(_DATA, _END_STREAM, 1, _message(service)))
        await writer.drain()
        body = bytearray()
        async for kind, flags, stream, payload in _frames(reader):
            if kind == _SETTINGS and not flags & _ACK:
                writer.write(_frame(_SETTINGS, _ACK, 0, b""))
            elif kind == _PING and not flags & _ACK:
                writer.write(_frame(_PING, _ACK, 0, payload))
            elif kind == _DATA and stream == 1:
                body += payload[1 : len(payload) - payload[0]] if flags & _PADDED else payload
            if kind in (_RST_STREAM, _GOAWAY) or (
                stream == 1 and flags & _END_STREAM and kind in (_DATA, _HEADERS)
            ):
                break
        return _judge(bytes(body))
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _judge(body: bytes) -> tuple[bool, str]:
    if len(body) < 5:
        return (
            False,
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)",
        )
    status = body[6] if len(body) >= 7 and body[5] == 0x08 else 0
    return (
        status == 1,
        f"service unhealthy (responded with {_STATUS.get(status, str(status))!r})".replace(
            "'", '"'
        ),
    )


def _message(service: str) -> bytes:
    encoded = service.encode()
    assert len(encoded) < 128, "validation limits service names"
    body = b"\x0a" + bytes([len(encoded)]) + encoded if encoded else b""
    return b"\0" + struct.pack(">I", len(body)) + body


def _headers(authority: str) -> bytes:
    fields = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", "kube-probe/1.36"),
    )
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in fields)


def _string(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


async def _frames(reader: asyncio.StreamReader) -> AsyncIterator[tuple[int, int, int, bytes]]:
    while True:
        try:
            head = await reader.readexactly(9)
            length = int.from_bytes(head[:3], "big")
            kind, flags, stream = struct.unpack(">BBI", head[3:])
            payload = await reader.readexactly(length)
        except asyncio.IncompleteReadError:
            return
        yield kind, flags, stream & 0x7FFFFFFF, payload
