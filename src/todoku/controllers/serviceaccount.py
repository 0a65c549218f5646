"""Every namespace has the service account `default`."""

from __future__ import annotations

from typing import ClassVar

from todoku.api import errors
from todoku.api.meta import Key
from todoku.client import WatchEvent
from todoku.controllers.controller import Controller, deleting


class NamespaceFollower(Controller):
    """Keeps one object of a fixed name in every namespace that is not going away."""

    reconciles: ClassVar[str] = "namespaces"
    keeps: ClassVar[str]
    kept_name: ClassVar[str]

    def setup(self) -> None:
        self.kept = self.watch(self.keeps, self._kept_changed)

    def _kept_changed(self, event: WatchEvent) -> None:
        meta = event.object["metadata"]
        if meta["name"] == self.kept_name and event.type != "ADDED":
            self.queue.add(Key("", meta["namespace"]))

    def wants(self, key: Key) -> bool:
        namespace = self.cache.get(key)
        return namespace is not None and not deleting(namespace)

    async def create(self, obj: dict[str, object]) -> None:
        try:
            made = await self.client.create(self.keeps, obj)
        except (errors.AlreadyExists, errors.NotFound):
            return
        except errors.Forbidden as error:
            if "being terminated" not in str(error):
                raise
            return
        await self.kept.reached(made["metadata"]["resourceVersion"])


class ServiceAccountController(NamespaceFollower):
    name: ClassVar[str] = "serviceaccount"
    keeps: ClassVar[str] = "serviceaccounts"
    kept_name: ClassVar[str] = "default"

    async def reconcile(self, key: Key) -> None:
        if self.wants(key) and self.kept.get(Key(key.name, self.kept_name)) is None:
            await self.create({"metadata": {"name": self.kept_name, "namespace": key.name}})
