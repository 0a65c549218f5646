"""Claims in use by pods, and volumes bound to claims, are not removed under them (finalizers)."""

from __future__ import annotations

from typing import ClassVar

from todoku.api.meta import Key, Object, copy
from todoku.client import WatchEvent
from todoku.controllers import pods
from todoku.controllers.controller import Controller, deleting

CLAIM, VOLUME = "kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"


def protect(obj: Object, finalizer: str, *, in_use: bool) -> Object | None:
    """The object with the finalizer it should have; None if that is what it has."""
    held: list[str] = obj["metadata"].get("finalizers") or []
    if deleting(obj):
        if in_use or finalizer not in held:
            return None
        wanted = [one for one in held if one != finalizer]
    elif finalizer in held:
        return None
    else:
        wanted = [*held, finalizer]
    changed: Object = copy(obj)
    changed["metadata"]["finalizers"] = wanted
    return changed


def claims_of(pod: Object) -> list[str]:
    """The names of the claims that a pod uses."""
    found = []
    for volume in pod["spec"].get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            found.append(volume["persistentVolumeClaim"]["claimName"])
        elif volume.get("ephemeral"):
            found.append(f"{pod['metadata']['name']}-{volume['name']}")
    return found


class ClaimProtectionController(Controller):
    name: ClassVar[str] = "persistentvolumeclaim-protection"
    reconciles: ClassVar[str] = "persistentvolumeclaims"

    def setup(self) -> None:
        self.pods = self.watch("pods", self._pod_changed)
        pods.index(self.pods)

    def _pod_changed(self, event: WatchEvent) -> None:
        if event.type == "DELETED" or pods.is_terminal(event.object):
            for name in claims_of(event.object):
                self.queue.add(Key(event.object["metadata"]["namespace"], name))

    async def reconcile(self, key: Key) -> None:
        claim = self.cache.get(key)
        if claim is None:
            return
        users = self.pods.by_index("namespace", key.namespace) if deleting(claim) else ()
        in_use = any(
            key.name in claims_of(pod) and pod["spec"].get("nodeName") and not pods.is_terminal(pod)
            for pod in users
        )
        changed = protect(claim, CLAIM, in_use=in_use)
        if changed is not None:
            await self.client.update(self.reconciles, changed)


class VolumeProtectionController(Controller):
    name: ClassVar[str] = "persistentvolume-protection"
    reconciles: ClassVar[str] = "persistentvolumes"

    async def reconcile(self, key: Key) -> None:
        volume = self.cache.get(key)
        if volume is None:
            return
        bound = (volume.get("status") or {}).get("phase") == "Bound"
        changed = protect(volume, VOLUME, in_use=bound)
        if changed is not None:
            await self.client.update(self.reconciles, changed)
