"""The odd ends of HTTP, as kube-apiserver answers them."""

import asyncio
import contextlib
import gzip
import io
import json
import re
import ssl
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from tests.support.apiserver import running_api
from todoku.api import times
from todoku.apiserver import responses
from todoku.apiserver.config import Timings
from todoku.apiserver.connections import HEAD_SECONDS, Connections

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
TOO_LARGE = "Request entity too large: limit is 3145728"
FORMATS = "the body of the request was in an unknown format - accepted media types include: "
OBJECTS = FORMATS + "application/json, application/yaml, application/vnd.kubernetes.protobuf"
PATCHES = (
    FORMATS + "application/json-patch+json, application/merge-patch+json,"
    " application/strategic-merge-patch+json, application/apply-patch+yaml"
)
ACCEPTED = (
    "only the following media types are accepted: application/json, application/yaml,"
    " application/vnd.kubernetes.protobuf"
)
METHOD = "the server does not allow this method on the requested resource"
HUGE = b"x" * (3 * 1024 * 1024 + 1)

WRITES = {
    "a huge object": ("POST", "", "application/json", HUGE, 413, TOO_LARGE),
    "huge YAML": ("POST", "", "application/yaml", HUGE, 413, TOO_LARGE),
    "huge protobuf": ("PUT", "/a", "application/vnd.kubernetes.protobuf", HUGE, 413, TOO_LARGE),
    "a huge patch": ("PATCH", "/a", "application/merge-patch+json", HUGE, 413, TOO_LARGE),
    "a huge apply": ("PATCH", "/a", "application/apply-patch+yaml", HUGE, 413, TOO_LARGE),
    "huge options": ("DELETE", "/a", "application/json", HUGE, 413, TOO_LARGE),
    "XML": ("POST", "", "text/xml", b"<a/>", 415, OBJECTS),
    "no media type at all": ("POST", "", ";;", b"{}", 415, OBJECTS),
    "a patch of no kind": ("PATCH", "/a", "application/json", b"{}", 415, PATCHES),
    "a patch of the collection": ("PATCH", "", "application/merge-patch+json", b"{}", 405, METHOD),
    "an update of the collection": ("PUT", "", "application/json", b"{}", 405, METHOD),
    "a create with a name": ("POST", "/a", "application/json", b"{}", 405, METHOD),
}


@pytest.mark.parametrize(
    ("method", "rest", "kind", "body", "code", "message"), WRITES.values(), ids=list(WRITES)
)
async def test_a_write_is_refused(api, method, rest, kind, body, code, message):
    async with api.session.request(
        method,
        api.url + CONFIG_MAPS + rest,
        data=io.BytesIO(body),
        headers={"Content-Type": kind, "Content-Length": str(len(body))},
    ) as response:
        status = await response.json()
    assert (response.status, status["message"]) == (code, message)


async def test_what_no_resource_answers_has_empty_details(api):
    refusals = [
        await api.raw("GET", "/apis/apps/v1/nothings"),
        await api.raw("POST", f"{CONFIG_MAPS}/a", {}),
        await api.raw("GET", "/nowhere", headers={"Impersonate-User": "bob"}),
    ]
    told = [json.loads(data) for _, data in refusals]
    assert [one["reason"] for one in told] == ["NotFound", "MethodNotAllowed", "Forbidden"]
    assert all(one["details"] == {} for one in told)
    assert list(told[0]) == ["kind", "apiVersion", "metadata", "status", "message", "reason", "details", "code"]  # fmt: skip


@pytest.mark.parametrize("name", ["other", ""])
async def test_an_eviction_names_its_pod_whether_there_is_one_or_not(api, name):
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    path = "/api/v1/namespaces/default/pods/web/eviction"
    code, refusal = await api.request("POST", path, eviction)
    assert (code, refusal["message"]) == (
        400,
        "name in URL does not match name in Eviction object",
    )


