"""The gRPC probe against a server that speaks just enough HTTP/2 (RFC 9113)."""

import asyncio
import struct

import pytest

from todoku.kubelet.grpchealth import check
from todoku.kubelet.probes import Target, Verdict, look


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def serving(status, done):
    async def talk(reader, writer):
        await reader.readuntil(b"SM\r\n\r\n")
        writer.write(frame(4, 0, 0))
        seen = b""
        while b"grpc.health.v1.Health/Check" not in seen:
            seen += await reader.read(4096)
        if status is not None:
            message = b"\x08" + bytes([status])
            writer.write(frame(1, 4, 1, b"\x88"))
            writer.write(frame(0, 0, 1, b"\0" + struct.pack(">I", len(message)) + message))
        writer.write(frame(1, 5, 1, b"\x88"))
        await writer.drain()
        await reader.read()
        writer.close()
        await writer.wait_closed()
        done.set()

    return talk


@pytest.mark.parametrize(("status", "healthy"), [(1, True), (2, False), (0, False), (None, False)],
                         ids=["serving", "not serving", "unknown", "no such service"])  # fmt: skip
async def test_only_serving_is_healthy(status, healthy):
    done = asyncio.Event()
    server = await asyncio.start_server(serving(status, done), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, asyncio.timeout(5):
        assert (await check("127.0.0.1", port, "some.Service"))[0] is healthy
        await done.wait()


async def test_nobody_listening_is_a_failure_that_says_so():
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    verdict, text = await look({"grpc": {"port": port}}, Target("127.0.0.1", {}, None))
    assert verdict is Verdict.FAILURE and "connection refused" in text
