"""Claims and volumes find each other (core/v1 PersistentVolumeClaim, PersistentVolume)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from todoku.api import quantities
from todoku.api.meta import Key, Object, copy, key_of
from todoku.api.selectors import from_selector
from todoku.client import WatchEvent
from todoku.controllers.controller import Controller, deleting

BOUND_BY, BIND_DONE = "pv.kubernetes.io/bound-by-controller", "pv.kubernetes.io/bind-completed"
SELECTED_NODE = "volume.kubernetes.io/selected-node"


def size(volume: Object) -> float:
    return float(quantities.parse((volume["spec"].get("capacity") or {}).get("storage", 0)).value)


def fits(claim: Object, volume: Object) -> bool:
    """Whether the volume is free for the claim, of its class and mode, and large enough."""
    spec, wanted = volume["spec"], claim["spec"]
    if deleting(volume):
        return False
    reference = spec.get("claimRef")
    if reference:
        return _refers(reference, claim)
    if (volume.get("status") or {}).get("phase") not in (None, "", "Pending", "Available"):
        return False
    asked = ((wanted.get("resources") or {}).get("requests") or {}).get("storage", 0)
    chosen = wanted.get("selector")
    return (
        (spec.get("storageClassName") or "") == (wanted.get("storageClassName") or "")
        and (spec.get("volumeMode") or "Filesystem") == (wanted.get("volumeMode") or "Filesystem")
        and set(wanted.get("accessModes") or ()) <= set(spec.get("accessModes") or ())
        and float(quantities.parse(asked).value) <= size(volume)
        and (chosen is None or from_selector(chosen).matches(volume["metadata"].get("labels")))
    )


def choose(claim: Object, volumes: Sequence[Object]) -> Object | None:
    """The volume that is the claim's already, or the smallest that fits."""
    wanted = claim["spec"].get("volumeName")
    if wanted:
        named = next((v for v in volumes if v["metadata"]["name"] == wanted), None)
        if named is None:
            return None
        reference = named["spec"].get("claimRef")
        return named if reference is None or _refers(reference, claim) else None
    candidates = [volume for volume in volumes if fits(claim, volume)]
    reserved = [v for v in candidates if v["spec"].get("claimRef")]
    return min(reserved or candidates, key=lambda v: (size(v), v["metadata"]["name"]), default=None)


def waiting(claim: Object, class_: Object | None) -> tuple[str, str, str]:
    """The event of a claim that no volume fits: type, reason, message.  `class_` is its StorageClass if there is one."""
    name = _class_name(claim)
    if _late(class_) and SELECTED_NODE not in (claim["metadata"].get("annotations") or {}):
        text = "waiting for first consumer to be created before binding"
        return "Normal", "WaitForFirstConsumer", text
    if not name:
        text = "no persistent volumes available for this claim and no storage class is set"
        return "Normal", "FailedBinding", text
    if class_ is None:
        return "Warning", "ProvisioningFailed", f'storageclass.storage.k8s.io "{name}" not found'
    provisioner = class_.get("provisioner", "")
    if provisioner.startswith("kubernetes.io/"):
        text = f"no volume plugin matched name: {provisioner}"
        return "Warning", "ProvisioningFailed", text
    return (
        "Normal",
        "ExternalProvisioning",
        f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the"
        " system administrator. If volume creation is delayed, please verify that the provisioner is running and"
        " correctly registered.",
    )


def _class_name(claim: Object) -> str:
    return str(claim["spec"].get("storageClassName") or "")


def _late(class_: Object | None) -> bool:
    return class_ is not None and class_.get("volumeBindingMode") == "WaitForFirstConsumer"


def _refers(reference: Object, claim: Object) -> bool:
    meta = claim["metadata"]
    same = (reference.get("namespace"), reference.get("name")) == (meta["namespace"], meta["name"])
    return same and reference.get("uid") in (None, "", meta["uid"])