READS = {
    "no such form": (CONFIG_MAPS, "text/xml", 406, ACCEPTED),
    "of a watch": (CONFIG_MAPS + "?watch=1", "image/png", 406, ACCEPTED),
    "of discovery": ("/api/v1", "text/xml", 406, ACCEPTED),
    "too big a number": (
        CONFIG_MAPS + "?limit=99999999999999999999",
        "*/*",
        400,
        'strconv.ParseInt: parsing "99999999999999999999": value out of range',
    ),
    "no number": (
        CONFIG_MAPS + "?timeoutSeconds=x",
        "*/*",
        400,
        'strconv.ParseInt: parsing "x": invalid syntax',
    ),
    "no duration": (
        CONFIG_MAPS + "?timeout=x",
        "*/*",
        400,
        'invalid timeout specified in the request URL - time: invalid duration "x"',
    ),
    "a duration without its unit": (
        CONFIG_MAPS + "?timeout=5",
        "*/*",
        400,
        'invalid timeout specified in the request URL - time: missing unit in duration "5"',
    ),
}


@pytest.mark.parametrize(("path", "accept", "code", "message"), READS.values(), ids=list(READS))
async def test_a_read_is_refused(api, path, accept, code, message):
    response, data = await api.raw("GET", path, accept=accept)
    assert (response.status, json.loads(data)["message"]) == (code, message)


async def test_discovery_comes_as_yaml(api):
    response, data = await api.raw("GET", "/api/v1", accept="application/yaml")
    assert response.headers["Content-Type"] == "application/yaml"
    assert b"kind: APIResourceList" in data


async def test_a_compressed_body_is_no_object(api):
    body = gzip.compress(b'{"metadata":{"name":"zip"}}')
    response, _ = await api.raw("POST", CONFIG_MAPS, body, headers={"Content-Encoding": "gzip"})
    assert response.status == 400


async def test_every_answer_has_its_number_in_audit(api):
    response, _ = await api.raw("GET", "/version")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", response.headers["Audit-Id"])
    response, _ = await api.raw("GET", "/absent", headers={"Audit-Id": "mine"})
    assert response.headers["Audit-Id"] == "mine"


async def test_the_version_is_laid_out_for_reading(api):
    _, data = await api.raw("GET", "/version")
    assert data.startswith(b'{\n  "major": "1",\n  "minor": "36",\n  "emulationMajor": "1",\n')


@asynccontextmanager
async def connected(api):
    context = ssl.create_default_context(cafile=api.ca_file)
    context.load_cert_chain(api.cert_file, api.key_file)
    place = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port, ssl=context)
    try:
        async with asyncio.timeout(5):
            yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


