"""EndpointSlices of Services with a selector (discovery.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from todoku.aio import Backoff
from todoku.api import errors, times
from todoku.api.meta import Key, Object, key_of
from todoku.api.selectors import from_map
from todoku.client import WatchEvent
from todoku.controllers import endpoints_of, pods, slices
from todoku.controllers.controller import Controller, deleting


class ServiceFollower(Controller):
    """What the controllers of slices and of Endpoints share: pods and Services that concern each other."""

    reconciles: ClassVar[str] = "services"
    backoff: ClassVar[Backoff] = Backoff(initial=0.05, maximum=1000.0)

    def setup(self) -> None:
        self.cache.add_index("namespace", lambda service: [service["metadata"]["namespace"]])
        self._sizes: dict[Key, int] = {}  # members of large Services
        self.pods = self.watch("pods", self._pod_changed)
        pods.index(self.pods)

    def _pod_changed(self, event: WatchEvent) -> None:
        new, old = event.object, event.old
        if event.type == "MODIFIED" and old is not None and relevant(new) == relevant(old):
            return
        now, before = new["metadata"].get("labels"), (old or new)["metadata"].get("labels")
        for service in self.cache.by_index("namespace", new["metadata"]["namespace"]):
            selector = from_map(service["spec"].get("selector"))
            if selector.matches(now) or (before is not now and selector.matches(before)):
                self.soon(key_of(service))

    def soon(self, key: Key) -> None:
        self.queue.add_after(key, batch_seconds(self._sizes.get(key, 0)))

    def members(self, service: Object) -> list[Object]:
        selector = from_map(service["spec"].get("selector"))
        here = self.pods.by_index("namespace", service["metadata"]["namespace"])
        found = [
            pod
            for pod in here
            if selector.matches(pod["metadata"].get("labels")) and endpoints_of.member(pod)
        ]
        self._note_size(key_of(service), len(found))
        return found

    def _note_size(self, key: Key, members: int) -> None:
        if batch_seconds(members):
            self._sizes[key] = members
        else:
            self._sizes.pop(key, None)


def batch_seconds(members: int) -> float:
    """How long changes of one Service's pods are gathered: the larger it is, the more each write costs."""
    return members / 2000 if members > 100 else 0.0


def relevant(pod: Object) -> tuple[object, ...]:
    """All of a pod that its endpoints are made from."""
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    return (
        meta.get("labels"), bool(meta.get("deletionTimestamp")), spec.get("nodeName"),
        spec.get("hostname"), spec.get("subdomain"), status.get("podIPs"), status.get("podIP"),
        pods.is_ready(pod), pods.is_terminal(pod),
    )  # fmt: skip


class EndpointSliceController(ServiceFollower):
    name: ClassVar[str] = "endpointslice"
    component: ClassVar[str] = "endpoint-slice-controller"

    def setup(self) -> None:
        super().setup()
        self.slices = self.watch("endpointslices.discovery.k8s.io", self._slice_changed)
        self.slices.add_index("service", _service_of)
        self.nodes = self.watch("nodes", self._node_changed)

    def _slice_changed(self, event: WatchEvent) -> None:
        """Somebody else's hand in our slices, or our own write coming back (which then changes nothing)."""
        for value in _service_of(event.object):
            namespace, _, name = value.partition("/")
            self.soon(Key(namespace, name))

    def _node_changed(self, event: WatchEvent) -> None:
        old = event.old
        if event.type == "MODIFIED" and old is not None and _zone(old) == _zone(event.object):
            return
        for pod in self.pods.by_index("node", event.object["metadata"]["name"]):
            self._pod_changed(WatchEvent("ADDED", pod))

    async def reconcile(self, key: Key) -> None:
        service = self.cache.get(key)
        existing = self.slices.by_index("service", str(key))
        if service is None or not endpoints_of.has_endpoints(service):
            self._note_size(key, 0)
            for one in existing if service is not None else ():
                await self._delete(one)
            return
        if deleting(service):
            return
        members = self.members(service)
        nodes = {node["metadata"]["name"]: node for node in self.nodes.list()}
        trigger = endpoints_of.trigger_time(service, members, since=_published(existing))
        decided = slices.plan(service, members, existing, nodes, trigger=trigger)
        newest = 0
        for one in decided.create:
            newest = max(newest, await self._create(one))
        for one in decided.update:
            written = await self.client.update("endpointslices.discovery.k8s.io", one)
            newest = max(newest, int(written["metadata"]["resourceVersion"]))
        for one in decided.delete:
            await self._delete(one)
        if newest:
            await self.slices.reached(str(newest))

    async def _create(self, one: Object) -> int:
        try:
            made = await self.client.create("endpointslices.discovery.k8s.io", one)
        except errors.Forbidden as error:
            if "being terminated" in str(error):
                return 0
            raise
        return int(made["metadata"]["resourceVersion"])

    async def _delete(self, one: Object) -> None:
        meta = one["metadata"]
        try:
            await self.client.delete(
                "endpointslices.discovery.k8s.io", meta["name"], meta["namespace"], uid=meta["uid"]
            )
        except (errors.NotFound, errors.Conflict):
            return
        await self.slices.until(lambda: self.slices.get(key_of(one)) is None)


def _service_of(one: Object) -> list[str]:
    meta = one["metadata"]
    found = meta.get("labels") or {}
    if found.get(slices.MANAGED_BY) != slices.CONTROLLER or slices.SERVICE_NAME not in found:
        return []
    return [f"{meta['namespace']}/{found[slices.SERVICE_NAME]}"]


def _zone(node: Object) -> str | None:
    return (node["metadata"].get("labels") or {}).get(endpoints_of.ZONE)


def _published(existing: Sequence[Object]) -> float:
    """The newest change that the slices already tell of."""
    stamps = [
        (one["metadata"].get("annotations") or {}).get(endpoints_of.TRIGGER_TIME)
        for one in existing
    ]
    return max((times.parse(stamp) for stamp in stamps if stamp), default=0.0)
