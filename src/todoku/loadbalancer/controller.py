"""The controller process: memberlist Secret, allocation, trusted webhooks, metrics; in that order.

Ports open only when the webhooks are trusted: until then the probes fail and the API server finds nobody, as
with MetalLB v0.14.9.
"""

import asyncio
import base64
import os
import secrets
import ssl

from todoku.aio import log as logs
from todoku.api import errors
from todoku.api.meta import Key, Object
from todoku.client import Client, EventRecorder, InformerFactory
from todoku.loadbalancer import webhooks
from todoku.loadbalancer.balancer import Balancer
from todoku.loadbalancer.http import serving
from todoku.loadbalancer.metrics import Registry, metrics_handler
from todoku.loadbalancer.options import Options
from todoku.loadbalancer.trust import Trust

log = logs.get(__name__)

SYNC_SECONDS = 120.0


async def run(options: Options) -> None:
    """Work until cancelled.  Raises what makes a start impossible; kubelet restarts the container."""
    async with Client(options.client) as client:
        await ensure_memberlist_secret(client, options.namespace)
        await _work(client, options)


async def _work(client: Client, options: Options) -> None:
    informers = InformerFactory(client)
    recorder = EventRecorder(client, component="metallb-controller")
    registry = Registry()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = (
        ssl.TLSVersion.TLSv1_3 if options.tls13_only else ssl.TLSVersion.TLSv1_2
    )
    balancer = Balancer(
        client, informers, recorder,
        namespace=options.namespace, lb_class=options.lb_class, registry=registry,
    )  # fmt: skip
    trust = Trust(
        client, informers,
        secret=Key(options.namespace, options.webhook_secret), service=options.cert_service,
        folder=options.certificates, context=context,
    )  # fmt: skip
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(informers.run(), name="informers")
        async with asyncio.timeout(SYNC_SECONDS):
            await informers.synced()
        tasks.create_task(recorder.run(), name="events")
        tasks.create_task(balancer.run(), name="balancer")
        tasks.create_task(trust.run(), name="trust")
        await trust.ready.wait()
        await _serve(client, options, registry, context)


async def _serve(
    client: Client, options: Options, registry: Registry, context: ssl.SSLContext
) -> None:
    async def listed(resource: str) -> list[Object]:
        namespace = None if resource == "nodes" else options.namespace
        return (await client.list(resource, namespace)).items

    answer = webhooks.handler(listed, options.namespace)
    async with (
        serving(answer, None, options.webhook_port, tls=context) as webhook_port,
        serving(metrics_handler(registry), options.host, options.port) as metrics_port,
    ):
        log.info("Serving", webhooks=webhook_port, metrics=metrics_port)
        await asyncio.Event().wait()


async def ensure_memberlist_secret(client: Client, namespace: str) -> None:
    """Create the speakers' shared key unless it is there, owned by our Deployment."""
    name = os.environ.get("METALLB_ML_SECRET_NAME", "")
    deployment = os.environ.get("METALLB_DEPLOYMENT", "")
    if not name or not deployment:
        log.warning("No memberlist Secret wanted", METALLB_ML_SECRET_NAME=name)
        return
    present = await client.list("secrets", namespace, fields=f"metadata.name={name}")
    if present.items:
        return
    owner = await client.get("deployments.apps", deployment, namespace)
    key = base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=")
    try:
        await client.create("secrets", memberlist_secret(namespace, name, key, owner))
    except errors.AlreadyExists:
        return  # another controller of a rollout was first
    log.info("Memberlist Secret created", secret=f"{namespace}/{name}")


def memberlist_secret(namespace: str, name: str, key: bytes, deployment: Object) -> Object:
    """The Secret, with the Deployment as its owner."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": deployment["metadata"]["name"],
                    "uid": deployment["metadata"]["uid"],
                }
            ],
        },
        "type": "Opaque",
        "data": {"secretkey": base64.b64encode(key).decode()},
    }
