"""Whatever is sent is answered with a Status that says what is wrong: never a 500, never a broken connection.

The examples are drawn from a fixed seed, so that a failure repeats; TODOKU_FUZZ_EXAMPLES asks for more of them.
"""

import asyncio
import gzip
import io
import json
import os
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

EXAMPLES = int(os.environ.get("TODOKU_FUZZ_EXAMPLES", "50"))

drawn = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
JSON_PATCH, APPLY = "application/json-patch+json", "application/apply-patch+yaml"

WEB = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {"name": "web", "image": "httpd", "ports": [{"containerPort": 80}]},
                    {"name": "side", "image": "busybox", "env": [{"name": "A", "value": "b"}]},
                ],
                "volumes": [{"name": "v", "emptyDir": {}}],
                "tolerations": [{"key": "a", "operator": "Exists"}],
            },
        },
    },
}

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12), st.sampled_from(["web", "1", "100m", "merge", "replace", "delete", "é\u0000", "\ud7ff"]),
)  # fmt: skip
FIELDS = [
    "metadata", "spec", "template", "containers", "initContainers", "name", "image", "ports", "containerPort", "env",
    "volumes", "labels", "annotations", "finalizers", "ownerReferences", "replicas", "strategy", "$patch", "$retainKeys",
    "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers", "resources", "limits", "cpu", "tolerations",
    "status", "kind", "apiVersion", "managedFields", "resourceVersion", "uid", "generateName", "valueFrom", "value",
]  # fmt: skip
fields = st.one_of(st.sampled_from(FIELDS), st.text(max_size=5))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(fields, inner, max_size=4)
    ),
    max_leaves=12,
)
containers = st.lists(st.dictionaries(st.sampled_from(FIELDS), values, max_size=4), max_size=3)


@st.composite
def shaped(draw):
    """A patch that keeps to the shape of a Deployment down to some depth, then leaves it."""
    depth, patch = draw(st.integers(0, 4)), draw(values)
    for field in ("containers", "spec", "template", "spec")[4 - depth :]:
        patch = {
            field: draw(containers) if field == "containers" and draw(st.booleans()) else patch
        }
    return patch


pointers = st.lists(
    st.sampled_from(["", "spec", "template", "metadata", "containers", "0", "-", "1", "99", "-1", "~2", "~0a", "name"]),
    max_size=6,
).map("/".join)  # fmt: skip
operations = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "nope"]),
            "path": st.one_of(pointers.map(lambda one: "/" + one), pointers, scalars),
            "from": st.one_of(pointers.map(lambda one: "/" + one), scalars),
            "value": values,
        },
    ),
    max_size=4,
)


@pytest.fixture
async def web(api):
    status, answer = await api.request("POST", DEPLOYMENTS, WEB)
    assert status == 201, answer
    return f"{DEPLOYMENTS}/web"


async def refused_or_done(api, method, path, body=None, **options):
    """Send it; the answer is a success or a Status that says why not."""
    status, answer = await api.request(method, path, body, **options)
    assert status < 500, (status, answer, body)
    if status >= 400:
        assert answer["kind"] == "Status" and answer["message"], answer
        assert answer["code"] == status
    return status


async def patched(api, path, patch, content_type):
    body = patch if isinstance(patch, bytes) else json.dumps(patch).encode()
    await refused_or_done(api, "PATCH", path, body, content_type=content_type)
    status, _ = await api.request("GET", path)
    if status == 404:  # a patch may finish off what was being deleted
        await api.request("POST", DEPLOYMENTS, WEB)


@drawn
@given(patch=st.one_of(shaped(), values))
@pytest.mark.parametrize("kind", [MERGE, STRATEGIC], ids=["merge", "strategic"])
async def test_merge_patches_of_any_shape(api, web, kind, patch):
    await patched(api, web, patch, kind)


@drawn
@given(patch=st.one_of(operations, values))
async def test_json_patches_of_any_shape(api, web, patch):
    await patched(api, web, patch, JSON_PATCH)


@drawn
@given(patch=shaped(), force=st.booleans())
async def test_applied_configurations_of_any_shape(api, web, patch, force):
    patch = (
        {**patch, "kind": "Deployment", "apiVersion": "apps/v1"}
        if isinstance(patch, dict)
        else patch
    )
    await patched(api, f"{web}?fieldManager=me&force={str(force).lower()}", patch, APPLY)


@drawn
@given(patch=values)
@pytest.mark.parametrize("part", ["status", "scale"])
async def test_patches_of_subresources(api, web, part, patch):
    body = json.dumps({part: patch} if part == "status" else {"spec": patch}).encode()
    await refused_or_done(api, "PATCH", f"{web}/{part}", body, content_type=MERGE)


pieces = st.lists(
    st.sampled_from(["a", "b.c/d", "=", "==", "!=", "!", ",", "in", "notin", "(", ")", " ", "<", "1", "\\", "é", "%"]),
    max_size=8,
).map("".join)  # fmt: skip


