"""The API server restarts under everybody: caches stay, work goes on; custom resources come and go."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

from tests.support.cluster import Cluster, running_cluster, workload
from todoku.apiserver.server import ApiServer

NAMES = ("deployment", "replicaset", "garbage-collector")


def bound_again(address: tuple[str, int]) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(address)
    return made


async def test_after_a_restart_of_the_api_server_work_goes_on_where_it_was():
    async with running_cluster(nodes=("w1", "w2"), names=NAMES) as cluster:
        await cluster.client.create("deployments.apps", workload("web"))
        await cluster.until(lambda: available(cluster, 3))
        before = {pod["metadata"]["uid"] for pod in cluster.pods()}
        address = cluster.api.config.sockets[0].getsockname()
        await cluster.api.server.stop()
        cluster.api.config.sockets[0].close()
        assert {pod["metadata"]["uid"] for pod in cluster.pods()} == before  # caches stay
        await asyncio.sleep(0.2)
        listening = bound_again(address)
        try:
            async with ApiServer(replace(cluster.api.config, sockets=[listening])):
                await cluster.client.patch(
                    "deployments.apps", "web", "lab", {"spec": {"replicas": 5}}
                )
                await cluster.until(lambda: available(cluster, 5))
                assert before <= {pod["metadata"]["uid"] for pod in cluster.pods()}
                await cluster.client.delete("deployments.apps", "web", "lab")
                await cluster.until(lambda: not cluster.pods())
        finally:
            listening.close()


def available(cluster: Cluster, count: int) -> bool:
    found = cluster.get("deployments.apps", "web") or {}
    return (found.get("status") or {}).get("availableReplicas") == count


async def test_custom_resources_own_and_are_owned():
    async with running_cluster(names=("garbage-collector",), schedule=False) as cluster:
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        version = {
            "name": "v1",
            "served": True,
            "storage": True,
            "schema": {"openAPIV3Schema": schema},
        }
        names = {
            "plural": "widgets",
            "singular": "widget",
            "kind": "Widget",
            "listKind": "WidgetList",
        }
        spec = {
            "group": "example.com",
            "scope": "Namespaced",
            "names": names,
            "versions": [version],
        }
        definition = {"metadata": {"name": "widgets.example.com"}, "spec": spec}
        await cluster.client.create("customresourcedefinitions.apiextensions.k8s.io", definition)

        async def made() -> object:
            try:
                return await cluster.client.create(
                    "widgets.example.com", {"metadata": {"name": "w", "namespace": "lab"}}
                )
            except Exception:  # not served yet
                return None

        widget = await cluster.eventually(made)
        owner = {
            "apiVersion": "example.com/v1",
            "kind": "Widget",
            "name": "w",
            "uid": widget["metadata"]["uid"],
        }
        child = {"metadata": {"name": "child", "namespace": "lab", "ownerReferences": [owner]}}
        await cluster.client.create("configmaps", child)
        await asyncio.sleep(0.5)
        await cluster.client.get("configmaps", "child", "lab")
        await cluster.client.delete("widgets.example.com", "w", "lab")
        await cluster.gone("configmaps", "child")
