"""The official Python client, unmodified: typed and dynamic APIs, watches, patches, paging, custom objects.

It blocks, so each session runs in a thread beside the server's loop.
"""

import asyncio
import textwrap

import pytest
from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.exceptions import ApiException

from tests.apiserver.clients.conftest import GROUP, PLURAL, VERSION, beacon


@pytest.fixture
async def session(api):
    """Runs a blocking function with an ApiClient, in a thread."""

    def within(function):
        with config.new_client_from_config(api.kubeconfig) as made:
            try:
                return function(made)
            finally:
                made.rest_client.pool_manager.clear()

    return lambda function: asyncio.to_thread(within, function)


def config_map(name, **data):
    return client.V1ConfigMap(
        metadata=client.V1ObjectMeta(name=name, labels={"made": "here"}), data=data
    )


async def test_objects_are_created_read_replaced_patched_and_deleted(session):
    def run(api):
        core = client.CoreV1Api(api)
        made = core.create_namespaced_config_map("default", config_map("one", a="1"))
        assert made.metadata.uid
        made.data["b"] = "2"
        replaced = core.replace_namespaced_config_map("one", "default", made)
        assert replaced.data == {"a": "1", "b": "2"}
        with pytest.raises(ApiException) as refused:  # the revision is an old one now
            core.replace_namespaced_config_map("one", "default", made)
        assert (refused.value.status, refused.value.reason) == (409, "Conflict")
        core.patch_namespaced_config_map("one", "default", {"data": {"a": None, "c": "3"}})
        operations = [{"op": "replace", "path": "/data/c", "value": "4"}]
        core.patch_namespaced_config_map("one", "default", operations)
        assert core.read_namespaced_config_map("one", "default").data == {"b": "2", "c": "4"}
        deleted = core.delete_namespaced_config_map("one", "default")
        assert deleted["status"] == "Success"
        with pytest.raises(ApiException) as gone:
            core.read_namespaced_config_map("one", "default")
        assert gone.value.status == 404

    await session(run)


async def test_lists_are_paged_and_selected(session):
    def run(api):
        core = client.CoreV1Api(api)
        for number in range(5):
            core.create_namespaced_config_map("default", config_map(f"m{number}"))
        names, token = [], None
        while True:
            page = core.list_namespaced_config_map(
                "default", label_selector="made=here", limit=2, _continue=token
            )
            names += [one.metadata.name for one in page.items]
            token = page.metadata._continue
            if not token:
                break
        assert names == [f"m{number}" for number in range(5)]
        only = core.list_namespaced_config_map("default", field_selector="metadata.name=m3")
        assert [one.metadata.name for one in only.items] == ["m3"]

    await session(run)


async def test_a_watch_tells_what_happens(session):
    def run(api):
        core = client.CoreV1Api(api)
        seen, watching = [], watch.Watch()
        core.create_namespaced_config_map("default", config_map("w", a="1"))
        for event in watching.stream(
            core.list_namespaced_config_map,
            "default",
            label_selector="made=here",
            timeout_seconds=20,
        ):
            seen.append((event["type"], event["object"].data))
            if event["type"] == "ADDED":
                core.patch_namespaced_config_map("w", "default", {"data": {"a": "2"}})
            elif event["type"] == "MODIFIED":
                core.delete_namespaced_config_map("w", "default")
            else:
                watching.stop()
        assert seen == [("ADDED", {"a": "1"}), ("MODIFIED", {"a": "2"}), ("DELETED", {"a": "2"})]

    await session(run)


