"""lightkube, unmodified: its blocking client in a thread, its asynchronous one in the server's own loop."""

import asyncio

import pytest
from lightkube import ApiError, AsyncClient, Client, KubeConfig, codecs
from lightkube.core.exceptions import ConditionError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Namespace, Node
from lightkube.types import CascadeType, PatchType

from tests.apiserver.clients.conftest import GROUP, VERSION, beacon

MANIFEST = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: httpd}]}
"""


@pytest.fixture
async def session(api):
    """Runs a blocking function with a Client, in a thread."""

    def within(function):
        made = Client(config=KubeConfig.from_file(api.kubeconfig), field_manager="tests")
        try:
            return function(made)
        finally:
            made._client._client.close()

    return lambda function: asyncio.to_thread(within, function)


@pytest.fixture
async def lightkube(api):
    made = AsyncClient(config=KubeConfig.from_file(api.kubeconfig), field_manager="tests")
    yield made
    await made.close()


def config_map(name, **data):
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data=data)


async def test_objects_are_created_replaced_patched_and_deleted(session):
    def run(client):
        made = client.create(config_map("one", a="1"))
        made.data["b"] = "2"
        assert client.replace(made).data == {"a": "1", "b": "2"}
        with pytest.raises(ApiError) as refused:
            client.replace(made)
        assert refused.value.status.reason == "Conflict"
        client.patch(ConfigMap, "one", {"data": {"a": None}}, patch_type=PatchType.MERGE)
        assert client.get(ConfigMap, "one").data == {"b": "2"}
        client.delete(ConfigMap, "one", cascade=CascadeType.BACKGROUND)
        with pytest.raises(ApiError) as gone:
            client.get(ConfigMap, "one")
        assert gone.value.status.code == 404

    await session(run)


async def test_a_manifest_is_applied_and_scaled(session):
    def run(client):
        for obj in codecs.load_all_yaml(MANIFEST):
            client.apply(obj)
        web = client.get(Deployment, "web", namespace="shop")
        assert [one.manager for one in web.metadata.managedFields] == ["tests"]
        scale = Deployment.Scale(
            metadata=ObjectMeta(name="web", namespace="shop"), spec=ScaleSpec(replicas=2)
        )
        client.replace(scale)
        assert client.get(Deployment, "web", namespace="shop").spec.replicas == 2
        assert {"default", "shop"} <= {one.metadata.name for one in client.list(Namespace)}

    await session(run)


async def test_watches_and_paged_lists_in_the_loop(lightkube):
    for number in range(5):
        await lightkube.create(config_map(f"m{number}"))
    listed = lightkube.list(ConfigMap, chunk_size=2)
    assert [one.metadata.name async for one in listed] == [f"m{n}" for n in range(5)]
    seen = []
    async with asyncio.timeout(20):
        async for kind, _ in lightkube.watch(ConfigMap, fields={"metadata.name": "m1"}):
            seen.append(kind)
            if kind == "ADDED":
                await lightkube.delete(ConfigMap, "m1")
            else:
                break
    assert seen == ["ADDED", "DELETED"]


async def test_a_condition_is_waited_for(lightkube):
    await lightkube.create(Node(metadata=ObjectMeta(name="n1")))
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(lightkube.wait(Node, "n1", for_conditions=["Ready"]))
        await lightkube.patch(Node.Status, "n1", ready)
    assert waiting.result().metadata.name == "n1"
    with pytest.raises(ConditionError):
        await lightkube.wait(Node, "n1", for_conditions=["Gone"], raise_for_conditions=["Ready"])


async def test_a_custom_kind_is_used_generically(session, definition):
    Beacon = create_namespaced_resource(GROUP, VERSION, "Beacon", "beacons")

    def run(client):
        made = client.create(Beacon.from_dict(beacon("north")), namespace="default")
        assert made.spec == {"color": "red", "blinks": 3}
        with pytest.raises(ApiError) as refused:
            client.apply(Beacon.from_dict(beacon("south", "blue")), namespace="default")
        assert refused.value.status.reason == "Invalid"

    await session(run)