async def test_who_asks_before_sending_a_body_is_told_to_go_on(api):
    body = b'{"metadata":{"name":"expected"}}'
    head = (
        f"POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    async with connected(api) as (reader, writer):
        writer.write(head.encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await reader.read()).startswith(b"HTTP/1.1 201 Created\r\n")


async def test_who_announces_too_much_is_not_told_to_go_on(api):
    head = (
        f"POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        "Expect: 100-continue\r\nContent-Length: 99999999\r\nConnection: close\r\n\r\n"
    )
    async with connected(api) as (reader, writer):
        writer.write(head.encode())
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 413 ")


async def test_pipelined_requests_are_answered_in_order(api):
    lines = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with connected(api) as (reader, writer):
        writer.write(lines)
        answers = await reader.read()
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert answers.index(b"\r\n\r\nok") < answers.index(b'"gitVersion"')


ESCAPES = {"no digits": b"%zz", "half an escape": b"%4", "none": b"%"}


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)
async def test_a_bad_escape_in_a_path_is_refused(api, escape):
    async with connected(api) as (reader, writer):
        writer.write(
            b"GET /api/v1/namespaces/"
            + escape
            + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"invalid URL escape" in answer


async def test_what_is_no_http_is_refused_and_fills_no_log(api, caplog):
    async with connected(api) as (reader, writer):
        writer.write(b"GARBAGE\r\n\r\n")
        assert b" 400 " in (await reader.read())[:20]
    assert not [one for one in caplog.records if one.name.startswith("todoku.apiserver.http")]


async def test_a_request_may_ask_for_less_time():
    """A hanging webhook is waited for no longer than the client says."""
    async with running_api() as api:
        held = []
        listener = await asyncio.start_server(
            lambda reader, writer: held.append(writer), "127.0.0.1", 0
        )
        port = listener.sockets[0].getsockname()[1]
        hook = {
            "name": "slow.example.com",
            "clientConfig": {"url": f"https://127.0.0.1:{port}/"},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }  # fmt: skip
        path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
        await api.request("POST", path, {"metadata": {"name": "slow"}, "webhooks": [hook]})
        async with asyncio.timeout(5):
            code, status = await api.request(
                "POST", f"{CONFIG_MAPS}?timeout=50ms", {"metadata": {"name": "x"}}
            )
        listener.close()
        for writer in held:
            writer.transport.abort()
        await asyncio.sleep(0)
    assert (code, status["reason"]) == (504, "Timeout")
    assert status["message"] == "Timeout: request did not complete within the allotted timeout"
    assert status["details"] == {}


async def test_a_watch_ends_whole_when_the_server_stops():
    async with (
        running_api(timings=Timings(shutdown_grace=1.0)) as api,
        connected(api) as (reader, writer),
    ):
        line = f"GET {CONFIG_MAPS}?watch=1&resourceVersion=1 HTTP/1.1\r\nHost: x\r\n\r\n"
        writer.write(line.encode())
        await reader.readuntil(b"\r\n\r\n")
        await api.server.stop()
        assert await reader.read() == b"0\r\n\r\n"  # the end of its chunks


class Silent:
    """A connection of the server, in the part that `Connections` sees."""

    def __init__(self):
        self.aborted = False
        self.transport = self
        self._task_handler = None

    def abort(self):
        self.aborted = True


async def test_a_connection_without_a_request_is_closed_in_time():
    now = [0.0]
    connections = Connections(lambda request: None, lambda: now[0])
    early, busy, left = Silent(), Silent(), Silent()
    for one in (early, busy, left):
        connections.connection_made(one, one)
    connections.request_arrived(busy)
    connections.connection_lost(left)
    now[0] = HEAD_SECONDS - 1
    late = Silent()
    connections.connection_made(late, late)
    connections.expire()
    assert not early.aborted
    now[0] = HEAD_SECONDS + 1
    connections.expire()
    assert [one.aborted for one in (early, busy, left, late)] == [True, False, False, False]


async def test_a_client_that_sends_half_a_head_is_cut_off_and_others_are_not(api):
    connections = api.server.connections
    async with connected(api) as (reader, writer), connected(api) as (kept, other):
        writer.write(b"GET /version HTTP/1.1\r\nHost:")
        other.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        await kept.readuntil(b"ok")
        connections.expire(after_seconds=0)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        other.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await kept.read()).endswith(b"ok")


DURATIONS = {
    "": 'time: invalid duration ""',
    "5": 'time: missing unit in duration "5"',
    "1h5": 'time: missing unit in duration "1h5"',
    "3d": 'time: unknown unit "d" in duration "3d"',
    "1.5.5s": 'time: missing unit in duration "1.5.5s"',
    "-": 'time: invalid duration "-"',
    ".s": 'time: invalid duration ".s"',
}


@pytest.mark.parametrize(("text", "problem"), DURATIONS.items())
def test_a_duration_is_refused_in_gos_words(text, problem):
    with pytest.raises(ValueError, match=re.escape(problem)):
        times.parse_duration(text)


WARNINGS = {
    "none": ([], []),
    "a few": (["a", "b"], ["a", "b"]),
    "one long one": (["x" * 9000], ["x" * 9000]),
    "too long together": (["x" * 3000, "y" * 3000], ["x" * 256, "y" * 256]),
    "endless": (["x" * 1000 + str(n) for n in range(50)], ["x" * 256] * 16),
    "more than headers": ([str(n) for n in range(300)], [str(n) for n in range(80)]),
}


@pytest.mark.parametrize(("warnings", "kept"), WARNINGS.values(), ids=WARNINGS)
def test_warnings_are_no_more_than_headers_hold(warnings, kept):
    assert responses.limited(warnings) == kept


async def test_a_client_reads_the_answer_to_a_thousand_unknown_fields(api):
    body = {"metadata": {"name": "odd"}, **{f"field{n}": n for n in range(1000)}}
    response, _ = await api.raw("POST", CONFIG_MAPS, body)
    assert response.status == 201
    assert 1 < len(response.headers.getall("Warning")) <= 80
    assert len(response.headers) < 100


@pytest.mark.parametrize(
    "path", ["/version", "/api/v1/namespaces", "/nowhere", "/api/v1/pods?watch=1"]
)
async def test_the_server_does_not_name_its_software(api, path):
    async with api.session.get(api.url + path) as response:
        assert "Server" not in response.headers
        assert "Date" in response.headers