@drawn
@given(selector=st.one_of(pieces, st.text(max_size=20)))
@pytest.mark.parametrize("kind", ["labelSelector", "fieldSelector"])
async def test_selectors_of_any_text(api, kind, selector):
    async with api.session.get(f"{api.url}{PODS}", params={kind: selector}) as response:
        answer = await response.json()
    assert response.status in (200, 400), answer


@drawn
@given(
    query=st.dictionaries(
        st.sampled_from(
            ["limit", "continue", "resourceVersion", "resourceVersionMatch", "sendInitialEvents", "includeObject",
             "pretty", "dryRun", "fieldValidation", "fieldManager", "propagationPolicy", "gracePeriodSeconds",
             "orphanDependents", "allowWatchBookmarks", "force", "timeoutSeconds"]
        ),
        st.one_of(st.text(max_size=8), st.sampled_from(["0", "-1", "true", "Exact", "9" * 25, "eyJ2IjoxfQ"])),
        max_size=4,
    ),
    method=st.sampled_from(["GET", "DELETE", "POST", "PUT"]),
    table=st.booleans(),
)  # fmt: skip
async def test_options_of_any_text(api, query, method, table):
    path = PODS + ("/none" if method == "PUT" else "")
    accept = "application/json;as=Table;g=meta.k8s.io;v=v1" if table else "application/json"
    body = b"{}" if method in ("POST", "PUT") else None
    headers = {"Accept": accept, "Content-Type": "application/json"}
    async with api.session.request(
        method, api.url + path, params=query, data=body, headers=headers
    ) as response:
        answer = await response.json()
    assert response.status < 500 or answer["reason"] == "Timeout", answer


@drawn
@given(
    text=st.one_of(
        st.text("0123456789.+-eEKMGTPinumk ", max_size=14),
        st.text(max_size=6),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
    )
)
async def test_quantities_of_any_text(api, text):
    limits = {"requests": {"cpu": text}, "limits": {"memory": text, "hugepages-2Mi": text}}
    containers = [{"name": "a", "image": "a", "resources": limits}]
    pod = {"metadata": {"generateName": "q-"}, "spec": {"containers": containers}}
    await refused_or_done(api, "POST", f"{PODS}?dryRun=All", pod)
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": text}}}
    body = {"metadata": {"name": "q"}, "spec": claim}
    await refused_or_done(
        api, "POST", "/api/v1/namespaces/default/persistentvolumeclaims?dryRun=All", body
    )


def envelope(raw: bytes) -> bytes:
    """A protobuf body of a v1 Pod around `raw`."""
    meta = b"\x0a\x02v1\x12\x03Pod"
    length = len(raw)
    size = b""
    while True:
        size += bytes([length & 0x7F | (0x80 if length > 0x7F else 0)])
        length >>= 7
        if not length:
            break
    return b"k8s\0" + b"\x0a" + bytes([len(meta)]) + meta + b"\x12" + size + raw


wire = st.lists(
    st.one_of(
        st.binary(max_size=6),
        st.sampled_from(
            [b"\x0a", b"\x12", b"\x1a", b"\xff" * 11, b"\x0a\x05", b"\x12\x03\x0a\x01a", b"\x0b", b"\x80", b"\x08\x01"]
        ),
    ),
    max_size=6,
).map(b"".join)  # fmt: skip


@drawn
@given(raw=wire, wrapped=st.booleans())
async def test_malformed_protobuf(api, raw, wrapped):
    body = envelope(raw) if wrapped else raw
    await refused_or_done(
        api, "POST", PODS, body, content_type="application/vnd.kubernetes.protobuf"
    )


@drawn
@given(
    body=st.one_of(
        st.binary(max_size=40),
        st.text('{}[]":,-0123eE.\\untrfals&*!|>%@\n ', max_size=30).map(str.encode),
    )
)
@pytest.mark.parametrize("kind", ["application/json", "application/yaml", MERGE, APPLY, JSON_PATCH])  # fmt: skip
async def test_malformed_text(api, web, kind, body):
    if "patch" in kind:
        await refused_or_done(api, "PATCH", f"{web}?fieldManager=me", body, content_type=kind)
    else:
        await refused_or_done(api, "POST", PODS, body, content_type=kind)


