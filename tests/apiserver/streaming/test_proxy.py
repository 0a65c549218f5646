"""pods/proxy, services/proxy, nodes/proxy: HTTP through the API server."""

import gzip
import json
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web

from tests.kubelet.streaming.local_node import running_api_for_nodes, running_node
from tests.support.apiserver import loopback_socket
from todoku.api.errors import BadRequest
from todoku.apiserver.page_links import rewrite_links
from todoku.apiserver.proxy import Named, Target, led_back

TARGET = Target("http", "10.1.1.1", 80, "/api/v1/namespaces/d/pods/p/proxy")
PREFIX = TARGET.prefix

NAMES = {
    "web": Named("", "web", ""),
    "web:80": Named("", "web", "80"),
    "https:web:443": Named("https", "web", "443"),
    "https:web:": Named("https", "web", ""),
}


@pytest.mark.parametrize(("text", "named"), NAMES.items(), ids=NAMES)
def test_names_may_carry_scheme_and_port(text, named):
    assert Named.of(text, "pod") == named


def test_other_names_are_refused():
    with pytest.raises(BadRequest, match='invalid service request "ftp:web:21"'):
        Named.of("ftp:web:21", "service")


LINKS = {
    "a path": ("/page", f"{PREFIX}/page"),
    "the root": ("/", f"{PREFIX}/"),
    "relative": ("page", "page"),
    "another host": ("http://example.com/a", "http://example.com/a"),
    "the target itself": ("http://10.1.1.1:80/a?b=c", f"{PREFIX}/a?b=c"),
    "the host that was asked": ("http://api:6443/a", f"http://api:6443{PREFIX}/a"),
    "led back already": (f"{PREFIX}/a", f"{PREFIX}/a"),
    "no link at all": ("http://[", "http://["),
}


@pytest.mark.parametrize(("link", "wanted"), LINKS.values(), ids=LINKS)
def test_links_lead_back_through_the_proxy(link, wanted):
    assert led_back(link, TARGET, "api:6443") == wanted


PAGES = {
    "a link and its text": ('<a href="/x">/x</a>', '<a href="#/x">/x</a>'),
    "single quotes": ("<img src='/y.png'>", "<img src='#/y.png'>"),
    "no quotes": ("<A class=b HREF=/y>", "<A class=b HREF=#/y>"),
    "another attribute": ('<a data-href="/x" title="/x">', '<a data-href="/x" title="/x">'),
    "not a link of this tag": ('<div href="/x">', '<div href="/x">'),
    "a comment": ('<!-- <a href="/x"> -->', '<!-- <a href="/x"> -->'),
    "a script": (
        '<script src="/s">x = \'<a href="/x">\'</script><a href="/x">',
        '<script src="#/s">x = \'<a href="/x">\'</script><a href="#/x">',
    ),
    "a tag in an attribute": ('<a alt="<b>" href="/x">', '<a alt="<b>" href="#/x">'),
    "a tag that does not end": ('<a href="/x" <a href="/y">', '<a href="/x" <a href="#/y">'),
}


@pytest.mark.parametrize(("page", "wanted"), PAGES.values(), ids=PAGES)
def test_only_links_of_a_page_are_rewritten(page, wanted):
    assert rewrite_links(page.encode(), lambda link: f"#{link}").decode() == wanted


@pytest.mark.parametrize("piece", [b"<a ", b"<!-- ", b"<a '", b"<script>", b" href=", b'<a "'])
def test_a_hostile_page_costs_no_more_than_its_length(piece):
    page = piece * 50_000
    assert rewrite_links(page, str.upper) == page


class Site:
    """A plain HTTP server that tells what it was asked."""

    async def __aenter__(self):
        self._sock = loopback_socket()
        self.port = self._sock.getsockname()[1]
        app = web.Application()
        app.router.add_get("/page", self._page)
        app.router.add_get("/zipped", self._zipped)
        app.router.add_get("/moved", self._moved)
        app.router.add_get("/ws", self._socket)
        app.router.add_route("*", "/{rest:.*}", self._echo)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.SockSite(self._runner, self._sock).start()
        return self

    async def __aexit__(self, *error):
        await self._runner.cleanup()
        self._sock.close()

    async def _echo(self, request):
        told = {
            "method": request.method, "path": request.path_qs, "body": await request.text(),
            "authorization": request.headers.get("Authorization"), "x": request.headers.get("X-Mine"),
            "forwarded": request.headers.get("X-Forwarded-Uri"), "host": request.host,
        }  # fmt: skip
        headers = {"X-Theirs": "yes", "Access-Control-Allow-Origin": "*"}
        return web.json_response(told, status=202, headers=headers)

    async def _page(self, request):
        return web.Response(text='<a href="/other">', content_type="text/html")

    async def _zipped(self, request):
        page = gzip.compress(b'<a href="/other">')
        return web.Response(
            body=page, content_type="text/html", headers={"Content-Encoding": "gzip"}
        )

    async def _moved(self, request):
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async def _socket(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data.upper())
        return socket


