"""Each node gets a piece of the pod network (spec.podCIDR)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import ClassVar, TypeAlias

from todoku.api.meta import Key, Object
from todoku.controllers.controller import Controller, deleting

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Exhausted(Exception):
    """No piece of the cluster's range is left."""


def next_free(cluster: Network, mask: int, used: Iterable[Network]) -> Network:
    """The first subnet of `cluster` that overlaps no used one.  Raises Exhausted."""
    taken = sorted(
        (n for n in used if n.version == cluster.version), key=lambda n: int(n.network_address)
    )
    size = 1 << (cluster.max_prefixlen - mask)
    candidate = int(cluster.network_address)
    for network in taken:
        if int(network.broadcast_address) < candidate:
            continue
        if int(network.network_address) >= candidate + size:
            break
        step = int(network.broadcast_address) + 1 - int(cluster.network_address)
        candidate = int(cluster.network_address) + -(-step // size) * size
    if candidate > int(cluster.broadcast_address):
        raise Exhausted(f"no /{mask} is left in {cluster}")
    return ipaddress.ip_network((candidate, mask))


def pod_cidrs(node: Object) -> list[str]:
    spec = node.get("spec") or {}
    return list(spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else []))


def plan(
    node: Object, others: Sequence[Object], clusters: Sequence[Network], masks: Sequence[int]
) -> list[str]:
    """The node's networks, one per cluster range."""
    used = [ipaddress.ip_network(text) for one in others for text in pod_cidrs(one)]
    by_version = {4: masks[0], 6: masks[-1]}
    return [str(next_free(cluster, by_version[cluster.version], used)) for cluster in clusters]


class NodeIpamController(Controller):
    name: ClassVar[str] = "node-ipam"
    component: ClassVar[str] = "cidrAllocator"
    reconciles: ClassVar[str] = "nodes"
    workers: ClassVar[int] = 1  # two at a time could give the same piece twice

    async def reconcile(self, key: Key) -> None:
        node = self.cache.get(key)
        if node is None or deleting(node) or pod_cidrs(node):
            return
        clusters = [ipaddress.ip_network(text) for text in self.config.cluster_cidrs]
        try:
            chosen = plan(node, self.cache.list(), clusters, self.config.node_mask_sizes)
        except Exhausted as error:
            text = f"Node {key.name} status is now: CIDRNotAvailable"
            self.recorder.event(node, "Normal", "CIDRNotAvailable", text)
            raise error
        body = {
            "metadata": {"uid": node["metadata"]["uid"]},
            "spec": {"podCIDR": chosen[0], "podCIDRs": chosen},
        }
        written = await self.client.patch("nodes", key.name, "", body)
        await self.cache.reached(written["metadata"]["resourceVersion"])