DEEP = 100_000


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"a":' * DEEP),
        ("application/json", b'{"a":' * DEEP + b"1" + b"}" * DEEP),
        ("application/json", b"[" * DEEP + b"]" * DEEP),
        ("application/json", b'{"metadata":{"labels":' + b"[" * 5000 + b"]" * 5000 + b"}}"),
        ("application/json", b'{"metadata":' + b'{"a":' * 900 + b"1" + b"}" * 901),
        ("application/yaml", b"[" * 20_000),
        ("application/yaml", b"".join(b" " * n + b"a:\n" for n in range(1000))),
        (
            "application/yaml",
            b"a: &a [x,x,x,x,x,x,x,x,x]\n"
            + b"".join(
                b"%c: &%c [%s]\n" % (n + 1, n + 1, b",".join([b"*%c" % n] * 9))
                for n in range(97, 106)
            ),
        ),
        ("application/yaml", b"a: &a\n  b: *a\n"),
        ("application/yaml", b"<<: [1, 2]\n? [a]\n: b\n"),
        ("application/yaml", b"a: !!python/object/apply:os.system ['true']\n"),
        ("application/vnd.kubernetes.protobuf", envelope(b"\x12\xff\xff\xff\xff\x0f")),
        ("application/vnd.kubernetes.protobuf", b"k8s\0" + b"\x12\x7f" * 50_000),
        ("application/vnd.kubernetes.protobuf", envelope(struct.pack("<Q", 9) * 4000)),
        ("application/json", "{\"metadata\":{\"name\":\"\ud7ff\"}}".encode()),
        ("application/json", b'{"metadata":{"name":"\\ud800"}}'),
        ("application/json", b'\xef\xbb\xbf{"metadata":{}}'),
        ("application/json", b'{"spec":{"activeDeadlineSeconds":1e400}}'),
        ("application/json", b'{"spec":{"activeDeadlineSeconds":' + b"9" * 10_000 + b"}}"),
        ("application/json", b"NaN"),
    ],
    ids=[
        "open objects", "deep object", "deep list", "deep labels", "deep metadata", "open yaml", "deep yaml",
        "billion laughs", "cyclic yaml", "odd yaml keys", "yaml tags", "protobuf length", "protobuf nesting",
        "protobuf numbers", "odd letter", "lone surrogate", "byte order mark", "infinite number", "long number", "nan",
    ],
)  # fmt: skip
async def test_bodies_that_are_meant_to_hurt(api, kind, body):
    async with asyncio.timeout(10):
        status = await refused_or_done(api, "POST", PODS, body, content_type=kind)
    assert 400 <= status < 500


@pytest.mark.parametrize("kind", [MERGE, STRATEGIC, JSON_PATCH, APPLY])
@pytest.mark.parametrize("depth", [200, 900, 5000, DEEP])
async def test_deep_patches(api, web, kind, depth):
    inner = b'{"a":' * depth + b"1" + b"}" * depth
    body = (
        b'[{"op":"add","path":"/spec/x","value":' + inner + b"}]" if kind == JSON_PATCH else inner
    )
    async with asyncio.timeout(20):
        await refused_or_done(api, "PATCH", f"{web}?fieldManager=me", body, content_type=kind)


async def test_bodies_beyond_the_limit_are_refused_with_413(api):
    huge = json.dumps({"metadata": {"name": "huge"}, "data": {"a": "x" * 3_200_000}}).encode()
    path = "/api/v1/namespaces/default/configmaps"
    async with api.session.post(api.url + path, data=io.BytesIO(huge)) as response:
        answer = await response.json()
    assert (response.status, answer["reason"]) == (413, "RequestEntityTooLarge")

    async def pieces():
        for start in range(0, len(huge), 65536):
            yield huge[start : start + 65536]

    async with api.session.post(api.url + path, data=pieces()) as response:  # no Content-Length
        assert response.status == 413
    status, _ = await api.request("GET", "/version")
    assert status == 200


async def test_a_compressed_body_is_no_way_around_the_limit(api):
    bomb = gzip.compress(b" " * 50_000_000)
    headers = {"Content-Encoding": "gzip"}
    status, answer = await api.request("POST", PODS, bomb, headers=headers)
    assert 400 <= status < 500, answer


@drawn
@given(path=st.text("/abc%?#.;:é\\ \u0000", max_size=20), method=st.sampled_from(["GET", "POST", "PATCH", "DELETE", "PUT", "OPTIONS", "HEAD", "NOPE"]))  # fmt: skip
async def test_paths_of_any_text(api, path, method):
    url = URL(api.url).with_path(f"/apis/apps/v1/{path}")
    async with api.session.request(method, url) as response:
        assert response.status < 500, await response.text()


@drawn
@given(
    accept=st.text("application/json;*,=qvg.1 Tables", max_size=30),
    kind=st.text("application/json;*,=+ ", max_size=20),
)
async def test_media_types_of_any_text(api, accept, kind):
    pod = json.dumps({"metadata": {"name": "a"}}).encode()
    headers = {"Accept": accept, "Content-Type": kind or "x"}
    async with api.session.post(api.url + PODS, data=pod, headers=headers) as response:
        assert response.status < 500, await response.text()
    async with api.session.get(api.url + PODS, headers={"Accept": accept}) as response:
        assert response.status < 500, await response.text()


@pytest.mark.parametrize(
    "token",
    ["", "x", "a.b.c", "é".encode().decode("latin-1"), "Bearer", "x" * 60_000, "eyJhbGciOiJub25lIn0.e30."],
    ids=["empty", "short", "dotted", "letters", "word", "long", "unsigned"],
)  # fmt: skip
async def test_bad_tokens_are_unauthorized(api, token):
    status, answer = await api.request("GET", PODS, headers={"Authorization": f"Bearer {token}"})
    assert status in (200, 401, 400), (
        answer
    )  # with a good client certificate beside it a bad token may be ignored
