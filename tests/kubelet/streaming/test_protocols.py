"""The streaming protocols without kubectl: WebSocket channels in every version, and SPDY frame by frame."""

import asyncio
import base64
import json
import os
import ssl
import struct

import aiohttp
import pytest

from tests.kubelet.streaming.local_node import running_api_for_nodes, running_node
from tests.kubelet.streaming.test_kubectl import echo_server
from todoku.kubelet.streaming.backend import Streams
from todoku.kubelet.streaming.exec import exit_status, parse_size
from todoku.kubelet.streaming.exec_spdy import expected_streams
from todoku.wire import spdy

PODS = "/api/v1/namespaces/default/pods/web"


@pytest.fixture
async def api(tmp_path):
    async with running_api_for_nodes(tmp_path) as running, running_node(running):
        yield running


def exec_url(api, *command, **flags):
    query = [f"command={one}" for one in command] + [f"{name}=true" for name in flags]
    return f"{api.url}{PODS}/exec?{'&'.join(query)}"


async def messages(socket):
    return [
        one.data
        async for one in socket
        if one.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT)
    ]


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
async def test_websocket_channels_carry_output_and_status(api, protocol):
    url = exec_url(api, "sh", "-c", "echo%20out;echo%20err%20>%262;exit%205", stdout=1, stderr=1)
    async with api.session.ws_connect(url, protocols=[protocol]) as socket:
        assert socket.protocol == protocol
        got = await messages(socket)
    assert sorted(got[:2]) == [b"\x01out\n", b"\x02err\n"]
    status = json.loads(got[2][1:])
    assert got[2][0] == 3
    assert (status["reason"], status["details"]["causes"][0]["message"]) == ("NonZeroExitCode", "5")


async def test_v5_closes_stdin_with_channel_255(api):
    url = exec_url(api, "wc", "-c", stdin=1, stdout=1)
    async with api.session.ws_connect(url, protocols=["v5.channel.k8s.io"]) as socket:
        await socket.send_bytes(b"\x00hello")
        await socket.send_bytes(b"\xff\x00")
        got = await messages(socket)
    assert got[0] == b"\x015\n"
    assert json.loads(got[1][1:])["status"] == "Success"


async def test_a_client_that_leaves_takes_its_process_with_it(api):
    url = exec_url(api, "sh", "-c", "echo%20$$;exec%20sleep%20100", stdin=1, stdout=1)
    async with api.session.ws_connect(url, protocols=["v5.channel.k8s.io"]) as socket:
        process = int((await socket.receive(timeout=5)).data[1:])
    async with asyncio.timeout(5):
        while os.path.exists(f"/proc/{process}"):
            await asyncio.sleep(0.02)


async def test_base64_channels(api):
    url = exec_url(api, "head", "-c", "2", stdin=1, stdout=1)
    async with api.session.ws_connect(url, protocols=["base64.channel.k8s.io"]) as socket:
        await socket.send_str("0" + base64.b64encode(b"hello").decode())
        got = await messages(socket)
    assert got == ["1" + base64.b64encode(b"he").decode()]


async def test_the_terminal_has_the_size_the_client_sends(api):
    url = exec_url(api, "sh", "-c", "sleep%200.3;stty%20size", stdin=1, stdout=1, tty=1)
    async with api.session.ws_connect(url, protocols=["v5.channel.k8s.io"]) as socket:
        await socket.send_bytes(b'\x04{"Width":77,"Height":22}')
        got = await messages(socket)
    assert b"22 77" in b"".join(got)


async def test_port_forward_over_websocket_channels(api):
    async with echo_server() as port:
        url = f"{api.url}{PODS}/portforward?ports={port}"
        async with api.session.ws_connect(url, protocols=["v4.channel.k8s.io"]) as socket:
            first = [(await socket.receive()).data, (await socket.receive()).data]
            assert first == [b"\x00" + struct.pack("<H", port), b"\x01" + struct.pack("<H", port)]
            await socket.send_bytes(b"\x00hello")
            assert (await socket.receive(timeout=5)).data == b"\x00hello"


REFUSED = {
    "no streams": ("exec?command=true", {}, 400, "you must specify at least 1 of stdin, stdout, stderr"),
    "no command": ("exec?stdout=1", {}, 400, "you must specify at least 1 command"),
    "an unknown container": ("exec?command=true&stdout=1&container=x", {}, 400, "container x is not valid for pod web"),
    "no upgrade": ("exec?command=true&stdout=1", {"Connection": "close"}, 400, "Upgrade request required"),
    "an unknown SPDY protocol": ("exec?command=true&stdout=1", {"X-Stream-Protocol-Version": "v9"}, 400, "unable to negotiate protocol"),
}  # fmt: skip


@pytest.mark.parametrize(("path", "headers", "code", "text"), REFUSED.values(), ids=REFUSED)
async def test_requests_that_cannot_be_upgraded_get_a_status(api, path, headers, code, text):
    headers = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"} | headers
    got, status = await api.request("POST", f"{PODS}/{path}", headers=headers)
    assert got == code
    assert text in status["message"]


async def test_spdy_pings_are_answered_and_a_bad_stream_is_reset(api):
    context = ssl.create_default_context(cafile=api.ca_file)
    context.load_cert_chain(api.cert_file, api.key_file)
    host, port = api.url.removeprefix("https://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    try:
        head = (
            f"POST {PODS}/exec?command=echo&command=hi&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
            "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\nContent-Length: 0\r\n\r\n"
        )
        writer.write(head.encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101")
        out, frames = spdy.Writer(), spdy.Reader()
        writer.write(out.ping(1) + out.syn_stream(2, {"streamtype": ["stdout"]}))
        writer.write(
            out.syn_stream(1, {"streamtype": ["error"]})
            + out.syn_stream(3, {"streamtype": ["stdout"]})
        )
        seen = []
        while not any(isinstance(one, spdy.GoAway) for one in seen):
            seen += frames.feed(await reader.read(65536))
    finally:
        writer.close()
    assert spdy.Ping(1) in seen
    assert spdy.Reset(2, spdy.PROTOCOL_ERROR) in seen
    assert spdy.Data(3, b"hi\n") in seen
    assert spdy.Data(1, b"", fin=True) in seen


STREAMS = {
    "output only": (Streams(), "v4.channel.k8s.io", {"error", "stdout", "stderr"}),
    "a terminal": (Streams(stdin=True, stderr=False, tty=True), "v4.channel.k8s.io", {"error", "stdin", "stdout", "resize"}),
    "a terminal before v3": (Streams(stdin=True, stderr=False, tty=True), "v2.channel.k8s.io", {"error", "stdin", "stdout"}),
}  # fmt: skip


@pytest.mark.parametrize(("wanted", "protocol", "names"), STREAMS.values(), ids=STREAMS)
def test_streams_a_client_opens(wanted, protocol, names):
    assert expected_streams(wanted, protocol) == names


def test_statuses_and_sizes():
    assert exit_status(0)["status"] == "Success"
    assert exit_status(137)["details"]["causes"][0]["message"] == "137"
    assert parse_size(b'{"Width":80,"Height":24}') == (80, 24)
    assert parse_size(b"junk") is None
    assert parse_size(b'{"Width":-1,"Height":24}') is None
