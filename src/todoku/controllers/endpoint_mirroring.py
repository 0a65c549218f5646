"""EndpointSlices for Endpoints that somebody keeps by hand, for Services without a selector."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

from todoku.api import errors
from todoku.api.meta import Key, Object, key_of
from todoku.client import WatchEvent
from todoku.controllers import endpoints_of, slices
from todoku.controllers.controller import Controller, deleting

CONTROLLER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
MAX_ADDRESSES = 1000
_NOT_COPIED = (endpoints_of.TRIGGER_TIME, "kubectl.kubernetes.io/last-applied-configuration")


def wanted_slices(service: Object, endpoints: Object) -> list[Object]:
    """One slice per subset and address family; only `ready` is known of these endpoints."""
    found: list[Object] = []
    for subset in endpoints.get("subsets") or ():
        ports = [{"name": "", "protocol": "TCP"} | port for port in subset.get("ports") or ()]
        for family in ("IPv4", "IPv6"):
            made = [
                _endpoint(address, ready)
                for field, ready in (("addresses", True), ("notReadyAddresses", False))
                for address in subset.get(field) or ()
                if (":" in address["ip"]) == (family == "IPv6")
            ][:MAX_ADDRESSES]
            if made:
                found.append(_slice(service, endpoints, family, ports, made))
    return found


def _endpoint(address: Object, ready: bool) -> Object:
    one: Object = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    for field in ("hostname", "nodeName", "targetRef"):
        if address.get(field):
            one[field] = address[field]
    return one


def _slice(
    service: Object, endpoints: Object, family: str, ports: list[Object], made: list[Object]
) -> Object:
    meta = endpoints["metadata"]
    labels = dict(meta.get("labels") or {})
    labels |= {slices.SERVICE_NAME: meta["name"], slices.MANAGED_BY: CONTROLLER}
    if endpoints_of.is_headless(service):
        labels[endpoints_of.HEADLESS] = ""
    notes = {k: v for k, v in (meta.get("annotations") or {}).items() if k not in _NOT_COPIED}
    owner = {
        "apiVersion": "v1", "kind": "Endpoints", "name": meta["name"], "uid": meta["uid"],
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip
    metadata: Object = {
        "generateName": f"{meta['name']}-", "namespace": meta["namespace"], "labels": labels,
        "ownerReferences": [owner],
    }  # fmt: skip
    if notes:
        metadata["annotations"] = notes
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
        "addressType": family, "endpoints": made, "ports": ports,
    }  # fmt: skip


def mirrored(endpoints: Object | None, service: Object | None) -> bool:
    if (
        endpoints is None
        or service is None
        or deleting(endpoints)
        or service["spec"].get("selector")
    ):
        return False
    meta = endpoints["metadata"]
    skipped = (meta.get("labels") or {}).get(SKIP) == "true"
    return not skipped and LEADER not in (meta.get("annotations") or {})


class EndpointMirroringController(Controller):
    name: ClassVar[str] = "endpointslice-mirroring"
    reconciles: ClassVar[str] = "endpoints"

    def setup(self) -> None:
        self.services = self.watch("services", self.enqueue)
        self.slices = self.watch("endpointslices.discovery.k8s.io", self._slice_changed)
        self.slices.add_index("mirrored", _endpoints_of)

    def _slice_changed(self, event: WatchEvent) -> None:
        for value in _endpoints_of(event.object):
            namespace, _, name = value.partition("/")
            self.queue.add(Key(namespace, name))

    async def reconcile(self, key: Key) -> None:
        endpoints, service = self.cache.get(key), self.services.get(key)
        existing = list(self.slices.by_index("mirrored", str(key)))
        wanted = (
            wanted_slices(service, endpoints)
            if service is not None and endpoints is not None and mirrored(endpoints, service)
            else []
        )
        newest = 0
        for one in wanted:
            match = next((e for e in existing if _alike(e, one)), None)
            if match is None:
                made = await self.client.create("endpointslices.discovery.k8s.io", one)
                newest = max(newest, int(made["metadata"]["resourceVersion"]))
                continue
            existing.remove(match)
            if _same(match, one):
                continue
            changed = one | {"metadata": match["metadata"] | {"labels": one["metadata"]["labels"]}}
            changed["metadata"]["annotations"] = one["metadata"].get("annotations") or {}
            written = await self.client.update("endpointslices.discovery.k8s.io", changed)
            newest = max(newest, int(written["metadata"]["resourceVersion"]))
        await self._delete(existing)
        if newest:
            await self.slices.reached(str(newest))

    async def _delete(self, surplus: Sequence[Object]) -> None:
        for one in surplus:
            meta = one["metadata"]
            try:
                await self.client.delete(
                    "endpointslices.discovery.k8s.io",
                    meta["name"],
                    meta["namespace"],
                    uid=meta["uid"],
                )
            except (errors.NotFound, errors.Conflict):
                continue
        gone = [key_of(one) for one in surplus]
        await self.slices.until(lambda: all(self.slices.get(key) is None for key in gone))


def _endpoints_of(one: Object) -> list[str]:
    labels = one["metadata"].get("labels") or {}
    if labels.get(slices.MANAGED_BY) != CONTROLLER or slices.SERVICE_NAME not in labels:
        return []
    return [f"{one['metadata']['namespace']}/{labels[slices.SERVICE_NAME]}"]


def _alike(existing: Object, wanted: Object) -> bool:
    """Same family and ports: the one can become the other."""
    return existing["addressType"] == wanted["addressType"] and _ports(existing) == _ports(wanted)


def _ports(one: Object) -> str:
    plain = [
        {k: v for k, v in port.items() if v not in (None, "")} for port in one.get("ports") or ()
    ]
    return json.dumps(plain, sort_keys=True)


def _same(existing: Object, wanted: Object) -> bool:
    old, new = existing["metadata"], wanted["metadata"]
    labels = (old.get("labels") or {}) == new["labels"]
    notes = (old.get("annotations") or {}) == (new.get("annotations") or {})
    return bool(labels and notes and (existing.get("endpoints") or []) == wanted["endpoints"])
