"""kr8s, unmodified, in the server's own loop."""

import asyncio

import kr8s
import kr8s.asyncio
import pytest
from kr8s.asyncio.objects import ConfigMap, Deployment, Namespace, new_class

from tests.apiserver.clients.conftest import GROUP, VERSION, beacon

# It warns of every Kubernetes newer than itself.
pytestmark = pytest.mark.filterwarnings("ignore:Kubernetes version .* is not supported:UserWarning")

DEPLOYMENT = {
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "httpd"}]},
        },
    },
}


@pytest.fixture
async def kr8s_api(api):
    made = await kr8s.asyncio.api(kubeconfig=api.kubeconfig)
    yield made
    await made._session.aclose()


def config_map(name, **data):
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


async def test_objects_are_created_patched_labelled_and_deleted(kr8s_api):
    one = await ConfigMap(config_map("one", a="1"), api=kr8s_api)
    await one.create()
    assert await one.exists()
    await one.patch({"data": {"a": "2"}})
    await one.label(team="red")
    await one.annotate(note="hello")
    found = [each async for each in kr8s_api.get("configmaps", label_selector={"team": "red"})]
    assert [each.name for each in found] == ["one"]
    assert (found[0].data.a, found[0].annotations["note"]) == ("2", "hello")
    await one.delete()
    assert not await one.exists()


async def test_a_missing_object_is_told_as_such(kr8s_api):
    with pytest.raises(kr8s.NotFoundError):
        await ConfigMap.get("none", namespace="default", api=kr8s_api)


async def test_a_deployment_is_scaled(kr8s_api):
    web = await Deployment(DEPLOYMENT, api=kr8s_api)
    await web.create()
    await web.scale(3)
    await web.refresh()
    assert web.replicas == 3


async def test_a_watch_and_a_wait_see_changes(kr8s_api):
    await (await ConfigMap(config_map("seen", a="1"), api=kr8s_api)).create()

    begun = asyncio.Event()

    async def watched():
        async for kind, one in kr8s_api.watch("configmaps", namespace="default"):
            if one.name == "seen":
                begun.set()
                if kind == "DELETED":
                    return one.data.a
        return None

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watched())
        await begun.wait()
        one = await ConfigMap.get("seen", namespace="default", api=kr8s_api)
        await one.patch({"data": {"a": "2"}})
        await one.delete()
        await one.wait("delete", timeout=10)
    assert watching.result() == "2"


async def test_a_custom_kind_is_used_by_its_class(kr8s_api, definition):
    Beacon = new_class("Beacon", f"{GROUP}/{VERSION}", namespaced=True, asyncio=True)
    north = await Beacon(
        {**beacon("north"), "metadata": {"name": "north", "namespace": "default"}}, api=kr8s_api
    )
    await north.create()
    assert north.raw["spec"]["blinks"] == 3
    found = [each async for each in kr8s_api.get("bcn", namespace="default")]
    assert [each.name for each in found] == ["north"]


async def test_discovery_and_version(kr8s_api):
    resources = {one["name"] for one in await kr8s_api.api_resources()}
    assert {"pods", "deployments", "ingresses"} <= resources
    assert (await kr8s_api.version())["major"] == "1"
    assert "default" in {one.name async for one in Namespace.list(api=kr8s_api)}
