"""StatefulSet (apps/v1)."""

from __future__ import annotations

from todoku.api.errors import FieldError, Path, forbidden, invalid, not_supported, required
from todoku.api.meta import Object, copy
from todoku.api.podspec import TemplateRules, default_template
from todoku.api.resource import Column, Strategy
from todoku.api.resources import workloads
from todoku.api.resources.deployment import CONTAINERS, IMAGES
from todoku.api.resources.generic import AGE, NAME, keep_all_but_status, keep_status
from todoku.api.resources.rules import Rules
from todoku.api.resources.templates import containers_cell, images_cell
from todoku.api.resources.workloads import SPEC
from todoku.api.tables import created
from todoku.api.validation import non_negative

_RULES = TemplateRules(workload="StatefulSet")
_POLICIES = ("OrderedReady", "Parallel")
_RETENTION = ("Delete", "Retain")


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
    problems: list[FieldError] = []
    policy = spec.get("podManagementPolicy") or ""
    if policy not in _POLICIES:
        text = f"must be '{_POLICIES[0]}' or '{_POLICIES[1]}'"
        problems.append(invalid(SPEC / "podManagementPolicy", policy, text))
    problems += _strategy(spec.get("updateStrategy") or {}, SPEC / "updateStrategy")
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for field in ("whenScaled", "whenDeleted"):
        if retention.get(field) not in _RETENTION:
            at = SPEC / "persistentVolumeClaimRetentionPolicy" / field
            problems.append(not_supported(at, retention.get(field), _RETENTION))
    for field in ("replicas", "minReadySeconds", "revisionHistoryLimit"):
        problems += non_negative(spec.get(field), SPEC / field)
    start = (spec.get("ordinals") or {}).get("start")
    problems += non_negative(start, SPEC / "ordinals" / "start")
    text = "empty selector is invalid for statefulset"
    problems += workloads.selector_and_template(spec, rules=_RULES, empty_is=text)
    problems += workloads.template_problems(_with_claims(spec), rules=_RULES)
    if old is not None:
        problems += _update_problems(new, old)
    return problems


def _with_claims(spec: Object) -> Object:
    """Claims of the set count as volumes of its template."""
    claims = [one.get("metadata", {}).get("name") for one in spec.get("volumeClaimTemplates") or ()]
    if not claims or not spec.get("template"):
        return spec
    widened: Object = copy(spec)
    pod = widened["template"].setdefault("spec", {})
    own = {volume.get("name") for volume in pod.get("volumes") or ()}
    pod["volumes"] = [
        *(pod.get("volumes") or ()),
        *(
            {"name": name, "persistentVolumeClaim": {"claimName": name}}
            for name in claims
            if name not in own
        ),
    ]
    return widened


def _strategy(strategy: Object, path: Path) -> list[FieldError]:
    kind = strategy.get("type") or ""
    if not kind:
        return [required(path)]
    if kind == "OnDelete":
        if strategy.get("rollingUpdate") is not None:
            text = "only allowed for updateStrategy 'RollingUpdate'"
            return [invalid(path / "rollingUpdate", strategy["rollingUpdate"], text)]
        return []
    if kind != "RollingUpdate":
        return [invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'")]
    rolling, at = strategy.get("rollingUpdate") or {}, path / "rollingUpdate"
    problems = non_negative(rolling.get("partition"), at / "partition")
    if rolling.get("maxUnavailable") is not None:
        value = rolling["maxUnavailable"]
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
    if any(after.get(key) != before.get(key) for key in keys):
        return [forbidden(SPEC, _UPDATE_TEXT)]
    return []


_COUNTS = (
    "replicas",
    "readyReplicas",
    "currentReplicas",
    "updatedReplicas",
    "availableReplicas",
    "observedGeneration",
    "collisionCount",
)


def _validate_status(new: Object, old: Object) -> list[FieldError]:
    status, path = new.get("status") or {}, Path("status")
    problems = [one for field in _COUNTS for one in non_negative(status.get(field), path / field)]
    for field in ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"):
        if status.get(field, 0) > status.get("replicas", 0):
            problems.append(
                invalid(
                    path / field, status.get(field, 0), "cannot be greater than status.replicas"
                )
            )
    return problems


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
