"""An operator written with kopf, run as its users run it: `kopf run`, in a process of its own."""

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

from tests.apiserver.clients.conftest import GROUP, PLURAL, VERSION, beacon

BEACONS = f"/apis/{GROUP}/{VERSION}/namespaces/default/{PLURAL}"
LAMP = "/api/v1/namespaces/default/configmaps/north-lamp"
PROGRAM = Path(__file__).with_name("operator_program.py")


@asynccontextmanager
async def operator(api, tmp_path):
    said = (tmp_path / "operator.log").open("w+")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kopf", "run", str(PROGRAM), "--standalone", "--namespace=default",
        env=os.environ | {"KUBECONFIG": api.kubeconfig, "PYTHONWARNINGS": "ignore"},
        stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said,
    )  # fmt: skip
    try:
        yield
    except BaseException as failure:
        said.seek(0)
        failure.add_note(said.read()[-8000:])
        raise
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(15):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        said.close()


async def until(api, path, holds, seconds=30):
    """Read `path` until `holds(status, object)`."""
    answer = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                status, answer = await api.request("GET", path)
                if holds(status, answer):
                    return answer
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{path} stayed {answer}") from None


async def test_an_operator_keeps_what_its_objects_ask_for(api, definition, tmp_path):
    async with operator(api, tmp_path):
        status, made = await api.request("POST", BEACONS, beacon("north"))
        assert status == 201
        lamp = await until(api, LAMP, lambda status, _: status == 200)
        assert lamp["data"] == {"color": "red"}
        assert lamp["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
        north = await until(
            api, f"{BEACONS}/north", lambda _, one: one.get("status", {}).get("blinked") == 2
        )
        assert north["status"]["lit"] == {"lamp": "north-lamp"}
        assert north["metadata"]["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]
        recolor = {"spec": {"color": "green"}}
        await api.request(
            "PATCH", f"{BEACONS}/north", recolor, content_type="application/merge-patch+json"
        )
        await until(api, LAMP, lambda _, one: one["data"]["color"] == "green")
        await until(api, f"{BEACONS}/north", lambda _, one: one["status"].get("was") == "red")
        events = "/api/v1/namespaces/default/events?fieldSelector=involvedObject.kind%3DBeacon"
        told = await until(api, events, lambda _, found: found["items"])
        assert {one["reason"] for one in told["items"]} == {"Lit"}
        await api.request("DELETE", f"{BEACONS}/north")
        await until(api, f"{BEACONS}/north", lambda status, _: status == 404)
        status, _ = await api.request("GET", LAMP)
        assert status == 404
