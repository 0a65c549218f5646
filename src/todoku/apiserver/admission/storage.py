"""Defaults and protection around storage and ingress classes."""

from __future__ import annotations

from todoku.api import quantities
from todoku.api.meta import Object
from todoku.apiserver.admission.base import (
    Plugin,
    creates,
    default_of,
    new_object,
    new_spec,
    refusal,
    updates,
)
from todoku.apiserver.config import Attributes, Objects

CLAIMS = "persistentvolumeclaims"
STORAGE_CLASSES = "storageclasses.storage.k8s.io"
INGRESS_CLASSES = "ingressclasses.networking.k8s.io"
_OLD_CLASS = "volume.beta.kubernetes.io/storage-class"
_PROTECTED = {
    CLAIMS: "kubernetes.io/pvc-protection",
    "persistentvolumes": "kubernetes.io/pv-protection",
    "volumeattributesclasses.storage.k8s.io": "kubernetes.io/vac-protection",
}


class DefaultStorageClass(Plugin):
    """A claim that names no storage class (not even "") gets the default one."""

    name = "DefaultStorageClass"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def mutate(self, attributes: Attributes) -> None:
        if not creates(attributes, CLAIMS):
            return
        claim, spec = new_object(attributes), new_spec(attributes)
        named = spec.get("storageClassName") is not None
        if named or _OLD_CLASS in (claim["metadata"].get("annotations") or {}):
            return
        annotation = "storageclass.kubernetes.io/is-default-class"
        found = default_of(list(self._objects.list(STORAGE_CLASSES)), annotation)
        if found:
            spec["storageClassName"] = found["metadata"]["name"]


class StorageObjectInUseProtection(Plugin):
    """Volumes and claims get the finalizer that keeps them while they are used."""

    name = "StorageObjectInUseProtection"

    async def mutate(self, attributes: Attributes) -> None:
        finalizer = _PROTECTED.get(attributes.resource.name)
        if finalizer is None or attributes.operation != "CREATE" or attributes.subresource:
            return
        finalizers = new_object(attributes)["metadata"].setdefault("finalizers", [])
        if finalizer not in finalizers:
            finalizers.append(finalizer)


class PersistentVolumeClaimResize(Plugin):
    """A claim grows only if its storage class allows it."""

    name = "PersistentVolumeClaimResize"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def validate(self, attributes: Attributes) -> None:
        if not updates(attributes, CLAIMS) or attributes.old is None:
            return
        if not _asked(new_object(attributes)) > _asked(attributes.old):
            return
        name = attributes.old["spec"].get("storageClassName")
        found = self._objects.get(STORAGE_CLASSES, name) if name else None
        if found is None or not found.get("allowVolumeExpansion"):
            raise refusal(
                attributes,
                "only dynamically provisioned pvc can be resized and the storageclass that provisions "
                "the pvc must support resize",
            )


def _asked(claim: Object) -> quantities.Quantity:
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    return quantities.parse(requests.get("storage", "0"))


class DefaultIngressClass(Plugin):
    """An ingress that names no class gets the default one."""

    name = "DefaultIngressClass"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def mutate(self, attributes: Attributes) -> None:
        if not creates(attributes, "ingresses.networking.k8s.io"):
            return
        ingress, spec = new_object(attributes), new_spec(attributes)
        annotations = ingress["metadata"].get("annotations") or {}
        if spec.get("ingressClassName") or "kubernetes.io/ingress.class" in annotations:
            return
        annotation = "ingressclass.kubernetes.io/is-default-class"
        found = default_of(list(self._objects.list(INGRESS_CLASSES)), annotation)
        if found:
            spec["ingressClassName"] = found["metadata"]["name"]
