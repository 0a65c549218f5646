"""StatefulSet (apps/v1)."""

from __future__ import annotations

from todoku.api.errors import FieldError, Path, forbidden, invalid, not_supported, required
from todoku.api.formats import each
from todoku.api.internals import rendered
from todoku.api.meta import Object
from todoku.api.podspec import TemplateRules, default_template, validate_template
from todoku.api.podspec.claims import claim_spec_problems
from todoku.api.resource import Column, Strategy
from todoku.api.resources import workloads
from todoku.api.resources.deployment import CONTAINERS, IMAGES
from todoku.api.resources.generic import AGE, NAME, keep_all_but_status, keep_status
from todoku.api.resources.rules import Rules
from todoku.api.resources.templates import containers_cell, images_cell
from todoku.api.resources.workloads import SPEC
from todoku.api.selectors import selector_problems
from todoku.api.tables import created
from todoku.api.validation import (
    annotation_problems,
    dns1123_label,
    label_problems,
    non_negative,
)

_RULES = TemplateRules(workload="StatefulSet")
_POLICIES = ("OrderedReady", "Parallel")
_RETENTION = ("Retain", "Delete")


def _default(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    default_template(spec.setdefault("template", {}))
    if not spec.get("podManagementPolicy"):
        spec["podManagementPolicy"] = "OrderedReady"
    strategy = spec.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.get("rollingUpdate")
        if rolling is None:
            rolling = strategy["rollingUpdate"] = {}
        if rolling.get("partition") is None:
            rolling["partition"] = 0
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    for field in ("whenDeleted", "whenScaled"):
        if not retention.get(field):
            retention[field] = "Retain"
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    for claim in spec.get("volumeClaimTemplates") or ():
        claim.setdefault("kind", "PersistentVolumeClaim")
        claim.setdefault("apiVersion", "v1")
        claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
        claim["status"] = {"phase": "Pending"}


def _prepare_create(obj: Object) -> None:
    obj["status"] = {"replicas": 0, "availableReplicas": 0}


def _validate(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    problems = _policies(spec)
    if old is None:
        for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            at = SPEC / "volumeClaimTemplates" / index / "spec"
            problems += claim_spec_problems(claim.get("spec") or {}, at)
    for field in ("replicas", "minReadySeconds"):
        problems += non_negative(spec.get(field), SPEC / field)
    start = (spec.get("ordinals") or {}).get("start")
    problems += non_negative(start, SPEC / "ordinals.start")
    if old is None and spec.get("serviceName"):
        problems += each(dns1123_label, spec["serviceName"], SPEC / "serviceName")
    text = "empty selector is invalid for statefulset"
    problems += workloads.needed_selector(spec, empty_is=text)
    problems += _template_problems(spec, old)
    if old is not None:
        problems += _update_problems(new, old)
    return problems


def _policies(spec: Object) -> list[FieldError]:
    problems: list[FieldError] = []
    policy = spec.get("podManagementPolicy") or ""
    if policy not in _POLICIES:
        text = f"must be '{_POLICIES[0]}' or '{_POLICIES[1]}'"
        problems.append(invalid(SPEC / "podManagementPolicy", policy, text))
    problems += _strategy(spec.get("updateStrategy") or {}, SPEC / "updateStrategy")
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for field in ("whenDeleted", "whenScaled"):
        if retention.get(field) not in _RETENTION:
            at = SPEC / "persistentVolumeClaimRetentionPolicy" / field
            problems.append(not_supported(at, retention.get(field), _RETENTION))
    return problems


def _template_problems(spec: Object, old: Object | None) -> list[FieldError]:
    """The template with the set's claims; its labels and annotations are looked at once more.

    A template that was stored broken may stay so: only its labels are checked then.
    """
    if selector_problems(spec.get("selector"), SPEC / "selector"):
        return [invalid(SPEC / "selector", spec.get("selector"), "")]
    template, path = spec.get("template") or {}, SPEC / "template"
    problems = workloads.labels_mismatch(spec.get("selector"), template, path)
    checked = validate_template(_as_checked(spec), path, _RULES)
    if old is None or not checked or not _broken(old["spec"], path):
        problems += checked
    metadata = template.get("metadata") or {}
    problems += label_problems(metadata.get("labels"), path / "labels")
    return problems + annotation_problems(metadata.get("annotations"), path / "annotations")


def _broken(spec: Object, path: Path) -> bool:
    return bool(validate_template(_as_checked(spec), path, _RULES))


def _as_checked(spec: Object) -> Object:
    """Claims of the set count as volumes of its template; host name and subdomain are the controller's."""
    claims = [
        (one.get("metadata") or {}).get("name", "")
        for one in spec.get("volumeClaimTemplates") or ()
    ]
    template: Object = spec.get("template") or {}
    pod = template.get("spec") or {}
    others = {key: value for key, value in pod.items() if key not in ("hostname", "subdomain")}
    if claims:
        own = [one for one in pod.get("volumes") or () if one.get("name") not in claims]
        made = [
            {"name": name, "persistentVolumeClaim": {"claimName": name}}
            for name in dict.fromkeys(claims)
        ]
        others["volumes"] = [*made, *own]
    return {**template, "spec": others}


def _strategy(strategy: Object, path: Path) -> list[FieldError]:
    kind, rolling = strategy.get("type") or "", strategy.get("rollingUpdate")
    at = path / "rollingUpdate"
    if not kind:
        return [required(path)]
    if kind == "OnDelete":
        if rolling is not None:
            shown = rendered(rolling, "RollingUpdateStatefulSetStrategy")
            return [invalid(at, shown, "only allowed for updateStrategy 'RollingUpdate'")]
        return []
    if kind != "RollingUpdate":
        shown = rendered(strategy, "StatefulSetUpdateStrategy")
        return [invalid(path, shown, "must be 'RollingUpdate' or 'OnDelete'")]
    problems = non_negative((rolling or {}).get("partition"), at / "partition")
    value = (rolling or {}).get("maxUnavailable")
    if value is not None:
        problems += workloads.int_or_percent_problems(value, at / "maxUnavailable")
        if workloads.is_zero(value):
            problems.append(invalid(at / "maxUnavailable", value, "cannot be 0"))
        problems += workloads.above_hundred_percent(value, at / "maxUnavailable")
    return problems


_CHANGEABLE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip
_UPDATE_TEXT = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def _update_problems(new: Object, old: Object) -> list[FieldError]:
    after, before = new["spec"], old["spec"]
    keys = (set(after) | set(before)) - set(_CHANGEABLE)
    if any((after.get(key) or None) != (before.get(key) or None) for key in keys):
        return [forbidden(SPEC, _UPDATE_TEXT)]
    return []


_COUNTS = (
    "replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas", "observedGeneration",
    "collisionCount",
)  # fmt: skip


def _validate_status(new: Object, old: Object) -> list[FieldError]:
    status = new.get("status") or {}
    problems = workloads.count_problems(status, _COUNTS)
    problems += workloads.above_replicas(
        status,
        ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"),
        unready_is="cannot be greater than status.readyReplicas",
    )
    return problems + workloads.collisions_decremented(new, old)


def _row(obj: Object) -> list[object]:
    spec, status = obj["spec"], obj.get("status") or {}
    pod = (spec.get("template") or {}).get("spec") or {}
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    return [obj["metadata"]["name"], ready, created(obj), containers_cell(pod), images_cell(pod)]


STATEFUL_SET = Rules(
    strategy=Strategy(
        default=_default,
        prepare_create=_prepare_create,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=_validate,
        validate_status=_validate_status,
        warnings=workloads.warnings,
    ),
    columns=(
        NAME,
        Column(name="Ready", description="Number of the pod with ready state"),
        AGE,
        CONTAINERS,
        IMAGES,
    ),
    row=_row,
)
