"""Schemathesis against the documents that the server itself publishes: every operation, drawn from a fixed seed.

TODOKU_FUZZ_EXAMPLES asks for more requests per operation than one (minutes instead of half one).
"""

import asyncio
import json
import os
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
EXAMPLES = os.environ.get("TODOKU_FUZZ_EXAMPLES", "1")
SECONDS = 120 * int(EXAMPLES)


async def published(api):
    """All documents under /openapi/v3 as one."""
    _, index = await api.request("GET", "/openapi/v3")
    whole = {"openapi": "3.0.0", "info": {"title": "all", "version": "1"}}
    whole |= {"paths": {}, "components": {"schemas": {}}}
    for place in index["paths"].values():
        _, document = await api.request("GET", place["serverRelativeURL"])
        whole["paths"] |= document["paths"]
        whole["components"]["schemas"] |= document["components"]["schemas"]
    return whole


async def test_no_operation_answers_with_an_internal_error(api, tmp_path):
    document = tmp_path / "openapi.json"
    whole = await published(api)
    document.write_text(json.dumps(whole))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "run", str(document), "--url", api.url,
        "--tls-verify", api.ca_file, "--request-cert", api.cert_file, "--request-cert-key", api.key_file,
        "--checks", "not_a_server_error", "--phases", "fuzzing", "--max-examples", EXAMPLES, "--seed", "1",
        "--suppress-health-check", "all", "--no-shrink", "--continue-on-failure", "--warnings", "off",
        "--request-timeout", "10",
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(FOLDER), "SCHEMATHESIS_HOOKS": "hooks", "PYTHONWARNINGS": "ignore"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(SECONDS):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = said.decode()
    assert process.returncode == 0, text[-8000:]
    operations = sum(len(set(path) & METHODS) for path in whole["paths"].values())
    assert f"Tested: {operations}" in text, text


METHODS = {"get", "put", "post", "delete", "patch", "options", "head"}
