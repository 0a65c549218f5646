"""Applies the lab's own add-on (DNS) and waits until the API, the nodes and DNS are Ready.

Speaks to the supervisor through descriptor 3, in lines: `lap NAME` when a phase is over, `done` at the end, and
`late WHAT` when the time is over, anything else to show to the user.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

from todoku.api import errors, times
from todoku.api.meta import Key, Object
from todoku.client import Client, ClientConfig, Informer, Unreachable
from todoku.lab.children.running import run

_OUTPUT = 3
_RETRY_SECONDS = 0.02
_DNS = Key("kube-system", "coredns")


def main(config: dict[str, Any]) -> None:
    run(_wait(config))


async def _wait(config: dict[str, Any]) -> None:
    async with Client(ClientConfig.from_kubeconfig(config["kubeconfig"])) as client:
        try:
            async with asyncio.timeout(config["timeout_seconds"]):
                await _phases(client, config)
        except TimeoutError:
            _say(f"late {await _late(client, config['nodes'])}")
            return
    _say("done")


async def _phases(client: Client, config: dict[str, Any]) -> None:
    await _api(client)
    _say("lap API server")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_apply_dns(client, config), name="apply-dns")
        tasks.create_task(_apply_labels(client, config), name="apply-labels")
        await _nodes(client, config)
        _say("lap nodes")
    await _dns(client, config["since"])
    _say("lap DNS")


async def _late(client: Client, names: Sequence[str]) -> str:
    """What is not Ready."""
    try:
        found = {node["metadata"]["name"]: node for node in (await client.list("nodes")).items}
    except (Unreachable, errors.ApiError) as error:
        return f"the API server ({error})"
    late = [name for name in names if not _is_ready(found.get(name))]
    return f"node {', '.join(late)}" if late else "DNS (deployment coredns in kube-system)"


def _say(line: str) -> None:
    os.write(_OUTPUT, line.encode() + b"\n")


async def _api(client: Client) -> None:
    """Wait until the API server says that it is ready."""
    while True:
        try:
            async with client.raw("GET", "/readyz") as response:
                await response.read()
                return
        except (Unreachable, errors.ApiError):
            await asyncio.sleep(_RETRY_SECONDS)


async def _apply_dns(client: Client, config: dict[str, Any]) -> None:
    from todoku.dns import manifest

    for obj in manifest(address=config["dns_address"], domain=config["domain"]):
        await _apply(client, obj)


async def _apply_labels(client: Client, config: dict[str, Any]) -> None:
    """Give the nodes their roles as soon as they have registered, as kubeadm does."""
    waiting = {name: labels for name in config["nodes"] if (labels := config["labels"].get(name))}

    async def patch(name: str, labels: dict[str, str]) -> None:
        await client.patch("nodes", name, "", {"metadata": {"labels": labels}}, kind="merge")

    async with asyncio.TaskGroup() as tasks:

        def check(informer: Informer) -> bool:
            for name in list(waiting):
                if informer.get(Key("", name)) is not None:
                    tasks.create_task(patch(name, waiting.pop(name)), name=f"label-{name}")
            return not waiting

        await _until(client, "nodes", "", check)


async def _apply(client: Client, obj: Object) -> None:
    """Create the object; one that is there keeps what others have set.

    It is read first: creating a Service whose address is taken, by itself, is Invalid before it is AlreadyExists.
    """
    resource, meta = _resource(obj), obj["metadata"]
    name, namespace = meta["name"], meta.get("namespace", "")
    try:
        await client.get(resource, name, namespace)
    except errors.NotFound:
        await client.create(resource, obj)
    else:
        await client.patch(resource, name, namespace, obj, kind="merge")


def _resource(obj: Object) -> str:
    plural = obj["kind"].lower() + "s"
    group = obj["apiVersion"].rpartition("/")[0]
    return f"{plural}.{group}" if group else plural


async def _nodes(client: Client, config: dict[str, Any]) -> None:
    """Wait until every node is Ready and its agent has renewed its lease since the lab booted.

    After a restart of the lab the store still says what was true before.
    """
    waiting = set(config["nodes"])
    leases = Informer(client, "leases.coordination.k8s.io", namespace="kube-node-lease")
    _say(f"waiting for {len(waiting)} nodes")

    def check(informer: Informer) -> bool:
        for name in list(waiting):
            lease = leases.get(Key("kube-node-lease", name))
            if _is_ready(informer.get(Key("", name))) and _renewed(lease) >= config["since"]:
                waiting.discard(name)
                _say(f"node {name} is Ready")
        return not waiting

    await _until(client, "nodes", "", check, beside=leases)


def _renewed(lease: Object | None) -> float:
    text = ((lease or {}).get("spec") or {}).get("renewTime")
    return times.parse(text) if text else 0.0


async def _dns(client: Client, since: float) -> None:
    """Wait until enough pods of the name server that have started since the lab booted are Ready."""
    deployments = Informer(client, "deployments.apps", namespace=_DNS.namespace)
    _say("waiting for DNS")

    def check(pods: Informer) -> bool:
        deployment = deployments.get(_DNS)
        if deployment is None:
            return False
        wanted = deployment["spec"]["selector"]["matchLabels"].items()
        ours = [pod for pod in pods.list() if wanted <= pod["metadata"]["labels"].items()]
        fresh = [pod for pod in ours if _is_ready(pod) and _started(pod) >= int(since)]
        return len(fresh) >= int(deployment["spec"]["replicas"])

    await _until(client, "pods", _DNS.namespace, check, beside=deployments)


def _started(pod: Object) -> float:
    """When the pod's last container started, in whole seconds; 0 if one does not run."""
    found = [
        ((one.get("state") or {}).get("running") or {}).get("startedAt")
        for one in pod["status"].get("containerStatuses") or []
    ]
    return max((times.parse(text) for text in found if text), default=0.0)


async def _until(
    client: Client,
    resource: str,
    namespace: str,
    check: Callable[[Informer], bool],
    *,
    beside: Informer | None = None,
) -> None:
    """Follow a collection, and another one `beside` it, until `check` holds."""
    informer = Informer(client, resource, namespace=namespace or None)
    changed = asyncio.Event()
    followed = [informer, *([beside] if beside else [])]
    for one in followed:
        one.subscribe(lambda _: changed.set())
    following = asyncio.gather(*(one.run() for one in followed))
    try:
        for one in followed:
            await one.synced()
        while not check(informer):
            changed.clear()
            await changed.wait()
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


def _is_ready(node: Object | None) -> bool:
    conditions = (node or {}).get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
