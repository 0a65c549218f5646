"""ServiceCIDRs stay while addresses of theirs are in use (networking.k8s.io)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import ClassVar

from todoku.api import times
from todoku.api.meta import Key, Object, copy, key_of
from todoku.client import WatchEvent
from todoku.controllers import conditions
from todoku.controllers.controller import Controller, deleting

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
GRACE_SECONDS = 10.0


def orphans(cidr: Object, others: Sequence[Object], addresses: Sequence[str]) -> list[str]:
    """Addresses that only this ServiceCIDR covers."""
    own = _networks(cidr)
    rest = [network for one in others if not deleting(one) for network in _networks(one)]
    found = []
    for text in addresses:
        address = ipaddress.ip_address(text)
        inside = any(address in network for network in own)
        if inside and not any(address in network for network in rest):
            found.append(text)
    return found


def _networks(cidr: Object) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(text) for text in cidr["spec"].get("cidrs") or ()]


class ServiceCidrController(Controller):
    name: ClassVar[str] = "service-cidr"
    reconciles: ClassVar[str] = "servicecidrs.networking.k8s.io"

    def setup(self) -> None:
        self.addresses = self.watch("ipaddresses.networking.k8s.io", self._address_changed)

    def _address_changed(self, event: WatchEvent) -> None:
        if event.type == "DELETED":
            for cidr in self.cache.list():
                if deleting(cidr):
                    self.queue.add(key_of(cidr))

    async def reconcile(self, key: Key) -> None:
        cidr = self.cache.get(key)
        if cidr is None:
            return
        held: list[str] = cidr["metadata"].get("finalizers") or []
        if not deleting(cidr):
            if FINALIZER not in held:
                cidr = await self._finalizers(cidr, [*held, FINALIZER])
            await self._condition(cidr, "True", "", "Kubernetes Service CIDR is ready")
            return
        if FINALIZER not in held:
            return
        others = [one for one in self.cache.list() if key_of(one) != key]
        names = [one["metadata"]["name"] for one in self.addresses.list()]
        if orphans(cidr, others, names):
            text = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"
            await self._condition(cidr, "False", "Terminating", text)
            return
        left = times.parse(cidr["metadata"]["deletionTimestamp"]) + GRACE_SECONDS - self.clock.now()
        if left > 0:  # allocators must have heard of it before it goes
            self.queue.add_after(key, left)
            return
        await self._finalizers(cidr, [one for one in held if one != FINALIZER])

    async def _finalizers(self, cidr: Object, wanted: list[str]) -> Object:
        changed: Object = copy(cidr)
        changed["metadata"]["finalizers"] = wanted
        return await self.client.update(self.reconciles, changed)

    async def _condition(self, cidr: Object, status: str, reason: str, message: str) -> None:
        kept = (cidr.get("status") or {}).get("conditions")
        new = {"type": "Ready", "status": status, "reason": reason, "message": message}
        wanted = conditions.with_condition(kept, new, times.text(self.clock.now()))
        if wanted != (kept or []):
            body = cidr | {"status": (cidr.get("status") or {}) | {"conditions": wanted}}
            await self.client.update(self.reconciles, body, subresource="status")