@pytest.fixture
async def proxied(tmp_path):
    async with running_api_for_nodes(tmp_path) as api, running_node(api), Site() as site:
        status = {"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}}
        code, answer = await api.request(
            "PATCH", "/api/v1/namespaces/default/pods/web/status", status,
            content_type="application/merge-patch+json",
        )  # fmt: skip
        assert code == 200, answer
        yield api, f"/api/v1/namespaces/default/pods/web:{site.port}/proxy"


METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@pytest.mark.parametrize("method", METHODS)
async def test_every_method_passes_with_path_query_body_and_headers(proxied, method):
    api, base = proxied
    body = None if method == "GET" else b"some body"
    response, data = await api.raw(
        method, f"{base}/a%2Fb/c?d=e&d=f", body, content_type="text/plain",
        headers={"X-Mine": "1", "Authorization": "Basic eA=="} if method == "GET" else {"X-Mine": "1"},
    )  # fmt: skip
    told = json.loads(data)
    assert response.status == 202
    assert response.headers["X-Theirs"] == "yes"
    assert (told["method"], told["path"]) == (method, "/a%2Fb/c?d=e&d=f")
    assert told["body"] == ("" if method == "GET" else "some body")
    assert told["x"] == "1"
    assert told["authorization"] is None
    assert told["forwarded"] == f"{base}/a/b/c"
    assert told["host"] == urlsplit(api.url).netloc, "the client's own"
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_without_a_trailing_slash_a_reader_is_sent_there(proxied, method):
    api, base = proxied
    for start in (base, "/api/v1/nodes/n1/proxy"):
        url = f"{api.url}{start}?a=b"
        async with api.session.request(method, url, allow_redirects=False) as response:
            assert response.status == 301
            assert response.headers["Location"] == f"{start}/?a=b"


@pytest.mark.parametrize("method", ["DELETE", "OPTIONS", "PATCH", "POST", "PUT"])
async def test_without_a_trailing_slash_other_methods_reach_the_root(proxied, method):
    api, base = proxied
    response, data = await api.raw(method, f"{base}?method={method}")
    assert response.status == 202
    assert json.loads(data)["path"] == f"/?method={method}"


async def test_redirects_and_pages_lead_back(proxied):
    api, base = proxied
    async with api.session.get(f"{api.url}{base}/moved", allow_redirects=False) as response:
        assert response.headers["Location"] == f"{base}/elsewhere"
    _, page = await api.raw("GET", f"{base}/page")
    assert page == f'<a href="{base}/other">'.encode()
    _, page = await api.raw("GET", f"{base}/zipped")
    assert page == f'<a href="{base}/other">'.encode()


async def test_a_websocket_passes(proxied):
    api, base = proxied
    async with api.session.ws_connect(f"{api.url}{base}/ws") as socket:
        await socket.send_str("hello")
        assert (await socket.receive(timeout=5)).data == "HELLO"


async def test_what_cannot_be_reached_is_unavailable(proxied):
    api, _ = proxied
    code, status = await api.request("GET", "/api/v1/namespaces/default/pods/web:1/proxy/")
    assert code == 503
    assert (
        "error trying to reach service: dial tcp 127.0.0.1:1: connect: connection refused"
        in status["message"]
    )
    assert (await api.request("GET", "/api/v1/namespaces/default/pods/nobody/proxy/"))[0] == 404
    assert (await api.request("GET", "/api/v1/namespaces/default/services/nobody/proxy/"))[0] == 404


async def test_a_service_without_endpoints_is_unavailable(proxied):
    api, _ = proxied
    body = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    await api.request("POST", "/api/v1/namespaces/default/services", body)
    code, status = await api.request("GET", "/api/v1/namespaces/default/services/s/proxy/")
    assert (code, status["message"]) == (503, 'no endpoints available for service "s"')
    code, status = await api.request("GET", "/api/v1/namespaces/default/services/s:81/proxy/")
    assert (code, status["message"]) == (503, 'no service port 81 found for service "s"')
    code, status = await api.request("GET", "/api/v1/namespaces/default/services/s:web/proxy/")
    assert (code, status["message"]) == (503, 'no endpoints available for service "s:web"')


async def test_a_nodes_kubelet_is_reached_with_the_servers_certificate(proxied):
    api, _ = proxied
    path = "/api/v1/nodes/n1/proxy/containerLogs/default/web/main"
    response, data = await api.raw("GET", path)
    assert (response.status, data) == (200, b"one\ntwo\n")


async def test_log_over_websocket(proxied):
    api, _ = proxied
    url = f"{api.url}/api/v1/namespaces/default/pods/web/log"
    async with api.session.ws_connect(url, protocols=["binary.k8s.io"]) as socket:
        assert socket.protocol == "binary.k8s.io"
        text = b"".join([message.data async for message in socket])
    assert text == b"one\ntwo\n"


async def test_exec_over_the_oldest_websocket_protocol(proxied):
    api, _ = proxied
    url = f"{api.url}/api/v1/namespaces/default/pods/web/exec?command=echo&command=hi&stdout=1&stderr=1"
    async with api.session.ws_connect(url, protocols=["channel.k8s.io"]) as socket:
        messages = [
            message.data async for message in socket if message.type is aiohttp.WSMsgType.BINARY
        ]
    assert messages == [b"\x01hi\n"]
