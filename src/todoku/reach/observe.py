"""Reads the `World` from the API: one list per kind, in parallel, of what the prediction looks at."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from todoku.api.errors import Forbidden, NotFound
from todoku.api.meta import Object
from todoku.client import Client
from todoku.reach.world import GatewayPolicy, Machine, World

_SPEAKER_LABELS = {"app": "metallb", "component": "speaker"}


class Topology(Protocol):
    """What the lab knows and the API does not."""

    @property
    def machines(self) -> Sequence[Machine]: ...

    @property
    def gateway(self) -> GatewayPolicy: ...

    @property
    def pod_cidr(self) -> str: ...

    @property
    def service_cidrs(self) -> Sequence[str]: ...


async def observe(client: Client, topology: Topology) -> World:
    """One snapshot; kinds that the cluster does not serve, or that we may not read, count as none."""
    names = (
        "nodes", "pods", "services", "endpointslices.discovery.k8s.io", "namespaces",
        "ipaddresspools.metallb.io", "l2advertisements.metallb.io",
    )  # fmt: skip
    nodes, pods, services, slices, namespaces, pools, advertisements = await asyncio.gather(
        *(_listed(client, name) for name in names)
    )
    return World(
        machines=topology.machines,
        gateway=topology.gateway,
        pod_cidr=topology.pod_cidr,
        service_cidrs=topology.service_cidrs,
        nodes=nodes,
        pods=pods,
        services=services,
        slices=slices,
        namespaces=namespaces,
        pools=pools,
        l2_advertisements=advertisements,
        speakers=frozenset(pod["spec"]["nodeName"] for pod in pods if _is_speaker(pod)),
    )


async def _listed(client: Client, resource: str) -> list[Object]:
    try:
        found = await client.list(resource)
    except (NotFound, Forbidden):
        return []
    return list(found.items)


def _is_speaker(pod: Object) -> bool:
    labels = pod["metadata"].get("labels", {})
    running = (pod.get("status") or {}).get("phase") == "Running"
    return running and _SPEAKER_LABELS.items() <= labels.items() and "nodeName" in pod["spec"]
