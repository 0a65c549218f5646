"""When a node stands in the API: from its kubelet's start until somebody deletes it."""

import asyncio
import contextlib

import pytest

from tests.support.apiserver import running_api
from todoku.aio import SystemClock
from todoku.api.errors import NotFound
from todoku.api.images import Image
from todoku.client import Client, ClientConfig, EventRecorder
from todoku.kubelet.config import KubeletConfig, Timings
from todoku.kubelet.node import NodeReporter, image_list
from todoku.linux.containers import Tools

LEASES = "leases.coordination.k8s.io"


HTTPD = Image("sha256:1", "docker.io/library/httpd:2.4", (), digest="sha256:aa", size_bytes=41)
IMAGES = [HTTPD, Image("sha256:1", "docker.io/library/httpd:latest", (), digest="sha256:aa", size_bytes=41),
          Image("sha256:2", "todoku.internal/system:latest", (), size_bytes=138)]  # fmt: skip


def test_the_largest_images_come_first_each_under_all_its_names():
    assert image_list(IMAGES) == [
        {"names": ["todoku.internal/system:latest"], "sizeBytes": 138},
        {
            "names": [
                "docker.io/library/httpd@sha256:aa",
                "docker.io/library/httpd:2.4",
                "docker.io/library/httpd:latest",
            ],
            "sizeBytes": 41,
        },
    ]
    many = [Image(f"sha256:{n}", f"r.io/i:{n}", (), size_bytes=n) for n in range(60)]
    assert [one["sizeBytes"] for one in image_list(many)] == list(range(59, 9, -1))


class Present:
    """An image service whose images are all there."""

    async def ensure(self, reference, policy, *, auth=None):
        return HTTPD

    async def list(self):
        return IMAGES


@contextlib.asynccontextmanager
async def reporting(client, folder):
    config = KubeletConfig(
        node_name="n1", node_ips=("10.0.0.1",), root_dir=folder, host_root=folder, run_dir=folder,
        timings=Timings(lease_renew=0.02, node_status=0.02),
    )  # fmt: skip
    tools = Tools(name="crun", runtime="crun", conmon="conmon", version="1")
    reporter = NodeReporter(
        config,
        client,
        SystemClock(),
        tools,
        EventRecorder(client, component="kubelet"),
        Present(),
    )
    running = asyncio.create_task(reporter.run())
    try:
        yield reporter
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until_found(client, resource, name, namespace=""):
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(NotFound):
                return await client.get(resource, name, namespace)
            await asyncio.sleep(0.01)


async def test_a_deleted_node_stays_away_until_its_kubelet_starts_again(tmp_path, caplog):
    async with (
        running_api() as api,
        Client(ClientConfig.from_kubeconfig(api.kubeconfig)) as client,
    ):
        async with reporting(client, tmp_path):
            node = await until_found(client, "nodes", "n1")
            lease = await until_found(client, LEASES, "n1", "kube-node-lease")
            assert lease["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]
            assert node["status"]["images"] == image_list(IMAGES)
            await client.delete("nodes", "n1")
            await client.delete(LEASES, "n1", "kube-node-lease")
            async with asyncio.timeout(5):
                while "The node was deleted" not in caplog.text:
                    await asyncio.sleep(0.01)
            for resource, namespace in (("nodes", ""), (LEASES, "kube-node-lease")):
                with pytest.raises(NotFound):
                    await client.get(resource, "n1", namespace)
        async with reporting(client, tmp_path):
            again = await until_found(client, "nodes", "n1")
            lease = await until_found(client, LEASES, "n1", "kube-node-lease")
        assert again["metadata"]["uid"] != node["metadata"]["uid"]
        assert lease["metadata"]["ownerReferences"][0]["uid"] == again["metadata"]["uid"]


async def test_a_node_says_that_it_obeys_the_strict_policy_of_groups(tmp_path):
    async with (
        running_api() as api,
        Client(ClientConfig.from_kubeconfig(api.kubeconfig)) as client,
        reporting(client, tmp_path),
    ):
        node = await until_found(client, "nodes", "n1")
    assert node["status"]["features"] == {"supplementalGroupsPolicy": True}
