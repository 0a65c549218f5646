"""Validation of a PersistentVolumeClaimSpec: of claims, and of those that are made for a pod's volume."""

from __future__ import annotations

from typing import Any

from todoku.api import quantities, validation
from todoku.api.errors import FieldError, Path, forbidden, invalid, not_supported, required
from todoku.api.meta import Object
from todoku.api.selectors import selector_problems

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")


def access_mode_problems(spec: Object, path: Path, none_given: str) -> list[FieldError]:
    """accessModes of a claim or a volume; `none_given` is what is said if there are none."""
    modes = spec.get("accessModes") or ()
    problems = [] if modes else [required(path / "accessModes", none_given)]
    problems += [
        not_supported(path / "accessModes", one, ACCESS_MODES)
        for one in modes
        if one not in ACCESS_MODES
    ]
    known = set(modes) & set(ACCESS_MODES)
    if "ReadWriteOncePod" in known and len(known) > 1:
        text = "may not use ReadWriteOncePod with other access modes"
        problems.append(forbidden(path / "accessModes", text))
    return problems


def positive_problems(amount: Any, path: Path) -> list[FieldError]:
    """A quantity above zero (ValidatePositiveQuantityValue)."""
    try:
        quantity = quantities.parse(amount)
    except (quantities.QuantityError, TypeError) as error:
        return [invalid(path, amount, str(error))]
    if quantity > quantities.ZERO:
        return []
    return [invalid(path, str(quantity), "must be greater than zero")]


def name_problems(value: str | None, path: Path) -> list[FieldError]:
    """The name of a class, if one is given."""
    if not value:
        return []
    return [invalid(path, value, text) for text in validation.dns1123_subdomain(value)]


def claim_spec_problems(spec: Object, path: Path) -> list[FieldError]:
    """ValidatePersistentVolumeClaimSpec."""
    none_given = "at least 1 access mode is required"
    problems = access_mode_problems({"accessModes": spec.get("accessModes")}, path, none_given)
    first = 0 if spec.get("accessModes") else 1
    problems[first:first] = selector_problems(spec.get("selector"), path / "selector")
    at = (path / "resources").key("storage")
    amount = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    problems += [required(at)] if amount is None else positive_problems(amount, at)
    problems += name_problems(spec.get("storageClassName"), path / "storageClassName")
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        problems.append(not_supported(path / "volumeMode", mode, VOLUME_MODES))
    problems += _sources(spec, path)
    at = path / "volumeAttributesClassName"
    return problems + name_problems(spec.get("volumeAttributesClassName"), at)


def _sources(spec: Object, path: Path) -> list[FieldError]:
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    problems: list[FieldError] = []
    for field, one in (("dataSource", source), ("dataSourceRef", reference)):
        if one is not None:
            problems += _data_source(one, path / field)
    if source is None or reference is None:
        return problems
    at = path / "dataSource"
    if reference.get("namespace"):
        text = "may not be specified when dataSourceRef.namespace is specified"
        problems.append(invalid(path, at, text))
    elif any(source.get(key) != reference.get(key) for key in ("apiGroup", "kind", "name")):
        problems.append(invalid(path, at, "must match dataSourceRef"))
    return problems


def _data_source(source: Object, path: Path) -> list[FieldError]:
    """validateDataSource, validateDataSourceRef."""
    problems = [required(path / field) for field in ("name", "kind") if not source.get(field)]
    group, kind = source.get("apiGroup") or "", source.get("kind") or ""
    if not group and kind != "PersistentVolumeClaim":
        text = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        problems.append(invalid(path, kind, text))
    problems += name_problems(group, path / "apiGroup")
    if namespace := source.get("namespace"):
        texts = validation.dns1123_label(namespace)
        problems += [invalid(path / "namespace", namespace, text) for text in texts]
    return problems


_TEMPLATE_METADATA = ("labels", "annotations")


def claim_template_problems(template: Object, path: Path) -> list[FieldError]:
    """A claim to be made: of its metadata only labels and annotations (ValidatePersistentVolumeClaimTemplate)."""
    metadata, at = template.get("metadata") or {}, path / "metadata"
    problems = validation.annotation_problems(metadata.get("annotations"), at / "annotations")
    problems += validation.label_problems(metadata.get("labels"), at / "labels")
    problems += [
        forbidden(at / ("uID" if field == "uid" else field), "cannot be set")
        for field, value in metadata.items()
        if value and field not in _TEMPLATE_METADATA
    ]
    return problems + claim_spec_problems(template.get("spec") or {}, path / "spec")
