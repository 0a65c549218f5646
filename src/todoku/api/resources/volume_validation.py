"""PersistentVolumes: what they must look like, and what is doubtful (ValidatePersistentVolume*)."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from todoku.api import quantities, validation
from todoku.api.errors import FieldError, Path, forbidden, invalid, not_supported, required
from todoku.api.internals import or_null, rendered
from todoku.api.meta import Object, copy
from todoku.api.podspec.claims import (
    VOLUME_MODES,
    access_mode_problems,
    name_problems,
    positive_problems,
)
from todoku.api.podspec.scheduling import node_selector_problems
from todoku.api.podspec.volume_sources import PERSISTENT_ORDER, persistent_source_problems
from todoku.api.resources.pod_warnings import GONE_VOLUMES, node_term_warnings

_SPEC = Path("spec")
_RECLAIM = ("Delete", "Recycle", "Retain")
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_MOUNT_OPTIONS = "volume.beta.kubernetes.io/mount-options"


def validate(new: Object, old: Object | None) -> list[FieldError]:
    """All problems of a volume; with `old`, also of the change."""
    spec = new["spec"]
    problems = access_mode_problems(spec, _SPEC, "")
    problems += _capacity(spec.get("capacity"))
    policy, at = spec.get("persistentVolumeReclaimPolicy"), _SPEC / "persistentVolumeReclaimPolicy"
    if policy and policy not in _RECLAIM:
        problems.append(not_supported(at, policy, _RECLAIM))
    affinity = spec.get("nodeAffinity")
    if affinity is not None:
        problems += _affinity(affinity, _SPEC / "nodeAffinity")
    problems += persistent_source_problems(spec, _SPEC, new["metadata"].get("name", ""))
    path = (spec.get("hostPath") or {}).get("path")
    if policy == "Recycle" and path and posixpath.normpath(path) in ("/", "//"):
        problems.append(forbidden(at, "may not be 'recycle' for a hostPath mount of '/'"))
    problems += name_problems(spec.get("storageClassName"), _SPEC / "storageClassName")
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        problems.append(not_supported(_SPEC / "volumeMode", mode, VOLUME_MODES))
    problems += _attributes_class(spec)
    return problems + (_change(spec, old["spec"]) if old is not None else [])


def _capacity(capacity: Mapping[str, object] | None) -> list[FieldError]:
    at = _SPEC / "capacity"
    problems = [] if capacity else [required(at)]
    if "storage" not in (capacity or {}) or len(capacity or {}) > 1:
        problems.append(not_supported(at, or_null(capacity), ("storage",)))
    for name, amount in (capacity or {}).items():
        problems += negative_problems(amount, at.key(name))
        problems += positive_problems(amount, at.key(name))
    return problems


def negative_problems(amount: object, path: Path) -> list[FieldError]:
    """An amount below zero (validateBasicResource)."""
    if not quantities.is_quantity(amount):
        return []
    units = quantities.parse(amount).units()  # type: ignore[arg-type]
    return [invalid(path, units, "must be a valid resource quantity")] if units < 0 else []


def _affinity(affinity: Object, path: Path) -> list[FieldError]:
    needed = affinity.get("required")
    if needed is None:
        return [required(path / "required", "must specify required node constraints")]
    return node_selector_problems(needed, path / "required")


def _attributes_class(spec: Object) -> list[FieldError]:
    name, at = spec.get("volumeAttributesClassName"), _SPEC / "volumeAttributesClassName"
    if name is None:
        return []
    problems = name_problems(name, at) if name else [required(at, "an empty string is disallowed")]
    if spec.get("csi") is None:
        text = "has to be specified when using volumeAttributesClassName"
        problems.append(required(_SPEC / "csi", text))
    return problems


def _change(spec: Object, before: Object) -> list[FieldError]:
    """What may not change; upstream leaves `spec` out of some places."""
    problems: list[FieldError] = []
    if _sources(spec, before) != _sources(before, before):
        text = "spec.persistentvolumesource is immutable after creation"
        problems.append(forbidden(_SPEC / "persistentvolumesource", text))
    problems += validation.immutable(
        spec.get("volumeMode"), before.get("volumeMode"), Path("volumeMode")
    )
    was, now = before.get("nodeAffinity"), spec.get("nodeAffinity")
    if was is not None and now != was and now != _with_new_labels(was, now):
        text = "field is immutable, except for updating from beta label to GA"
        problems.append(invalid(Path("nodeAffinity"), rendered(now, "VolumeNodeAffinity"), text))
    field = "volumeAttributesClassName"
    if before.get(field) is not None and spec.get(field) is None:
        problems.append(forbidden(_SPEC / field, "update from non-nil value to nil is forbidden"))
    return problems


def _sources(spec: Object, before: Object) -> Object:
    """Where it is; who may expand it can be told later."""
    found = {field: spec[field] for field in PERSISTENT_ORDER if spec.get(field) is not None}
    expand = "controllerExpandSecretRef"
    if "csi" in found and (before.get("csi") or {}).get(expand) is None:
        found["csi"] = {key: value for key, value in found["csi"].items() if key != expand}
    return found


_NEW_LABELS = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}


def _expressions(affinity: Object | None) -> list[Object]:
    terms = ((affinity or {}).get("required") or {}).get("nodeSelectorTerms") or ()
    return [one for term in terms for one in term.get("matchExpressions") or ()]


def _with_new_labels(was: Object, now: Object | None) -> Object:
    made: Object = copy(was)
    for one, wanted in zip(_expressions(made), _expressions(now), strict=False):
        if _NEW_LABELS.get(one.get("key") or "") == wanted.get("key"):
            one["key"] = wanted["key"]
    return made


def warnings(new: Object, old: Object | None) -> list[str]:
    """GetWarningsForPersistentVolume."""
    spec = new.get("spec") or {}
    found = class_warnings(new)
    if _MOUNT_OPTIONS in (new["metadata"].get("annotations") or {}):
        found.append(
            f"metadata.annotations[{_MOUNT_OPTIONS}]: deprecated since v1.31;"
            ' use "mountOptions" attribute instead'
        )
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        found.append(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated."
            " Instead, the recommended approach is to use dynamic provisioning."
        )
    at = _SPEC / "nodeAffinity" / "required" / "nodeSelectorTerms"
    needed = (spec.get("nodeAffinity") or {}).get("required") or {}
    for index, term in enumerate(needed.get("nodeSelectorTerms") or ()):
        found += node_term_warnings(term, at / index)
    for field in ("cephfs", "photonPersistentDisk", "scaleIO", "storageos", "glusterfs", "rbd"):
        if spec.get(field) is not None:
            shown, text = GONE_VOLUMES[field]
            found.append(f"spec.{shown}: {text}")
            break
    return found


def class_warnings(obj: Object) -> list[str]:
    """The annotation that was before `storageClassName`."""
    if BETA_CLASS not in (obj["metadata"].get("annotations") or {}):
        return []
    where = f"metadata.annotations[{BETA_CLASS}]"
    return [f'{where}: deprecated since v1.8; use "storageClassName" attribute instead']
