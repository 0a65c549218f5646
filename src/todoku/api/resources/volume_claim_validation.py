"""PersistentVolumeClaims: what they must look like and may become (ValidatePersistentVolumeClaim*)."""

from __future__ import annotations

from typing import Any

from todoku.api import quantities, validation
from todoku.api.errors import FieldError, Path, forbidden, invalid, not_supported
from todoku.api.meta import Object
from todoku.api.podspec.claims import claim_spec_problems
from todoku.api.podspec.resources import amount_problems, is_native
from todoku.api.resources.pod_warnings import claim_warnings
from todoku.api.resources.volume_validation import BETA_CLASS, class_warnings, negative_problems

_SPEC, _STATUS = Path("spec"), Path("status")
_CLASS, _ATTRIBUTES = "storageClassName", "volumeAttributesClassName"


def settle_sources(spec: Object, before: Object | None) -> None:
    """Of `dataSource` and `dataSourceRef`, what is supported, in both; who had some before keeps it."""
    had = before or {}
    reference = spec.get("dataSourceRef")
    if (reference or {}).get("namespace") and had.get("dataSourceRef") is None:
        del spec["dataSourceRef"]
    in_use = had.get("dataSource") is not None or had.get("dataSourceRef") is not None
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None and reference is None and not in_use and not _is_known(source):
        del spec["dataSource"]
        return
    if source is not None and reference is None:
        spec["dataSourceRef"] = dict(source)
    elif source is None and reference is not None and not reference.get("namespace"):
        spec["dataSource"] = {key: one for key, one in reference.items() if key != "namespace"}


def _is_known(source: Object) -> bool:
    known = (("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot"))
    return (source.get("apiGroup") or "", source.get("kind")) in known


def validate(new: Object, old: Object | None) -> list[FieldError]:
    """All problems of a claim; with `old`, also of the change."""
    problems = claim_spec_problems(new["spec"], _SPEC)
    if old is None:
        return problems
    spec, before = new["spec"], old["spec"]
    problems += _class_annotation(new, old)
    if _as_before(new, old) != _plain(before):
        text = "spec is immutable after creation except resources.requests and"
        problems.append(forbidden(_SPEC, f"{text} volumeAttributesClassName for bound claims"))
    problems += _shrinking(new, old)
    problems += validation.immutable(
        spec.get("volumeMode"), before.get("volumeMode"), Path("volumeMode")
    )
    if before.get(_ATTRIBUTES) is not None:
        if spec.get(_ATTRIBUTES) is None:
            text = "update from non-nil value to nil is forbidden"
            problems.append(forbidden(_SPEC / _ATTRIBUTES, text))
        elif spec[_ATTRIBUTES] != before[_ATTRIBUTES] and not spec[_ATTRIBUTES]:
            text = "update from non-nil value to an empty string is forbidden"
            problems.append(forbidden(_SPEC / _ATTRIBUTES, text))
    return problems


def _annotated_class(claim: Object) -> str | None:
    return (claim["metadata"].get("annotations") or {}).get(BETA_CLASS)


def _moves_from_annotation(new: Object, old: Object) -> bool:
    """The class goes from the annotation to the field."""
    was, now = _annotated_class(old), _annotated_class(new)
    return (
        was is not None
        and old["spec"].get(_CLASS) is None
        and new["spec"].get(_CLASS) == was
        and now in (None, was)
    )


def _class_annotation(new: Object, old: Object) -> list[FieldError]:
    was, now = _annotated_class(old) or "", _annotated_class(new) or ""
    if was == now or _moves_from_annotation(new, old):
        return []
    at = Path("metadata") / "annotations" / BETA_CLASS
    return [invalid(at, now, "field is immutable")]


def _as_before(new: Object, old: Object) -> Object:
    """The new spec with the old one's values where they may differ."""
    spec, before = new["spec"], old["spec"]
    free: list[str] = []
    if not before.get("volumeName"):
        free.append("volumeName")
    given = spec.get(_CLASS)
    if before.get(_CLASS) is None and given and _annotated_class(old) in (None, given):
        free.append(_CLASS)
    bound = (new.get("status") or {}).get("phase") == "Bound"
    if bound and spec.get(_ATTRIBUTES) is not None:
        free.append(_ATTRIBUTES)
    made = {key: value for key, value in spec.items() if key not in free}
    made |= {key: before[key] for key in free if key in before}
    resources = spec.get("resources") or {}
    if bound and resources.get("requests") is not None:
        asked = {**resources["requests"]}
        asked.pop("storage", None)
        if _size(before) is not None:
            asked["storage"] = _size(before)
        made["resources"] = {**resources, "requests": asked}
    plain: Object = _plain(made)
    return plain


def _plain(value: Any) -> Any:
    """Without what means nothing: absent and empty are one, but for the names of classes."""
    if not isinstance(value, dict):
        return value
    found = {key: _plain(one) for key, one in value.items()}
    names = (_CLASS, _ATTRIBUTES)
    return {key: one for key, one in found.items() if one or (key in names and one is not None)}


def _size(spec: Object) -> Any:
    return ((spec.get("resources") or {}).get("requests") or {}).get("storage")


def _quantity(amount: Any) -> quantities.Quantity:
    return quantities.parse(amount) if quantities.is_quantity(amount) else quantities.ZERO


def _shrinking(new: Object, old: Object) -> list[FieldError]:
    """Less than before only while nobody has that much yet (recovery from a failed expansion)."""
    there = _quantity(((old.get("status") or {}).get("capacity") or {}).get("storage"))
    now, was = _quantity(_size(new["spec"])), _quantity(_size(old["spec"]))
    if now < was and now <= there:
        at = _SPEC / "resources" / "requests" / "storage"
        return [forbidden(at, "field can not be less than status.capacity")]
    return []


_RESIZES = (
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
)


def validate_status(new: Object, old: Object) -> list[FieldError]:
    status = new.get("status") or {}
    problems: list[FieldError] = []
    for name, amount in (status.get("capacity") or {}).items():
        problems += negative_problems(amount, (_STATUS / "capacity").key(name))
    at = _STATUS / "allocatedResourceStatus"
    for name, value in (status.get("allocatedResourceStatuses") or {}).items():
        problems += _resource_key(name, at)
        if value not in _RESIZES:
            problems.append(not_supported(at, name, sorted(_RESIZES)))
    at = _STATUS / "allocatedResources"
    for name, amount in (status.get("allocatedResources") or {}).items():
        found = _resource_key(name, at) or negative_problems(amount, at.key(name))
        problems += found or amount_problems("storage", amount, at.key(name))
    return problems


def _resource_key(name: str, path: Path) -> list[FieldError]:
    problems = [invalid(path, name, text) for text in validation.qualified_name_problems(name)]
    if not problems and is_native(name) and name != "storage":
        return [not_supported(path, name, ("storage",))]
    return problems


def warnings(new: Object, old: Object | None) -> list[str]:
    return class_warnings(new) + claim_warnings(new.get("spec") or {}, _SPEC)
