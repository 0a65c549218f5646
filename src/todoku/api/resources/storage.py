"""PersistentVolume and PersistentVolumeClaim (core/v1)."""

from __future__ import annotations

from todoku.api import quantities, validation
from todoku.api.errors import FieldError, Path, forbidden, invalid, not_supported, required
from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import AGE, NAME, keep_all_but_status, keep_status
from todoku.api.resources.rules import Rules
from todoku.api.selectors import selector_problems
from todoku.api.tables import created

_SPEC = Path("spec")
ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_SHORT = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
_MODES = ("Block", "Filesystem")
_RECLAIM = ("Delete", "Recycle", "Retain")


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
    path = spec.get("hostPath")
    if path is not None and path.get("type") is None:
        path["type"] = ""


_NOT_SOURCES = (
    "capacity", "accessModes", "claimRef", "persistentVolumeReclaimPolicy", "storageClassName", "mountOptions",
    "volumeMode", "nodeAffinity", "volumeAttributesClassName",
)  # fmt: skip


def _access_modes(spec: Object, path: Path) -> list[FieldError]:
    modes = spec.get("accessModes") or ()
    problems = (
        [] if modes else [required(path / "accessModes", "at least 1 access mode is required")]
    )
    problems += [
        not_supported(path / "accessModes", one, ACCESS_MODES)
        for one in modes
        if one not in ACCESS_MODES
    ]
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        text = "may not use ReadWriteOncePod with other access modes"
        problems.append(forbidden(path / "accessModes", text))
    return problems


def _positive(amount: object, path: Path) -> list[FieldError]:
    try:
        quantity = quantities.parse(amount)  # type: ignore[arg-type]
    except quantities.QuantityError as error:
        return [invalid(path, amount, str(error))]
    return (
        []
        if quantity > quantities.ZERO
        else [invalid(path, str(amount), "must be greater than zero")]
    )


def _validate_volume(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    problems = _access_modes(spec, _SPEC)
    capacity = spec.get("capacity") or {}
    if not capacity:
        problems.append(required(_SPEC / "capacity"))
    elif "storage" not in capacity or len(capacity) > 1:
        problems.append(not_supported(_SPEC / "capacity", capacity, ("storage",)))
    for name, amount in capacity.items():
        problems += _positive(amount, (_SPEC / "capacity").key(name))
    if spec.get("persistentVolumeReclaimPolicy") not in _RECLAIM:
        policy = spec.get("persistentVolumeReclaimPolicy")
        problems.append(not_supported(_SPEC / "persistentVolumeReclaimPolicy", policy, _RECLAIM))
    if spec.get("volumeMode") not in _MODES:
        problems.append(not_supported(_SPEC / "volumeMode", spec.get("volumeMode"), _MODES))
    sources = [key for key in spec if key not in _NOT_SOURCES]
    if not sources:
        problems.append(required(_SPEC, "must specify a volume type"))
    problems += [
        forbidden(_SPEC / one, "may not specify more than 1 volume type") for one in sources[1:]
    ]
    if old is not None:
        problems += _volume_change(spec, old["spec"], sources)
    return problems


def _volume_change(spec: Object, before: Object, sources: list[str]) -> list[FieldError]:
    problems: list[FieldError] = []
    known = {key for key in before if key not in _NOT_SOURCES} | set(sources)
    if any(spec.get(key) != before.get(key) for key in known):
        text = "spec.persistentvolumesource is immutable after creation"
        problems.append(forbidden(_SPEC / "persistentvolumesource", text))
    problems += validation.immutable(
        spec.get("volumeMode"), before.get("volumeMode"), _SPEC / "volumeMode"
    )
    return problems


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
        validate=_validate_volume,
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
    for one, other in (("dataSource", "dataSourceRef"), ("dataSourceRef", "dataSource")):
        if (
            spec.get(one) is not None
            and spec.get(other) is None
            and not (spec[one] or {}).get("namespace")
        ):
            spec[other] = {key: value for key, value in spec[one].items() if key != "namespace"}


def claim_spec_problems(spec: Object, path: Path) -> list[FieldError]:
    problems = _access_modes(spec, path)
    problems += selector_problems(spec.get("selector"), path / "selector")
    at = (path / "resources").key("storage")
    amount = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    problems += [required(at)] if amount is None else _positive(amount, at)
    if spec.get("storageClassName"):
        name = spec["storageClassName"]
        problems += [
            invalid(path / "storageClassName", name, text)
            for text in validation.dns1123_subdomain(name)
        ]
    if spec.get("volumeMode") not in _MODES:
        problems.append(not_supported(path / "volumeMode", spec.get("volumeMode"), _MODES))
    return problems


def _validate_claim(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    problems = claim_spec_problems(spec, _SPEC)
    if old is not None:
        problems += _claim_change(new, old)
    return problems


_CLAIM_TEXT = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"


def _claim_change(new: Object, old: Object) -> list[FieldError]:
    spec, before = new["spec"], old["spec"]
    free = {"resources", "volumeAttributesClassName"}
    if not before.get("volumeName"):
        free.add("volumeName")
    if before.get("storageClassName") is None:
        free.add("storageClassName")
    keys = (set(spec) | set(before)) - free
    if any(spec.get(key) != before.get(key) for key in keys):
        return [forbidden(_SPEC, _CLAIM_TEXT)]
    after = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    stored = ((before.get("resources") or {}).get("requests") or {}).get("storage")
    if after == stored or after is None or stored is None:
        return []
    if (old.get("status") or {}).get("phase") != "Bound":
        return [forbidden(_SPEC, _CLAIM_TEXT)]
    if quantities.parse(after) < quantities.parse(stored):
        at = _SPEC / "resources" / "requests" / "storage"
        return [forbidden(at, "field can not be less than status.capacity")]
    return []


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
        prepare_create=_create_volume,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=_validate_claim,
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
