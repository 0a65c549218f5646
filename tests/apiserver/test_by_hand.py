"""What people at a terminal see of the API: indented answers, warnings, and TLS that small clients speak."""

import json
import shutil
import subprocess

import pytest

from tests.support.apiserver import running_api

NAMESPACE = "/api/v1/namespaces/default"
READERS = {
    "curl": (NAMESPACE, "curl/8.5.0", True),
    "wget": (NAMESPACE, "Wget", True),
    "a browser": (NAMESPACE, "Mozilla/5.0 (X11)", True),
    "a program": (NAMESPACE, "kubectl/v1.33.0", False),
    "a program that asks": (f"{NAMESPACE}?pretty=true", "kubectl/v1.33.0", True),
    "curl that declines": (f"{NAMESPACE}?pretty=false", "curl/8.5.0", False),
    "a refusal": (f"{NAMESPACE}/pods/none", "curl/8.5.0", True),
    "the version": ("/version", "curl/8.5.0", True),
}


@pytest.fixture
async def api():
    async with running_api() as running:
        yield running


@pytest.mark.parametrize(("path", "agent", "indented"), READERS.values(), ids=READERS)
async def test_answers_are_indented_for_people(api, path, agent, indented):
    response, data = await api.raw("GET", path, headers={"User-Agent": agent})
    plain = json.dumps(json.loads(data), indent=2, ensure_ascii=False).encode()
    assert (data == plain) is indented
    assert int(response.headers["Content-Length"]) == len(data)


async def test_every_use_of_a_deprecated_kind_is_warned_about(api):
    expected = '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"'
    body = {"metadata": {"name": "web"}}
    for method, path in (("GET", ""), ("POST", ""), ("GET", "/web"), ("DELETE", "/web")):
        response, _ = await api.raw(
            method, f"{NAMESPACE}/endpoints{path}", body if method == "POST" else None
        )
        assert response.headers["Warning"] == expected, method
    response, _ = await api.raw("GET", f"{NAMESPACE}/pods")
    assert "Warning" not in response.headers


async def test_a_client_that_names_no_signature_algorithms_is_served(api):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl")
    address = api.url.removeprefix("https://")
    done = await run(
        openssl, "s_client", "-connect", address, "-tls1_2", "-sigalgs", "ECDSA+SHA1",
        "-cipher", "ALL:@SECLEVEL=0",
    )  # fmt: skip
    assert "Cipher is ECDHE-ECDSA-" in done


async def run(*argv):
    import asyncio

    def blocking():
        return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout

    return await asyncio.to_thread(blocking)
