"""exec over v5.channel.k8s.io, against a peer that speaks the protocol."""

import json

import pytest
from aiohttp import WSMsgType, web

from todoku.cli.kubectl_lib import main
from todoku.cli.kubectl_lib.catalog import Catalog, Kind
from todoku.client.names import Named

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"containers": [{"name": "httpd"}, {"name": "side"}]},
    "status": {"phase": "Running"},
}


@pytest.fixture
async def peer(tmp_path, unused_tcp_port):
    """An API server of one pod whose exec echoes standard input, then fails with status 3."""
    seen = {}

    async def execute(request):
        seen["query"] = list(request.query.items())
        channel = web.WebSocketResponse(protocols=("v5.channel.k8s.io",))
        await channel.prepare(request)
        await channel.send_bytes(b"\x01out\n")
        await channel.send_bytes(b"\x02err\n")
        if request.query.get("stdin"):
            async for message in channel:
                assert message.type is WSMsgType.BINARY
                if message.data == b"\xff\x00":
                    break
                await channel.send_bytes(b"\x01" + message.data[1:].upper())
        status = {
            "status": "Failure",
            "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
        }
        await channel.send_bytes(b"\x03" + json.dumps(status).encode())
        await channel.close()
        return channel

    async def pod(request):
        return web.json_response(POD)

    app = web.Application()
    app.router.add_get("/api/v1/namespaces/default/pods/web", pod)
    app.router.add_get("/api/v1/namespaces/default/pods/web/exec", execute)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        f"clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{unused_tcp_port}'}}}}]\n"
        "users: [{name: c, user: {}}]\ncontexts: [{name: c, context: {cluster: c, user: c}}]\n"
    )
    yield kubeconfig, seen
    await runner.cleanup()


async def _catalog(client):
    return Catalog([Kind(Named("", "v1", "Pod", "pods", True, ("get",)), "pod", ("po",))])


async def run(kubeconfig, monkeypatch, *words):
    monkeypatch.setattr(main, "catalog", _catalog)
    words, command = main._split(list(words))
    given = main._parser().parse_intermixed_args(words)
    given.command = command
    return await main._run(given, kubeconfig)


async def test_streams_and_status_come_back(peer, monkeypatch, capfdbinary):
    kubeconfig, seen = peer
    assert await run(kubeconfig, monkeypatch, "exec", "web", "--", "sh", "-c", "exit 3") == 3
    out, err = capfdbinary.readouterr()
    assert out == b"out\n"
    assert err == b'Defaulted container "httpd"\nerr\ncommand terminated with exit code 3\n'
    assert [value for name, value in seen["query"] if name == "command"] == ["sh", "-c", "exit 3"]


async def test_standard_input_is_sent_and_closed(peer, monkeypatch, capfdbinary, tmp_path):
    import os

    kubeconfig, seen = peer
    reader, writer = os.pipe()
    os.write(writer, b"hello")
    os.close(writer)
    saved = os.dup(0)
    os.dup2(reader, 0)
    try:
        status = await run(kubeconfig, monkeypatch, "exec", "-i", "web", "-c", "side", "--", "cat")
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(reader)
    assert status == 3
    assert capfdbinary.readouterr().out == b"out\nHELLO"
    assert ("container", "side") in seen["query"]


async def test_an_unknown_container_is_refused(peer, monkeypatch):
    kubeconfig, _ = peer
    with pytest.raises(
        main.Failed, match="container nope is not valid for pod web out of: httpd, side"
    ):
        await run(kubeconfig, monkeypatch, "exec", "web", "-c", "nope", "--", "true")
