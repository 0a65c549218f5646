"""FlowSchema and PriorityLevelConfiguration (flowcontrol.apiserver.k8s.io/v1)."""

from __future__ import annotations

from todoku.api.errors import FieldError, Path, forbidden, invalid, not_supported, required
from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import AGE, NAME, clear_status, keep_all_but_status, keep_status
from todoku.api.resources.rules import Rules
from todoku.api.tables import created
from todoku.api.validation import in_range, non_negative

_SPEC = Path("spec")


def _default_schema(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if not spec.get("matchingPrecedence"):
        spec["matchingPrecedence"] = 1000


_SUBJECTS = {"User": "user", "Group": "group", "ServiceAccount": "serviceAccount"}


def _validate_schema(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    problems = in_range(spec.get("matchingPrecedence") or 0, 1, 10000, _SPEC / "matchingPrecedence")
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in ("ByNamespace", "ByUser"):
        at = _SPEC / "distinguisherMethod" / "type"
        problems.append(not_supported(at, method.get("type") or "", ("ByNamespace", "ByUser")))
    if not (spec.get("priorityLevelConfiguration") or {}).get("name"):
        problems.append(
            required(
                _SPEC / "priorityLevelConfiguration" / "name", "must reference a priority level"
            )
        )
    for index, rule in enumerate(spec.get("rules") or ()):
        problems += _rule(rule, _SPEC / "rules" / index)
    return problems


def _rule(rule: Object, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    if not rule.get("subjects"):
        problems.append(required(at / "subjects", "subjects must contain at least one value"))
    for index, subject in enumerate(rule.get("subjects") or ()):
        where, kind = at / "subjects" / index, subject.get("kind") or ""
        field = _SUBJECTS.get(kind)
        if field is None:
            problems.append(not_supported(where / "kind", kind, tuple(sorted(_SUBJECTS))))
        elif subject.get(field) is None:
            problems.append(
                required(where / field, f"{field} is required when subject kind is '{kind}'")
            )
        for other_kind, other in _SUBJECTS.items():
            if kind in _SUBJECTS and other_kind != kind and subject.get(other) is not None:
                text = f"{other} is forbidden when subject kind is not '{other_kind}'"
                problems.append(forbidden(where / other, text))
    if not rule.get("resourceRules") and not rule.get("nonResourceRules"):
        text = "at least one of resourceRules and nonResourceRules has to be non-empty"
        problems.append(required(at, text))
    for field, needed in (
        ("resourceRules", ("verbs", "apiGroups", "resources")),
        ("nonResourceRules", ("verbs", "nonResourceURLs")),
    ):
        for index, one in enumerate(rule.get(field) or ()):
            problems += [
                required(at / field / index / name, f"{name} must contain at least one value")
                for name in needed
                if not one.get(name)
            ]
    return problems


def _schema_row(obj: Object) -> list[object]:
    spec = obj.get("spec") or {}
    method = spec.get("distinguisherMethod")
    missing = "?"
    for one in (obj.get("status") or {}).get("conditions") or ():
        if one.get("type") == "Dangling":
            missing = str(one.get("status", "?"))
    return [
        obj["metadata"]["name"],
        (spec.get("priorityLevelConfiguration") or {}).get("name", ""),
        spec.get("matchingPrecedence", 0),
        method.get("type", "") if method else "<none>",
        created(obj),
        missing,
    ]


FLOW_SCHEMA = Rules(
    strategy=Strategy(
        default=_default_schema,
        prepare_create=clear_status,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=_validate_schema,
    ),
    columns=(
        NAME,
        Column(
            name="PriorityLevel",
            documents="flowcontrol.v1.PriorityLevelConfigurationReference.name",
        ),
        Column(
            name="MatchingPrecedence", documents="flowcontrol.v1.FlowSchemaSpec.matchingPrecedence"
        ),
        Column(
            name="DistinguisherMethod",
            documents="flowcontrol.v1.FlowSchemaSpec.distinguisherMethod",
        ),
        AGE,
        Column(
            name="MissingPL",
            description="references a broken or non-existent PriorityLevelConfiguration",
        ),
    ),
    row=_schema_row,
    row_order=lambda obj: (obj["spec"].get("matchingPrecedence", 0), obj["metadata"]["name"]),
)


def _default_level(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("type") == "Exempt":
        exempt = spec.get("exempt")
        if exempt is None:
            exempt = spec["exempt"] = {}
        for field in ("nominalConcurrencyShares", "lendablePercent"):
            if exempt.get(field) is None:
                exempt[field] = 0
    limited = spec.get("limited")
    if limited is not None:
        if limited.get("nominalConcurrencyShares") is None:
            limited["nominalConcurrencyShares"] = 30
        if limited.get("lendablePercent") is None:
            limited["lendablePercent"] = 0
        queuing = (limited.get("limitResponse") or {}).get("queuing")
        if queuing is not None:
            for field, value in (("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)):
                if not queuing.get(field):
                    queuing[field] = value


def _validate_level(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    kind, limited = spec.get("type") or "", spec.get("limited")
    if kind == "Exempt":
        if limited is not None:
            text = "must be nil if the type is not Limited"
            return [forbidden(_SPEC / "limited", text)]
        return []
    if kind != "Limited":
        return [not_supported(_SPEC / "type", kind, ("Exempt", "Limited"))]
    if limited is None:
        return [required(_SPEC / "limited", "must not be empty when type is Limited")]
    at = _SPEC / "limited"
    problems = non_negative(
        limited.get("nominalConcurrencyShares"), at / "nominalConcurrencyShares"
    )
    problems += in_range(limited.get("lendablePercent") or 0, 0, 100, at / "lendablePercent")
    response = limited.get("limitResponse") or {}
    if response.get("type") not in ("Queue", "Reject"):
        where = at / "limitResponse" / "type"
        return [*problems, not_supported(where, response.get("type") or "", ("Queue", "Reject"))]
    queuing = response.get("queuing")
    where = at / "limitResponse" / "queuing"
    if response["type"] == "Reject":
        if queuing is not None:
            problems.append(
                forbidden(where, "must be nil if limited.limitResponse.type is not Limited")
            )
        return problems
    if queuing is None:
        text = "must not be empty if limited.limitResponse.type is Limited"
        return [*problems, required(where, text)]
    for field in ("queueLengthLimit", "queues"):
        if (queuing.get(field) or 0) <= 0:
            problems.append(invalid(where / field, queuing.get(field) or 0, "must be positive"))
    if (queuing.get("handSize") or 0) > (queuing.get("queues") or 0):
        text = f"should not be greater than queues ({queuing.get('queues')})"
        problems.append(invalid(where / "handSize", queuing.get("handSize"), text))
    return problems


def _level_row(obj: Object) -> list[object]:
    spec = obj.get("spec") or {}
    limited = spec.get("limited") or {}
    queuing = (limited.get("limitResponse") or {}).get("queuing") or {}
    return [
        obj["metadata"]["name"],
        spec.get("type", ""),
        limited.get("nominalConcurrencyShares", "<none>"),
        queuing.get("queues", "<none>"),
        queuing.get("handSize", "<none>"),
        queuing.get("queueLengthLimit", "<none>"),
        created(obj),
    ]


PRIORITY_LEVEL = Rules(
    strategy=Strategy(
        default=_default_level,
        prepare_create=clear_status,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=_validate_level,
    ),
    columns=(
        NAME,
        Column(name="Type", documents="flowcontrol.v1.PriorityLevelConfigurationSpec.type"),
        Column(
            name="NominalConcurrencyShares",
            documents="flowcontrol.v1.LimitedPriorityLevelConfiguration.nominalConcurrencyShares",
        ),
        Column(name="Queues", documents="flowcontrol.v1.QueuingConfiguration.queues"),
        Column(name="HandSize", documents="flowcontrol.v1.QueuingConfiguration.handSize"),
        Column(
            name="QueueLengthLimit",
            documents="flowcontrol.v1.QueuingConfiguration.queueLengthLimit",
        ),
        AGE,
    ),
    row=_level_row,
)
