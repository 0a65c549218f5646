"""Every namespace has the ConfigMap `kube-root-ca.crt`, by which pods know the API server."""

from __future__ import annotations

from typing import ClassVar

from todoku.api.meta import Key
from todoku.controllers.serviceaccount import NamespaceFollower

DESCRIPTION = {
    "kubernetes.io/description": "The authorities that sign the API server's certificate, for clients inside the cluster."
}


class RootCaController(NamespaceFollower):
    name: ClassVar[str] = "root-ca-certificate-publisher"
    keeps: ClassVar[str] = "configmaps"
    kept_name: ClassVar[str] = "kube-root-ca.crt"

    async def reconcile(self, key: Key) -> None:
        if not self.wants(key) or not self.config.root_ca:
            return
        data = {"ca.crt": self.config.root_ca}
        current = self.kept.get(Key(key.name, self.kept_name))
        if current is None:
            meta = {"name": self.kept_name, "namespace": key.name, "annotations": DESCRIPTION}
            await self.create({"metadata": meta, "data": data})
        elif current.get("data") != data:
            written = await self.client.update(self.keeps, current | {"data": data})
            await self.kept.reached(written["metadata"]["resourceVersion"])