class VolumeBinderController(Controller):
    """Claims are its keys with a namespace, volumes those without."""

    name: ClassVar[str] = "persistentvolume-binder"
    component: ClassVar[str] = "persistentvolume-controller"
    reconciles: ClassVar[str] = "persistentvolumeclaims"
    workers: ClassVar[int] = 1  # two claims must not take one volume

    def setup(self) -> None:
        self.volumes = self.watch("persistentvolumes", self._volume_changed)
        self.classes = self.watch("storageclasses.storage.k8s.io")

    def _volume_changed(self, event: WatchEvent) -> None:
        self.queue.add(key_of(event.object))
        for claim in self.cache.list():
            if (claim.get("status") or {}).get("phase") != "Bound":
                self.queue.add(key_of(claim))

    async def reconcile(self, key: Key) -> None:
        if not key.namespace:
            return await self._reconcile_volume(key)
        claim = self.cache.get(key)
        if claim is None:
            for volume in self.volumes.list():
                if _names(volume, key):
                    self.queue.add(key_of(volume))
            return None
        if deleting(claim):
            return None
        return await self._reconcile_claim(claim)

    async def _reconcile_claim(self, claim: Object) -> None:
        volume = choose(claim, self.volumes.list())
        phase = (claim.get("status") or {}).get("phase")
        if volume is None:
            if claim["spec"].get("volumeName") and phase == "Bound":
                await self._phase(claim, {"phase": "Lost"})
            elif phase is None:
                await self._phase(claim, {"phase": "Pending"})
            if not claim["spec"].get("volumeName"):
                self.recorder.event(claim, *waiting(claim, self._class(claim)))
            return
        notes = claim["metadata"].get("annotations") or {}
        if (
            not claim["spec"].get("volumeName")
            and _late(self._class(claim))
            and SELECTED_NODE not in notes
        ):
            return
        volume = await self._bind_volume(volume, claim)
        claim = await self._bind_claim(claim, volume)
        if (claim.get("status") or {}).get("phase") != "Bound":
            spec = volume["spec"]
            await self._phase(claim, {
                "phase": "Bound", "accessModes": spec.get("accessModes"), "capacity": spec.get("capacity"),
            })  # fmt: skip

    def _class(self, claim: Object) -> Object | None:
        return self.classes.get(Key("", _class_name(claim)))

    async def _bind_volume(self, volume: Object, claim: Object) -> Object:
        meta = claim["metadata"]
        if (volume["spec"].get("claimRef") or {}).get("uid") != meta["uid"]:
            changed: Object = copy(volume)
            if not volume["spec"].get("claimRef"):
                changed["metadata"].setdefault("annotations", {})[BOUND_BY] = "yes"
            changed["spec"]["claimRef"] = {
                "kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": meta["namespace"],
                "name": meta["name"], "uid": meta["uid"], "resourceVersion": meta["resourceVersion"],
            }  # fmt: skip
            volume = await self._write_volume(changed)
        if (volume.get("status") or {}).get("phase") != "Bound":
            volume = await self._volume_phase(volume, "Bound")
        return volume

    async def _bind_claim(self, claim: Object, volume: Object) -> Object:
        name = volume["metadata"]["name"]
        if claim["spec"].get("volumeName") == name and BIND_DONE in (
            claim["metadata"].get("annotations") or {}
        ):
            return claim
        changed: Object = copy(claim)
        notes = changed["metadata"].setdefault("annotations", {})
        if not claim["spec"].get("volumeName"):
            notes[BOUND_BY] = "yes"
        notes[BIND_DONE] = "yes"
        changed["spec"]["volumeName"] = name
        written = await self.client.update("persistentvolumeclaims", changed)
        await self.cache.reached(written["metadata"]["resourceVersion"])
        return written

    async def _phase(self, claim: Object, status: Object) -> None:
        written = await self.client.update(
            "persistentvolumeclaims",
            claim | {"status": (claim.get("status") or {}) | status},
            subresource="status",
        )
        await self.cache.reached(written["metadata"]["resourceVersion"])

    async def _reconcile_volume(self, key: Key) -> None:
        """A volume's phase follows its claim; one whose claim is gone is released."""
        volume = self.volumes.get(key)
        if volume is None or deleting(volume):
            return
        reference = volume["spec"].get("claimRef")
        phase = (volume.get("status") or {}).get("phase")
        if not reference or not reference.get("uid"):
            if phase in (None, "", "Pending"):
                await self._volume_phase(volume, "Available")
            return
        claim = self.cache.get(Key(reference["namespace"], reference["name"]))
        if claim is None or claim["metadata"]["uid"] != reference["uid"]:
            if phase != "Released":
                volume = await self._volume_phase(volume, "Released")
            await self._reclaim(volume)

    async def _reclaim(self, volume: Object) -> None:
        """Retain keeps it; Delete is for whoever provisioned it, so only volumes without a back end go here."""
        if volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete" and volume["spec"].get(
            "hostPath"
        ):
            await self.client.delete(
                "persistentvolumes", volume["metadata"]["name"], uid=volume["metadata"]["uid"]
            )

    async def _volume_phase(self, volume: Object, phase: str) -> Object:
        status = (volume.get("status") or {}) | {"phase": phase}
        written = await self.client.update(
            "persistentvolumes", volume | {"status": status}, subresource="status"
        )
        await self.volumes.reached(written["metadata"]["resourceVersion"])
        return written

    async def _write_volume(self, volume: Object) -> Object:
        written = await self.client.update("persistentvolumes", volume)
        await self.volumes.reached(written["metadata"]["resourceVersion"])
        return written


def _names(volume: Object, key: Key) -> bool:
    reference = volume["spec"].get("claimRef") or {}
    return (reference.get("namespace"), reference.get("name")) == (key.namespace, key.name)