async def test_yaml_workloads_and_their_scale(session, tmp_path):
    manifest = tmp_path / "web.yaml"
    manifest.write_text(
        textwrap.dedent("""
            apiVersion: apps/v1
            kind: Deployment
            metadata: {name: web}
            spec:
              selector: {matchLabels: {app: web}}
              template:
                metadata: {labels: {app: web}}
                spec: {containers: [{name: web, image: httpd}]}
            ---
            apiVersion: v1
            kind: Service
            metadata: {name: web}
            spec: {selector: {app: web}, ports: [{port: 80}]}
        """)
    )

    def run(api):
        utils.create_from_yaml(api, str(manifest))
        apps = client.AppsV1Api(api)
        apps.patch_namespaced_deployment_scale("web", "default", {"spec": {"replicas": 4}})
        assert apps.read_namespaced_deployment_scale("web", "default").spec.replicas == 4
        assert client.CoreV1Api(api).read_namespaced_service("web", "default").spec.cluster_ip
        wrong = {"spec": {"ports": [{"port": 70000}]}}
        with pytest.raises(ApiException) as refused:
            client.CoreV1Api(api).patch_namespaced_service("web", "default", wrong)
        assert refused.value.status == 422
        assert "must be between 1 and 65535, inclusive" in refused.value.body

    await session(run)


async def test_custom_objects(session, definition):
    def run(api):
        custom = client.CustomObjectsApi(api)
        place = (GROUP, VERSION, "default", PLURAL)
        made = custom.create_namespaced_custom_object(*place, beacon("north"))
        assert made["spec"] == {"color": "red", "blinks": 3}
        custom.patch_namespaced_custom_object(*place, "north", {"spec": {"color": "green"}})
        custom.patch_namespaced_custom_object_status(*place, "north", {"status": {"lit": True}})
        read = custom.get_namespaced_custom_object(*place, "north")
        assert (read["spec"]["color"], read["status"]) == ("green", {"lit": True})
        with pytest.raises(ApiException) as refused:
            custom.patch_namespaced_custom_object(*place, "north", {"spec": {"color": "blue"}})
        assert 'Unsupported value: \\"blue\\": supported values: \\"red\\", \\"green\\"' in (
            refused.value.body
        )
        custom.delete_collection_namespaced_custom_object(*place)
        assert custom.list_namespaced_custom_object(*place)["items"] == []

    await session(run)


async def test_the_dynamic_client_discovers_applies_and_watches(session, definition, tmp_path):
    def run(api):
        found = dynamic.DynamicClient(api, cache_file=str(tmp_path / "discovery"))
        beacons = found.resources.get(api_version=f"{GROUP}/{VERSION}", kind="Beacon")
        applied = beacons.server_side_apply(
            body=beacon("south"), name="south", namespace="default", field_manager="me"
        )
        assert applied.metadata.managedFields[0].manager == "me"
        other = beacon("south", "green")
        with pytest.raises(ApiException) as refused:
            beacons.server_side_apply(
                body=other, name="south", namespace="default", field_manager="you"
            )
        assert refused.value.status == 409
        beacons.server_side_apply(
            body=other, namespace="default", name="south", field_manager="you", force_conflicts=True
        )
        events = beacons.watch(namespace="default", timeout=5)
        assert next(events)["object"].spec.color == "green"
        events.close()
        pods = found.resources.get(api_version="v1", kind="Pod")
        assert {"log", "exec", "eviction"} <= set(pods.subresources)

    await session(run)


async def test_the_apis_behind_access(session):
    def run(api):
        review = client.AuthorizationV1Api(api).create_self_subject_access_review(
            {"spec": {"resourceAttributes": {"verb": "create", "resource": "pods"}}}
        )
        assert review.status.allowed is True
        assert client.VersionApi(api).get_code().git_version.startswith("v1.")
        assert "pods" in {one.name for one in client.CoreV1Api(api).get_api_resources().resources}
        lease = client.V1Lease(
            metadata=client.V1ObjectMeta(name="leader"),
            spec=client.V1LeaseSpec(holder_identity="me", lease_duration_seconds=15),
        )
        made = client.CoordinationV1Api(api).create_namespaced_lease("default", lease)
        assert made.spec.holder_identity == "me"

    await session(run)
