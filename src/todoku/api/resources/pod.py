"""Pod and PodTemplate (core/v1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from todoku.api import validation
from todoku.api.errors import FieldError, Path, forbidden, invalid
from todoku.api.meta import Object, copy
from todoku.api.podspec import (
    default_pod_spec,
    default_template,
    validate_pod_spec,
    validate_template,
)
from todoku.api.podspec.annotations import annotation_change_problems, annotation_problems
from todoku.api.podspec.containers import image_space_problems
from todoku.api.podspec.defaults import containers_of, default_pod_only
from todoku.api.podspec.gated import gated_problems
from todoku.api.podspec.qos import qos_class
from todoku.api.podspec.scheduling import apply_label_keys, toleration_problems
from todoku.api.podspec.security import (
    APPARMOR_CONTAINER,
    apparmor_of_annotation,
    profile_match_problems,
)
from todoku.api.podspec.spec import containers_with_paths
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import NAME, keep_all_but_status, keep_status
from todoku.api.resources.pod_columns import COLUMNS, row
from todoku.api.resources.pod_status import validate_status
from todoku.api.resources.pod_warnings import pod_warnings, template_warnings
from todoku.api.resources.rules import Rules
from todoku.api.resources.templates import containers_cell, images_cell

_SPEC = Path("spec")
_ANNOTATIONS = Path("metadata") / "annotations"


def _default(pod: Object) -> None:
    spec = pod.setdefault("spec", {})
    default_pod_spec(spec)
    default_pod_only(spec)


def _prepare_create(pod: Object) -> None:
    spec, metadata = pod["spec"], pod["metadata"]
    pod["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}
    if spec.get("schedulingGates"):
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "lastProbeTime": None,
            "lastTransitionTime": metadata.get("creationTimestamp"),
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }
        pod["status"]["conditions"] = [condition]
    if "affinity" in spec or "topologySpreadConstraints" in spec:
        apply_label_keys(spec, metadata.get("labels") or {})
    if metadata.get("annotations"):
        _apparmor_from_annotations(spec, metadata["annotations"])


def _apparmor_from_annotations(spec: Object, annotations: Mapping[str, str]) -> None:
    """A container's profile out of the annotation that it replaced, in place (applyAppArmorVersionSkew)."""
    of_pod = (spec.get("securityContext") or {}).get("appArmorProfile")
    for container in containers_of(spec):
        value = annotations.get(f"{APPARMOR_CONTAINER}{container.get('name')}")
        context = container.get("securityContext") or {}
        if value is None or context.get("appArmorProfile") is not None:
            continue
        profile = apparmor_of_annotation(value)
        if profile is not None and profile != of_pod:
            container["securityContext"] = {**context, "appArmorProfile": profile}


def _prepare_update(new: Object, old: Object) -> None:
    keep_status(new, old)


def _prepare_status(new: Object, old: Object) -> None:
    keep_all_but_status(new, old)
    owners = old["metadata"].get("ownerReferences")
    if owners is None:
        new["metadata"].pop("ownerReferences", None)
    else:
        new["metadata"]["ownerReferences"] = owners
    before, after = old.get("status") or {}, new.setdefault("status", {})
    if not after.get("qosClass") and "qosClass" in before:
        after["qosClass"] = before["qosClass"]
    _keep_observed_generation(after, before)


def _keep_observed_generation(after: Object, before: Object) -> None:
    """Clients that do not know observedGeneration do not clear it (preserveOldObservedGeneration)."""
    if not after.get("observedGeneration") and before.get("observedGeneration"):
        after["observedGeneration"] = before["observedGeneration"]
    known: dict[str, list[int]] = {}
    for one in before.get("conditions") or ():
        known.setdefault(one.get("type", ""), []).append(one.get("observedGeneration") or 0)
    for one in after.get("conditions") or ():
        generations = known.get(one.get("type", ""))
        generation = generations.pop(0) if generations else 0
        if generation and not one.get("observedGeneration"):
            one["observedGeneration"] = generation


def _validate(new: Object, old: Object | None) -> list[FieldError]:
    if old is None:
        return _create_problems(new)
    return update_problems(new, old)


