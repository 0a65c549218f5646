"""Token Secrets go with their service account."""

from __future__ import annotations

from typing import ClassVar

from todoku.api import errors
from todoku.api.meta import Key, Object
from todoku.client import WatchEvent
from todoku.controllers.controller import Controller

TYPE = "kubernetes.io/service-account-token"
ACCOUNT, UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"


def outlived(secret: Object, account: Object | None) -> bool:
    """Whether a token Secret names an account that is gone, or was replaced by another."""
    notes = secret["metadata"].get("annotations") or {}
    if secret.get("type") != TYPE or not notes.get(ACCOUNT) or not notes.get(UID):
        return False
    return account is None or account["metadata"]["uid"] != notes[UID]


class TokenCleanupController(Controller):
    name: ClassVar[str] = "serviceaccount-token"
    reconciles: ClassVar[str] = "serviceaccounts"

    def setup(self) -> None:
        self.secrets = self.watch("secrets", self._secret_changed)

    def _secret_changed(self, event: WatchEvent) -> None:
        notes = event.object["metadata"].get("annotations") or {}
        if event.object.get("type") == TYPE and notes.get(ACCOUNT):
            self.queue.add(Key(event.object["metadata"]["namespace"], notes[ACCOUNT]))

    async def reconcile(self, key: Key) -> None:
        account = self.cache.get(key)
        for secret in self.secrets.list(key.namespace):
            meta = secret["metadata"]
            if (meta.get("annotations") or {}).get(ACCOUNT) != key.name or not outlived(
                secret, account
            ):
                continue
            try:
                await self.client.delete(
                    "secrets", meta["name"], meta["namespace"], uid=meta["uid"]
                )
            except (errors.NotFound, errors.Conflict):
                continue
