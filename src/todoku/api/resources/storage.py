"""PersistentVolume and PersistentVolumeClaim (core/v1)."""

from __future__ import annotations

from todoku.api import quantities
from todoku.api.meta import Object
from todoku.api.podspec.defaults import default_volume_source
from todoku.api.resource import Column, Strategy
from todoku.api.resources import volume_claim_validation, volume_validation
from todoku.api.resources.generic import AGE, NAME, keep_all_but_status, keep_status
from todoku.api.resources.rules import Rules
from todoku.api.resources.volume_claim_validation import settle_sources
from todoku.api.tables import created

_SHORT = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _modes_cell(modes: list[str] | None) -> str:
    return ",".join(short for mode, short in _SHORT.items() if mode in (modes or ()))


def _canonical(amounts: Object | None) -> None:
    for name, amount in (amounts or {}).items():
        if quantities.is_quantity(amount):
            assert amounts is not None
            amounts[name] = quantities.canonical(amount)


def _default_volume(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if not spec.get("persistentVolumeReclaimPolicy"):
        spec["persistentVolumeReclaimPolicy"] = "Retain"
    if spec.get("volumeMode") is None:
        spec["volumeMode"] = "Filesystem"
    _canonical(spec.get("capacity"))
    default_volume_source(spec)


def _reason_row(obj: Object) -> list[object]:
    spec, status = obj["spec"], obj.get("status") or {}
    claim = spec.get("claimRef") or {}
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "")
    return [
        obj["metadata"]["name"],
        (spec.get("capacity") or {}).get("storage", "0"),
        _modes_cell(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        phase,
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _class_name(obj),
        spec.get("volumeAttributesClassName") or "<unset>",
        status.get("reason", ""),
        created(obj),
        spec.get("volumeMode") or "<unset>",
    ]


def _class_name(obj: Object) -> str:
    annotations = obj["metadata"].get("annotations") or {}
    found = annotations.get("volume.beta.kubernetes.io/storage-class") or obj["spec"].get(
        "storageClassName"
    )
    return str(found or "")


def _create_volume(obj: Object) -> None:
    obj["status"] = {"phase": "Pending"}


PERSISTENT_VOLUME = Rules(
    strategy=Strategy(
        default=_default_volume,
        prepare_create=_create_volume,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=volume_validation.validate,
        warnings=volume_validation.warnings,
        has_generation=False,
        delete_returns_object=True,
    ),
    columns=(
        NAME,
        Column(name="Capacity", documents="core.v1.PersistentVolumeSpec.capacity"),
        Column(name="Access Modes", documents="core.v1.PersistentVolumeSpec.accessModes"),
        Column(
            name="Reclaim Policy",
            documents="core.v1.PersistentVolumeSpec.persistentVolumeReclaimPolicy",
        ),
        Column(name="Status", documents="core.v1.PersistentVolumeStatus.phase"),
        Column(name="Claim", documents="core.v1.PersistentVolumeSpec.claimRef"),
        Column(name="StorageClass", description="StorageClass of the pv"),
        Column(name="VolumeAttributesClass", description="VolumeAttributesClass of the pv"),
        Column(name="Reason", documents="core.v1.PersistentVolumeStatus.reason"),
        AGE,
        Column(name="VolumeMode", priority=1, documents="core.v1.PersistentVolumeSpec.volumeMode"),
    ),
    row=_reason_row,
)


def _default_claim(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("volumeMode") is None:
        spec["volumeMode"] = "Filesystem"
    for field in ("requests", "limits"):
        _canonical((spec.get("resources") or {}).get(field))


def _create_claim(obj: Object) -> None:
    obj["status"] = {"phase": "Pending"}
    settle_sources(obj["spec"], None)


def _update_claim(new: Object, old: Object) -> None:
    keep_status(new, old)
    settle_sources(new["spec"], old["spec"])


def _claim_row(obj: Object) -> list[object]:
    spec, status = obj["spec"], obj.get("status") or {}
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "")
    bound = bool(spec.get("volumeName"))
    return [
        obj["metadata"]["name"],
        phase,
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "0") if bound else "",
        _modes_cell(status.get("accessModes")) if bound else "",
        _class_name(obj),
        spec.get("volumeAttributesClassName") or "<unset>",
        created(obj),
        spec.get("volumeMode") or "<unset>",
    ]


PERSISTENT_VOLUME_CLAIM = Rules(
    strategy=Strategy(
        default=_default_claim,
        prepare_create=_create_claim,
        prepare_update=_update_claim,
        prepare_status=keep_all_but_status,
        validate=volume_claim_validation.validate,
        validate_status=volume_claim_validation.validate_status,
        warnings=volume_claim_validation.warnings,
        has_generation=False,
        delete_returns_object=True,
    ),
    columns=(
        NAME,
        Column(name="Status", documents="core.v1.PersistentVolumeClaimStatus.phase"),
        Column(name="Volume", documents="core.v1.PersistentVolumeClaimSpec.volumeName"),
        Column(name="Capacity", documents="core.v1.PersistentVolumeClaimStatus.capacity"),
        Column(name="Access Modes", documents="core.v1.PersistentVolumeClaimStatus.accessModes"),
        Column(name="StorageClass", description="StorageClass of the pvc"),
        Column(name="VolumeAttributesClass", description="VolumeAttributesClass of the pvc"),
        AGE,
        Column(
            name="VolumeMode", priority=1, documents="core.v1.PersistentVolumeClaimSpec.volumeMode"
        ),
    ),
    row=_claim_row,
)