def _create_problems(pod: Object) -> list[FieldError]:
    spec, metadata = pod["spec"], pod["metadata"]
    problems = whole_problems(pod)
    if spec.get("ephemeralContainers"):
        problems.append(forbidden(_SPEC / "ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        text = "cannot be set until all schedulingGates have been cleared"
        problems.append(forbidden(_SPEC / "nodeName", text))
    annotations = metadata.get("annotations")
    if annotations:
        listed = containers_with_paths(spec, _SPEC)
        problems += profile_match_problems(annotations, spec, _SPEC, listed)
    return problems


def whole_problems(pod: Object) -> list[FieldError]:
    """What any pod must be like (validatePodMetadataAndSpec)."""
    spec, metadata = pod["spec"], pod["metadata"]
    problems: list[FieldError] = []
    if metadata.get("annotations"):
        problems += annotation_problems(metadata["annotations"], spec, _ANNOTATIONS)
    problems += validate_pod_spec(spec, _SPEC, pod=True, pod_name=metadata.get("name") or "")
    if not spec.get("serviceAccountName"):
        problems += _tokens_without_account(spec)
    for field in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(field) or ()):
            if container.get("image", "") != container.get("image", "").strip():
                problems += image_space_problems(container, _SPEC / field / index)
    return problems


def _tokens_without_account(spec: Object) -> list[FieldError]:
    text = "must not be specified when serviceAccountName is not set"
    return [
        forbidden(
            _SPEC / "volumes" / index / "projected" / "sources" / number / "serviceAccountToken",
            text,
        )
        for index, volume in enumerate(spec.get("volumes") or ())
        for number, source in enumerate((volume.get("projected") or {}).get("sources") or ())
        if source.get("serviceAccountToken") is not None
    ]


_UPDATE_TEXT = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def update_problems(new: Object, old: Object) -> list[FieldError]:
    """What may change in a pod (ValidatePodUpdate).  A spec that stays was judged when it came."""
    fresh, stored = new["spec"], old["spec"]
    same = fresh == stored
    problems = _annotation_changes(new, old) if same else whole_problems(new)
    if same:
        return problems
    problems += _annotation_changes(new, old)
    for field in ("containers", "initContainers"):
        before, after = stored.get(field) or (), fresh.get(field) or ()
        if len(before) != len(after):
            text = "pod updates may not add or remove containers"
            return [*problems, forbidden(_SPEC / field, text)]
    stop, found = _deadline_problems(fresh, stored)
    problems += found
    if stop:
        return problems
    problems += _toleration_problems(fresh, stored)
    problems += _gate_problems(fresh, stored)
    if stored.get("schedulingGates"):
        problems += gated_problems(fresh, stored)
    changed = changed_fields(stored, _with_allowed_undone(fresh, stored))
    if changed:
        problems.append(forbidden(_SPEC, f"{_UPDATE_TEXT}\n{', '.join(changed)}"))
    return problems


def _annotation_changes(new: Object, old: Object) -> list[FieldError]:
    after = new["metadata"].get("annotations") or {}
    before = old["metadata"].get("annotations") or {}
    problems = annotation_change_problems(after, before, _ANNOTATIONS)
    if after != before:
        problems += annotation_problems(after, new["spec"], _ANNOTATIONS)
    return problems


def _deadline_problems(fresh: Object, stored: Object) -> tuple[bool, list[FieldError]]:
    """Whether nothing else is worth saying, and what is wrong."""
    before, after = stored.get("activeDeadlineSeconds"), fresh.get("activeDeadlineSeconds")
    path = _SPEC / "activeDeadlineSeconds"
    if after is not None:
        problems = validation.in_range(after, 0, 2**31 - 1, path)
        if not problems and before is not None and after > before:
            problems.append(invalid(path, after, "must be less than or equal to previous value"))
        return bool(problems), problems
    if before is not None:
        text = "must not update from a positive integer to nil value"
        return False, [invalid(path, after, text)]
    return False, []


def _toleration_problems(fresh: Object, stored: Object) -> list[FieldError]:
    after = fresh.get("tolerations") or []
    for one in stored.get("tolerations") or ():
        if not any(_same_toleration(one, other) for other in after):
            text = "existing toleration can not be modified except its tolerationSeconds"
            return [forbidden(_SPEC / "tolerations", text)]
    return toleration_problems(after, _SPEC / "tolerations")


def _same_toleration(one: Object, other: Object) -> bool:
    return {k: v for k, v in one.items() if k != "tolerationSeconds"} == {
        k: v for k, v in other.items() if k != "tolerationSeconds"
    }


def _gate_problems(fresh: Object, stored: Object) -> list[FieldError]:
    before = {gate.get("name") for gate in stored.get("schedulingGates") or ()}
    text = "only deletion is allowed, but found new scheduling gate"
    return [
        forbidden(_SPEC / "schedulingGates" / index / "name", f"{text} '{gate.get('name', '')}'")
        for index, gate in enumerate(fresh.get("schedulingGates") or ())
        if gate.get("name") not in before
    ]


def _with_allowed_undone(fresh: Object, stored: Object) -> Object:
    """The new spec with every change that is allowed, or was judged by itself, taken back."""
    undone: Object = copy(fresh)
    for field in ("containers", "initContainers"):
        for after, before in zip(undone.get(field) or (), stored.get(field) or (), strict=True):
            after["image"] = before.get("image")
    fields = ["activeDeadlineSeconds", "tolerations", "schedulingGates"]
    grace = "terminationGracePeriodSeconds"
    if stored.get(grace, 0) < 0 and fresh.get(grace) == 1:
        fields.append(grace)
    if stored.get("schedulingGates"):
        fields.append("nodeSelector")
        _undo_node_affinity(undone, stored)
    for field in fields:
        if field in stored:
            undone[field] = stored[field]
        else:
            undone.pop(field, None)
    return undone


def _undo_node_affinity(undone: Object, stored: Object) -> None:
    before = (stored.get("affinity") or {}).get("nodeAffinity")
    affinity = dict(undone.get("affinity") or {})
    affinity.pop("nodeAffinity", None)
    if before is not None:
        affinity["nodeAffinity"] = before
    if affinity or "affinity" in stored:
        undone["affinity"] = affinity
    else:
        undone.pop("affinity", None)


def changed_fields(one: Any, other: Any, prefix: str = "spec") -> list[str]:
    """Paths at which two values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(set(one) | set(other))
        return [
            path
            for key in keys
            for path in changed_fields(one.get(key), other.get(key), f"{prefix}.{key}")
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [
            path for index, (a, b) in pairs for path in changed_fields(a, b, f"{prefix}[{index}]")
        ]
    if one == other or (not one and not other):
        return []
    return [prefix]


def selectable(pod: Object) -> dict[str, str]:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    ips = status.get("podIPs") or ()
    return {
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.restartPolicy": spec.get("restartPolicy", ""),
        "spec.schedulerName": spec.get("schedulerName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "spec.hostNetwork": "true" if spec.get("hostNetwork") else "false",
        "status.phase": status.get("phase", ""),
        "status.podIP": ips[0].get("ip", "") if ips else status.get("podIP", ""),
        "status.podIPs": "",  # may be asked for, and is never set
        "status.nominatedNodeName": status.get("nominatedNodeName", ""),
    }


def grace_seconds(pod: Object) -> int:
    """The grace of a plain delete: none for pods that are not on a node or have ended."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in ("Failed", "Succeeded"):
        return 0
    seconds = int(spec.get("terminationGracePeriodSeconds", 30))
    return 1 if seconds < 0 else seconds


POD = Rules(
    strategy=Strategy(
        default=_default,
        prepare_create=_prepare_create,
        prepare_update=_prepare_update,
        prepare_status=_prepare_status,
        validate=_validate,
        validate_status=validate_status,
        warnings=pod_warnings,
        selectable_fields=selectable,
        selectable_field_names=tuple(selectable({})),
        graceful=grace_seconds,
        delete_returns_object=True,
    ),
    columns=COLUMNS,
    row=row,
)


def _default_pod_template(obj: Object) -> None:
    default_template(obj.setdefault("template", {}))


def _validate_pod_template(new: Object, old: Object | None) -> list[FieldError]:
    return validate_template(new["template"], Path("template"))


def _template_row(obj: Object) -> list[object]:
    spec = obj["template"].get("spec") or {}
    labels = obj["template"].get("metadata", {}).get("labels") or {}
    shown = ",".join(f"{key}={labels[key]}" for key in sorted(labels)) or "<none>"
    return [obj["metadata"]["name"], containers_cell(spec), images_cell(spec), shown]


POD_TEMPLATE = Rules(
    strategy=Strategy(
        default=_default_pod_template,
        validate=_validate_pod_template,
        warnings=lambda new, old: template_warnings(new.get("template") or {}, "template"),
        has_status=False,
        has_generation=True,
        delete_returns_object=True,
    ),
    columns=(
        NAME,
        Column(name="Containers", description="Names of each container in the template."),
        Column(name="Images", description="Images referenced by each container in the template."),
        Column(name="Pod Labels", description="The labels for the pod template."),
    ),
    row=_template_row,
)
