"""ResourceQuotas are recounted when what they count goes away (the API server charges what comes)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from todoku.api import quota as accounts
from todoku.api.meta import Key, Object, key_of
from todoku.api.quantities import ZERO, Quantity, parse
from todoku.client import Informer, WatchEvent
from todoku.controllers.controller import Controller, deleting

RECOUNT_SECONDS = 300.0
ARRIVAL_SECONDS = 0.01  # in which a change that the server has sent is in the cache
_WHOLE = ("pods", "services", "persistentvolumeclaims")
_PLAIN = ("configmaps", "secrets", "replicationcontrollers", "resourcequotas")


def counted_resources(hard: Mapping[str, object]) -> list[str]:
    """The resources (dotted names) that limits with these names speak about."""
    found = dict.fromkeys(_WHOLE)
    for name in hard:
        if name.startswith("count/"):
            found[name.removeprefix("count/")] = None
        elif name in _PLAIN:
            found[name] = None
    return [name for name in found if name not in accounts.UNCOUNTED]


def recount(quota: Object, objects: Mapping[str, Sequence[Object]]) -> Object:
    """The status: `hard` as asked, `used` as counted over the objects by resource."""
    hard: dict[str, object] = quota["spec"].get("hard") or {}
    used: dict[str, Quantity] = dict.fromkeys(hard, ZERO)
    for resource, listed in objects.items():
        for obj in listed:
            if not accounts.matches(quota, resource, obj):
                continue
            for name, amount in accounts.covered(hard, accounts.usage(resource, obj)).items():
                used[name] = used[name] + amount
    return {"hard": hard, "used": {name: str(amount) for name, amount in used.items()}}


def _equal(one: Object, other: Object) -> bool:
    """The same amounts, however they are written."""
    if one.get("hard") != other.get("hard"):
        return False
    left, right = one.get("used") or {}, other.get("used") or {}
    return left.keys() == right.keys() and all(parse(left[n]) == parse(right[n]) for n in left)


def _gives_back(before: Object, after: Object) -> bool:
    used = before.get("used") or {}
    return any(
        name in used and parse(amount) < parse(used[name]) for name, amount in after["used"].items()
    )


class ResourceQuotaController(Controller):
    name: ClassVar[str] = "resourcequota"
    reconciles: ClassVar[str] = "resourcequotas"

    def setup(self) -> None:
        self._followed: dict[str, Informer] = {}
        for resource in _WHOLE:
            self._followed[resource] = self.watch(resource, partial(self._changed, resource))

    def enqueue(self, event: WatchEvent) -> None:
        """Charges, and what others write into the status, are no reason to count again."""
        old = event.old
        if event.type == "MODIFIED" and old is not None and old["spec"] == event.object["spec"]:
            return
        super().enqueue(event)

    def tasks(self) -> Sequence[Coroutine[Any, Any, None]]:
        return (self._recount_all(),)

    async def _recount_all(self) -> None:
        while True:
            await asyncio.sleep(RECOUNT_SECONDS)
            for quota in self.cache.list():
                self.queue.add(key_of(quota))

    def _changed(self, resource: str, event: WatchEvent) -> None:
        """What is added was charged at admission; only less, and changes of a charge, are news."""
        same = event.old is not None and accounts.usage(resource, event.old) == accounts.usage(
            resource, event.object
        )
        if event.type == "ADDED" or (event.type == "MODIFIED" and same):
            return
        for quota in self.cache.list(event.object["metadata"].get("namespace", "")):
            self.queue.add(key_of(quota))

    async def reconcile(self, key: Key) -> None:
        quota = self.cache.get(key)
        if quota is None or deleting(quota):
            return
        counted = await self._count(quota, key.namespace)
        if _equal(quota.get("status") or {}, counted["status"]):
            return
        if _gives_back(quota.get("status") or {}, counted["status"]):
            # Refused while the server holds a charge whose object is not there yet.  Accepted, all that this
            # version of the quota was charged for is there, and was told to us before the answer.
            await self.client.update(self.reconciles, counted, subresource="status", dry_run=True)
            await self.clock.sleep(ARRIVAL_SECONDS)
            counted = await self._count(quota, key.namespace)
        written = await self.client.update(self.reconciles, counted, subresource="status")
        await self.cache.reached(written["metadata"]["resourceVersion"])

    async def _count(self, quota: Object, namespace: str) -> Object:
        objects: dict[str, Sequence[Object]] = {}
        for resource in counted_resources(quota["spec"].get("hard") or {}):
            informer = self._follow(resource)
            await informer.synced()
            objects[resource] = informer.list(namespace)
        return quota | {"status": recount(quota, objects)}

    def _follow(self, resource: str) -> Informer:
        """An informer of the resource: counting needs metadata only, and the garbage collector has it."""
        informer = self._followed.get(resource)
        if informer is None:
            informers = self.context.informers
            informer = informers.existing(resource) or informers.informer(
                resource, metadata_only=True
            )
            self._followed[resource] = informer
            informer.subscribe(partial(self._changed, resource))
        return informer
