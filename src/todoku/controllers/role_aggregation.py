"""ClusterRoles that are made of others, by label (rbac.authorization.k8s.io aggregationRule)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from todoku.api.meta import Key, Object, key_of
from todoku.api.selectors import from_selector
from todoku.client import WatchEvent
from todoku.controllers.controller import Controller


def rules(role: Object, roles: Sequence[Object]) -> list[Object]:
    """The rules of all selected roles, selector by selector, then by name, each once."""
    found: list[Object] = []
    for selector in role["aggregationRule"].get("clusterRoleSelectors") or ():
        chosen = from_selector(selector)
        for other in sorted(roles, key=lambda one: one["metadata"]["name"]):
            if other["metadata"]["name"] == role["metadata"]["name"]:
                continue
            if chosen.matches(other["metadata"].get("labels")):
                found += [rule for rule in other.get("rules") or () if rule not in found]
    return found


class RoleAggregationController(Controller):
    name: ClassVar[str] = "clusterrole-aggregation"
    reconciles: ClassVar[str] = "clusterroles.rbac.authorization.k8s.io"

    def enqueue(self, event: WatchEvent) -> None:
        for role in self.cache.list():
            if role.get("aggregationRule"):
                self.queue.add(key_of(role))

    async def reconcile(self, key: Key) -> None:
        role = self.cache.get(key)
        if role is None or not role.get("aggregationRule"):
            return
        wanted = rules(role, self.cache.list())
        if wanted == (role.get("rules") or []):
            return
        written = await self.client.update(self.reconciles, role | {"rules": wanted})
        await self.cache.reached(written["metadata"]["resourceVersion"])
