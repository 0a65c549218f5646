"""StorageClass, VolumeAttributesClass and CSIStorageCapacity (storage.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api import validation
from todoku.api.errors import (
    FieldError,
    Path,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
)
from todoku.api.formats import each, label_name, non_negative_quantity
from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import AGE, NAME
from todoku.api.resources.pod_warnings import DEPRECATED_LABELS
from todoku.api.resources.rules import Rules
from todoku.api.selectors import selector_problems
from todoku.api.tables import created


def _default_class(obj: Object) -> None:
    if obj.get("reclaimPolicy") is None:
        obj["reclaimPolicy"] = "Delete"
    if obj.get("volumeBindingMode") is None:
        obj["volumeBindingMode"] = "Immediate"


_DEFAULT_CLASS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_BINDING = ("Immediate", "WaitForFirstConsumer")
_RECLAIM = ("Delete", "Retain")
_MAX_PARAMETERS, _MAX_PARAMETER_BYTES = 512, 256 * 1024


def _validate_class(new: Object, old: Object | None) -> list[FieldError]:
    problems = _provisioner(new.get("provisioner") or "", Path("provisioner"))
    problems += _parameters(new.get("parameters") or {}, Path("parameters"))
    for field, supported in (("reclaimPolicy", _RECLAIM), ("volumeBindingMode", _BINDING)):
        if new.get(field) not in supported:
            problems.append(not_supported(Path(field), new.get(field), supported))
    problems += _topologies(new.get("allowedTopologies") or ())
    if old is None:
        return problems
    problems += _forbidden_changes(new, old, ("parameters", "provisioner", "reclaimPolicy"))
    mode = "volumeBindingMode"
    return problems + validation.immutable(new.get(mode), old.get(mode), Path(mode))


def _forbidden_changes(new: Object, old: Object, fields: Sequence[str]) -> list[FieldError]:
    return [
        forbidden(Path(field), f"updates to {field} are forbidden.")
        for field in fields
        if (new.get(field) or None) != (old.get(field) or None)
    ]


def _provisioner(name: str, path: Path) -> list[FieldError]:
    if not name:
        return [required(path)]
    return each(validation.qualified_name_problems, name.lower(), path)


def _parameters(parameters: Object, path: Path) -> list[FieldError]:
    if len(parameters) > _MAX_PARAMETERS:
        return [too_long(path, _MAX_PARAMETERS)]
    problems = [invalid(path, key, "field can not be empty.") for key in parameters if not key]
    size = sum(len(key.encode()) + len(value.encode()) for key, value in parameters.items())
    if size > _MAX_PARAMETER_BYTES:
        problems.append(too_long(path, _MAX_PARAMETER_BYTES))
    return problems


def _topologies(terms: Sequence[Object]) -> list[FieldError]:
    problems: list[FieldError] = []
    seen: list[Object] = []
    for index, term in enumerate(terms):
        at = Path("allowedTopologies") / index / "matchLabelExpressions"
        values: dict[str, set[str]] = {}
        for number, one in enumerate(term.get("matchLabelExpressions") or ()):
            problems += _topology(one, at / number)
            key = one.get("key") or ""
            if key in values:
                problems.append(duplicate(at / number / "key", key))
            values[key] = set(one.get("values") or ())
        if values in seen:
            problems.append(duplicate(at, ""))
        seen.append(values)
    return problems


def _topology(one: Object, at: Path) -> list[FieldError]:
    values = one.get("values") or ()
    problems = [] if values else [required(at / "values")]
    problems += validation.duplicates(values, at / "values")
    return problems + label_name(one.get("key") or "", at / "key")


def _class_warnings(new: Object, old: Object | None) -> list[str]:
    if old is not None:
        return []
    return [
        f"allowedTopologies[{index}].matchLabelExpressions[{number}].key: {DEPRECATED_LABELS[one['key']]}"
        for index, term in enumerate(new.get("allowedTopologies") or ())
        for number, one in enumerate(term.get("matchLabelExpressions") or ())
        if one.get("key") in DEPRECATED_LABELS
    ]


def _class_row(obj: Object) -> list[object]:
    annotations = obj["metadata"].get("annotations") or {}
    default = any(annotations.get(key) == "true" for key in _DEFAULT_CLASS)
    return [
        obj["metadata"]["name"] + (" (default)" if default else ""),
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy", "Delete"),
        obj.get("volumeBindingMode", "Immediate"),
        bool(obj.get("allowVolumeExpansion")),
        created(obj),
    ]


STORAGE_CLASS = Rules(
    strategy=Strategy(
        default=_default_class,
        validate=_validate_class,
        warnings=_class_warnings,
        has_status=False,
        has_generation=False,
        delete_returns_object=True,
    ),
    columns=(
        NAME,
        Column(name="Provisioner", documents="storage.v1.StorageClass.provisioner"),
        Column(name="ReclaimPolicy", documents="storage.v1.StorageClass.reclaimPolicy"),
        Column(name="VolumeBindingMode", documents="storage.v1.StorageClass.volumeBindingMode"),
        Column(
            name="AllowVolumeExpansion", documents="storage.v1.StorageClass.allowVolumeExpansion"
        ),
        AGE,
    ),
    row=_class_row,
)


def _validate_capacity(new: Object, old: Object | None) -> list[FieldError]:
    name, path = new.get("storageClassName") or "", Path("storageClassName")
    if old is not None:
        topology = Path("nodeTopology")
        problems = validation.immutable(new.get("nodeTopology"), old.get("nodeTopology"), topology)
        return problems + validation.immutable(name, old.get("storageClassName"), path)
    problems = selector_problems(new.get("nodeTopology"), Path("nodeTopology"))
    problems += each(validation.dns1123_subdomain, name, path)
    if new.get("capacity") is not None:
        problems += non_negative_quantity(new["capacity"], Path("capacity"))
    return problems


def _capacity_warnings(new: Object, old: Object | None) -> list[str]:
    topology = new.get("nodeTopology") or {}
    if old is not None:
        return []
    found = [
        f"nodeTopology.matchLabels.{key}: {DEPRECATED_LABELS[key]}"
        for key in topology.get("matchLabels") or ()
        if key in DEPRECATED_LABELS
    ]
    return found + [
        f"nodeTopology.matchExpressions[{index}].key: {DEPRECATED_LABELS[one['key']]}"
        for index, one in enumerate(topology.get("matchExpressions") or ())
        if one.get("key") in DEPRECATED_LABELS
    ]


CSI_STORAGE_CAPACITY = Rules(
    strategy=Strategy(
        validate=_validate_capacity,
        warnings=_capacity_warnings,
        has_status=False,
        has_generation=False,
    ),
    columns=(
        NAME,
        Column(name="StorageClassName", documents="storage.v1.CSIStorageCapacity.storageClassName"),
        Column(name="Capacity", documents="storage.v1.CSIStorageCapacity.capacity"),
    ),
    row=lambda obj: [
        obj["metadata"]["name"],
        obj.get("storageClassName", ""),
        obj.get("capacity", "<unset>"),
    ],
)


def _validate_attributes(new: Object, old: Object | None) -> list[FieldError]:
    problems: list[FieldError] = []
    if old is not None:
        problems += _forbidden_changes(new, old, ("driverName", "parameters"))
    problems += _provisioner(new.get("driverName") or "", Path("driverName"))
    parameters, path = new.get("parameters") or {}, Path("parameters")
    problems += _parameters(parameters, path)
    if not parameters:
        problems.append(required(path, "must contain at least one key/value pair"))
    return problems


VOLUME_ATTRIBUTES_CLASS = Rules(
    strategy=Strategy(
        validate=_validate_attributes,
        has_status=False,
        has_generation=False,
        delete_returns_object=True,
    ),
    columns=(
        NAME,
        Column(name="DriverName", documents="storage.v1.VolumeAttributesClass.driverName"),
        AGE,
    ),
    row=lambda obj: [obj["metadata"]["name"], obj.get("driverName", ""), created(obj)],
)
