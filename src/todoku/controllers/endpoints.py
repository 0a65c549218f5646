"""Endpoints of Services with a selector: the older form of the same facts (core/v1, deprecated)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

from todoku.api import errors, times
from todoku.api.meta import Key, Object, key_of
from todoku.client import WatchEvent
from todoku.controllers import endpoints_of, pods
from todoku.controllers.controller import deleting
from todoku.controllers.endpointslice import ServiceFollower

MAX_ADDRESSES = 1000
CAPACITY = "endpoints.kubernetes.io/over-capacity"
MANAGED_BY = "endpoints.kubernetes.io/managed-by"
CONTROLLER = "endpoint-controller"


def subsets(service: Object, members: Sequence[Object]) -> tuple[list[Object], bool]:
    """The subsets, repacked by equal port sets, and whether they were cut to the maximum."""
    family = endpoints_of.address_types(service)[0]
    always = bool(service["spec"].get("publishNotReadyAddresses"))
    by_address: dict[str, tuple[Object, bool, list[Object]]] = {}
    for pod in members:
        ip = endpoints_of.address(pod, family)
        if not ip or (deleting(pod) and not always):
            continue
        ready = always or pods.is_ready(pod)
        by_address[f"{ip} {pod['metadata']['uid']}"] = (
            _address(service, pod, ip), ready, endpoints_of.ports(service, pod),
        )  # fmt: skip
    cut = len(by_address) > MAX_ADDRESSES
    kept = sorted(by_address.values(), key=lambda one: (not one[1], _sortable(one[0])))[
        :MAX_ADDRESSES
    ]
    groups: dict[str, Object] = {}
    for made, ready, ports in kept:
        if not ports and not endpoints_of.is_headless(service):
            continue
        plain = sorted(
            (_plain_port(port) for port in ports), key=lambda p: (p.get("name", ""), p["port"])
        )
        group = groups.setdefault(
            json.dumps(plain), {"addresses": [], "notReadyAddresses": [], "ports": plain}
        )
        group["addresses" if ready else "notReadyAddresses"].append(made)
    found = [
        {
            name: sorted(value, key=_sortable) if name != "ports" else value
            for name, value in g.items()
            if value
        }
        for g in groups.values()
    ]
    return sorted(found, key=lambda one: json.dumps(one, sort_keys=True)), cut


def _address(service: Object, pod: Object, ip: str) -> Object:
    found: Object = {"ip": ip, "targetRef": endpoints_of.target_reference(pod)}
    if pod["spec"].get("nodeName"):
        found["nodeName"] = pod["spec"]["nodeName"]
    if pod["spec"].get("hostname") and pod["spec"].get("subdomain") == service["metadata"]["name"]:
        found["hostname"] = pod["spec"]["hostname"]
    return found


def _plain_port(port: Object) -> Object:
    return {name: value for name, value in port.items() if value not in (None, "")}


def _sortable(one: Object) -> tuple[int, str]:
    return endpoints_of.number(one["ip"]), (one.get("targetRef") or {}).get("uid", "")


class EndpointsController(ServiceFollower):
    name: ClassVar[str] = "endpoint"

    def setup(self) -> None:
        super().setup()
        self.endpoints = self.watch("endpoints", self._endpoints_changed)
        self._bereaved: set[Key] = set()  # Services that were seen to go

    def enqueue(self, event: WatchEvent) -> None:
        if event.type == "DELETED":
            self._bereaved.add(key_of(event.object))
        super().enqueue(event)

    def _endpoints_changed(self, event: WatchEvent) -> None:
        self.soon(key_of(event.object))

    async def reconcile(self, key: Key) -> None:
        service, current = self.cache.get(key), self.endpoints.get(key)
        if service is None:
            self._note_size(key, 0)
            return await self._remove(key, current)
        if not endpoints_of.has_endpoints(service) or deleting(service):
            return None
        members = self.members(service)
        wanted = endpoints(service, members, current)
        if current is None:
            return await self._create(wanted)
        if _same(current, wanted):
            return None
        written = await self.client.update("endpoints", wanted)
        return await self.endpoints.reached(written["metadata"]["resourceVersion"])

    async def _create(self, wanted: Object) -> None:
        try:
            made = await self.client.create("endpoints", wanted)
        except errors.Forbidden as error:
            if "being terminated" in str(error):
                return
            raise
        await self.endpoints.reached(made["metadata"]["resourceVersion"])

    async def _remove(self, key: Key, current: Object | None) -> None:
        """Endpoints go with their Service, unless somebody else uses them (leader election).

        Those that never had a Service are somebody's own.
        """
        seen_to_go = key in self._bereaved
        self._bereaved.discard(key)
        if current is None or "control-plane.alpha.kubernetes.io/leader" in (
            current["metadata"].get("annotations") or {}
        ):
            return
        labels = current["metadata"].get("labels") or {}
        if not seen_to_go and labels.get(MANAGED_BY) != CONTROLLER:
            return
        try:
            await self.client.delete(
                "endpoints", key.name, key.namespace, uid=current["metadata"]["uid"]
            )
        except (errors.NotFound, errors.Conflict):
            return


def endpoints(service: Object, members: Sequence[Object], current: Object | None) -> Object:
    """The Endpoints object that the Service should have."""
    found, cut = subsets(service, members)
    own = dict(service["metadata"].get("labels") or {})
    own.pop(endpoints_of.HEADLESS, None)
    own[MANAGED_BY] = CONTROLLER
    if endpoints_of.is_headless(service):
        own[endpoints_of.HEADLESS] = ""
    meta: Object = dict(current["metadata"]) if current else {
        "name": service["metadata"]["name"],
        "namespace": service["metadata"]["namespace"],
    }  # fmt: skip
    notes = dict(meta.get("annotations") or {})
    known = notes.get(endpoints_of.TRIGGER_TIME)
    stamp = endpoints_of.trigger_time(service, members, since=times.parse(known) if known else 0.0)
    if stamp:
        notes[endpoints_of.TRIGGER_TIME] = stamp
    notes.pop(CAPACITY, None)
    if cut:
        notes[CAPACITY] = "truncated"
    meta |= {"labels": own, "annotations": notes}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": meta, "subsets": found}


def _same(current: Object, wanted: Object) -> bool:
    old, new = current["metadata"], wanted["metadata"]
    capacity = (old.get("annotations") or {}).get(CAPACITY) == new["annotations"].get(CAPACITY)
    equal = (current.get("subsets") or []) == wanted["subsets"]
    return bool(equal and capacity and (old.get("labels") or {}) == new["labels"])
