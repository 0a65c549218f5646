"""A controller beside a real API server in this process, with exactly the rights its manifest gives."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.apiserver import RunningApi, running_api
from todoku.api.meta import Object
from todoku.client import Client, ClientConfig
from todoku.loadbalancer import controller
from todoku.loadbalancer.options import Options

NAMESPACE = "metallb-system"
_PLURALS = {
    "Namespace": "namespaces",
    "ServiceAccount": "serviceaccounts",
    "ConfigMap": "configmaps",
    "Secret": "secrets",
    "Service": "services",
    "Deployment": "deployments.apps",
    "Role": "roles.rbac.authorization.k8s.io",
    "RoleBinding": "rolebindings.rbac.authorization.k8s.io",
    "ClusterRole": "clusterroles.rbac.authorization.k8s.io",
    "ClusterRoleBinding": "clusterrolebindings.rbac.authorization.k8s.io",
    "CustomResourceDefinition": "customresourcedefinitions.apiextensions.k8s.io",
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations.admissionregistration.k8s.io",
}


def manifest() -> list[Object]:
    """The objects of the shipped load-balancer manifest."""
    text = (files("todoku") / "manifests" / "metallb.yaml").read_text()
    return [doc for doc in yaml.safe_load_all(text) if doc]


@dataclass
class Cluster:
    api: RunningApi
    admin: Client
    options: Options
    folder: Path

    def as_service_account(self, name: str) -> ClientConfig:
        user = f"system:serviceaccount:{NAMESPACE}:{name}"
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}")
        path = self.api.kubeconfig_for(user, *groups, "system:authenticated")
        return ClientConfig.from_kubeconfig(path)

    async def pool(self, name: str, *addresses: str, **spec: Any) -> Object:
        return await self.custom(
            "IPAddressPool", "ipaddresspools", name, addresses=addresses, **spec
        )

    async def custom(self, kind: str, plural: str, name: str, **spec: Any) -> Object:
        """Create a custom resource."""
        metadata = {"name": name, "namespace": NAMESPACE}
        body = {
            "apiVersion": "metallb.io/v1beta1",
            "kind": kind,
            "metadata": metadata,
            "spec": spec,
        }
        return await self.admin.create(f"{plural}.metallb.io", body)

    async def service(self, name: str, *, annotations: Any = None, **spec: Any) -> Object:
        ports = [{"name": "http", "port": 8080, "targetPort": 80, "protocol": "TCP"}]
        body = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "default", "annotations": annotations or {}},
            "spec": {"type": "LoadBalancer", "ports": ports, "selector": {"app": name}} | spec,
        }
        return await self.admin.create("services", body)

    async def addresses(self, name: str) -> list[str]:
        service = await self.admin.get("services", name, "default")
        return [one["ip"] for one in service["status"]["loadBalancer"].get("ingress", ())]

    async def reasons(self, name: str) -> list[str]:
        listed = await self.admin.list("events", "default")
        return [one["reason"] for one in listed.items if one["involvedObject"]["name"] == name]

    async def route_webhooks(self, port: int) -> None:
        """Let the API server call the webhooks where the controller of this test serves them."""
        labels = {"kubernetes.io/service-name": "metallb-webhook-service"}
        body = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "webhooks", "namespace": NAMESPACE, "labels": labels},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [_own_address()], "conditions": {"ready": True}}],
            "ports": [{"name": "", "port": port, "protocol": "TCP"}],
        }
        await self.admin.create("endpointslices.discovery.k8s.io", body)

    async def copy_secret(self) -> None:
        """Stands in for the kubelet: shows the Secret in the pod's volume."""
        while True:
            secret = await self.admin.get("secrets", "metallb-webhook-cert", NAMESPACE)
            for name, value in (secret.get("data") or {}).items():
                (self.folder / name).write_bytes(base64.b64decode(value))
            await asyncio.sleep(0.05)

    @asynccontextmanager
    async def controller(self, **changes: Any) -> AsyncIterator[None]:
        task = asyncio.create_task(controller.run(replace(self.options, **changes)))
        try:
            yield
        finally:
            failed = task.done() and not task.cancelled() and task.exception()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert not failed, f"the controller ended: {failed!r}"


@asynccontextmanager
async def running_cluster(
    folder: Path, monkeypatch: Any, *, webhooks: bool = False
) -> AsyncIterator[Cluster]:
    """The manifest applied, an admin, and options for a controller.  Without `webhooks` none is called."""
    monkeypatch.setenv("METALLB_ML_SECRET_NAME", "memberlist")
    monkeypatch.setenv("METALLB_DEPLOYMENT", "controller")
    async with running_api() as api:
        admin = Client(ClientConfig.from_kubeconfig(api.kubeconfig))
        async with admin:
            for obj in manifest():
                if obj["kind"] == "ValidatingWebhookConfiguration" and not webhooks:
                    for one in obj["webhooks"]:
                        one["namespaceSelector"] = {"matchLabels": {"no-namespace": "has-this"}}
                if obj["kind"] in _PLURALS:
                    await admin.create(_PLURALS[obj["kind"]], obj)
            await eventually(lambda: _served(admin))
            cluster = Cluster(api, admin, Options(admin.config, NAMESPACE), folder)
            cluster.options = Options(
                client=cluster.as_service_account("controller"),
                namespace=NAMESPACE, port=0, host="127.0.0.1", webhook_port=0, certificates=folder,
            )  # fmt: skip
            yield cluster


async def eventually(holds: Callable[[], Any], *, seconds: float = 10.0) -> Any:
    """Ask until the (awaited) answer is true; returns it."""
    try:
        async with asyncio.timeout(seconds):
            while not (answer := await holds()):
                await asyncio.sleep(0.02)
            return answer
    except TimeoutError:
        raise AssertionError("it did not happen in time") from None


def _own_address() -> str:
    """An address of this machine that endpoints may have (no loopback); nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback, and endpoints may not name that")
        return str(probe.getsockname()[0])


async def _served(admin: Client) -> bool:
    served = {one.name for one in await admin.discover()}
    return {"ipaddresspools.metallb.io", "servicel2statuses.metallb.io"} <= served
