"""FlowSchema and PriorityLevelConfiguration (flowcontrol.apiserver.k8s.io/v1)."""

from __future__ import annotations

from todoku.api.errors import FieldError, Path, duplicate, required
from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.flowcontrol_validation import level_problems, schema_problems
from todoku.api.resources.generic import (
    AGE,
    NAME,
    clear_status,
    keep_all_but_own_status,
    keep_status,
)
from todoku.api.resources.rules import Rules
from todoku.api.tables import created


def _default_schema(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if not spec.get("matchingPrecedence"):
        spec["matchingPrecedence"] = 1000


def _validate_schema(new: Object, old: Object | None) -> list[FieldError]:
    return schema_problems(new) + _condition_types(new.get("status") or {})


def _validate_level(new: Object, old: Object | None) -> list[FieldError]:
    return level_problems(new) + _condition_types(new.get("status") or {})


def _validate_status(new: Object, old: Object) -> list[FieldError]:
    return _condition_types(new.get("status") or {})


def _condition_types(status: Object) -> list[FieldError]:
    problems: list[FieldError] = []
    seen: set[str] = set()
    for index, one in enumerate(status.get("conditions") or ()):
        at, kind = Path("status") / "conditions" / index / "type", one.get("type") or ""
        if kind in seen:
            problems.append(duplicate(at, kind))
        seen.add(kind)
        if not kind:
            problems.append(required(at, "must not be empty"))
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
        prepare_status=keep_all_but_own_status,
        validate=_validate_schema,
        validate_status=_validate_status,
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
        prepare_status=keep_all_but_own_status,
        validate=_validate_level,
        validate_status=_validate_status,
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
