"""Validation of where a pod may run: node selectors, affinity, tolerations, topology spread."""

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
)
from todoku.api.meta import Object
from todoku.api.selectors import selector_problems

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def affinity_problems(affinity: Object | None, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    if not affinity:
        return problems
    node = affinity.get("nodeAffinity")
    if node is not None:
        problems += _node_affinity(node, path / "nodeAffinity")
    for field in ("podAffinity", "podAntiAffinity"):
        if affinity.get(field) is not None:
            problems += _pod_affinity(affinity[field], path / field)
    return problems


def _node_affinity(affinity: Object, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    needed = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if needed is not None:
        problems += node_selector_problems(
            needed, path / "requiredDuringSchedulingIgnoredDuringExecution"
        )
    at = path / "preferredDuringSchedulingIgnoredDuringExecution"
    for index, one in enumerate(
        affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    ):
        problems += _weight(one, at / index)
        problems += node_term_problems(one.get("preference") or {}, at / index / "preference")
    return problems


def _weight(one: Object, path: Path) -> list[FieldError]:
    weight = one.get("weight") or 0
    return (
        []
        if 1 <= weight <= 100
        else [invalid(path / "weight", weight, "must be in the range 1-100")]
    )


def node_selector_problems(selector: Object, path: Path) -> list[FieldError]:
    """core/v1 NodeSelector."""
    terms = selector.get("nodeSelectorTerms") or ()
    if not terms:
        return [required(path / "nodeSelectorTerms", "must have at least one node selector term")]
    problems: list[FieldError] = []
    for index, term in enumerate(terms):
        problems += node_term_problems(term, path / "nodeSelectorTerms" / index)
    return problems


def node_term_problems(term: Object, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for index, one in enumerate(term.get("matchExpressions") or ()):
        problems += _node_requirement(one, path / "matchExpressions" / index)
    for index, one in enumerate(term.get("matchFields") or ()):
        problems += _field_requirement(one, path / "matchFields" / index)
    return problems


def _node_requirement(one: Object, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    operator, values = one.get("operator") or "", one.get("values") or ()
    if operator in ("In", "NotIn"):
        if not values:
            problems.append(
                required(path / "values", "must be specified when `operator` is 'In' or 'NotIn'")
            )
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            problems.append(forbidden(path / "values", text))
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            text = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            problems.append(required(path / "values", text))
    else:
        problems.append(invalid(path / "operator", operator, "not a valid selector operator"))
    key = one.get("key") or ""
    problems += [
        invalid(path / "key", key, text) for text in validation.qualified_name_problems(key)
    ]
    return problems


def _field_requirement(one: Object, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    operator, values = one.get("operator") or "", one.get("values") or ()
    if operator in ("In", "NotIn"):
        if len(values) != 1:
            text = (
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            )
            problems.append(required(path / "values", text))
    else:
        problems.append(invalid(path / "operator", operator, "not a valid selector operator"))
    if one.get("key") != "metadata.name":
        problems.append(
            invalid(path / "key", one.get("key") or "", "not a valid field selector key")
        )
    return problems


def _pod_affinity(affinity: Object, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    at = path / "requiredDuringSchedulingIgnoredDuringExecution"
    for index, term in enumerate(
        affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    ):
        problems += _pod_term(term, at / index)
    at = path / "preferredDuringSchedulingIgnoredDuringExecution"
    for index, one in enumerate(
        affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    ):
        problems += _weight(one, at / index)
        problems += _pod_term(one.get("podAffinityTerm") or {}, at / index / "podAffinityTerm")
    return problems


def _pod_term(term: Object, path: Path) -> list[FieldError]:
    problems = selector_problems(term.get("labelSelector"), path / "labelSelector")
    problems += selector_problems(term.get("namespaceSelector"), path / "namespaceSelector")
    for index, namespace in enumerate(term.get("namespaces") or ()):
        at = path / "namespace" / index
        problems += [invalid(at, namespace, text) for text in validation.dns1123_label(namespace)]
    key = term.get("topologyKey") or ""
    if not key:
        problems.append(required(path / "topologyKey", "can not be empty"))
    problems += [
        invalid(path / "topologyKey", key, text) for text in validation.qualified_name_problems(key)
    ]
    return problems


def toleration_problems(tolerations: Sequence[Object], path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for index, one in enumerate(tolerations):
        problems += _toleration(one, path / index)
    return problems


def _toleration(one: Object, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    key, operator, effect = one.get("key") or "", one.get("operator") or "", one.get("effect") or ""
    if key:
        problems += [
            invalid(path / "key", key, text) for text in validation.qualified_name_problems(key)
        ]
    elif operator != "Exists":
        text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        problems.append(invalid(path / "operator", operator, text))
    if one.get("tolerationSeconds") is not None and effect != "NoExecute":
        text = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        problems.append(invalid(path / "effect", effect, text))
    if operator in ("", "Equal"):
        value = one.get("value") or ""
        problems += [
            invalid(path / "operator", value, text)
            for text in validation.label_value_problems(value)
        ]
    elif operator == "Exists":
        if one.get("value"):
            text = "value must be empty when `operator` is 'Exists'"
            problems.append(invalid(path / "operator", one["value"], text))
    elif operator not in ("Gt", "Lt"):
        problems.append(not_supported(path / "operator", operator, ("Equal", "Exists")))
    if effect and effect not in TAINT_EFFECTS:
        problems.append(not_supported(path / "effect", effect, TAINT_EFFECTS))
    return problems


_UNSATISFIABLE = ("DoNotSchedule", "ScheduleAnyway")
_INCLUSION = ("Honor", "Ignore")


def spread_problems(constraints: Sequence[Object], path: Path) -> list[FieldError]:
    """topologySpreadConstraints."""
    problems: list[FieldError] = []
    pairs: set[tuple[str, str]] = set()
    for index, one in enumerate(constraints):
        at = path / index
        problems += _spread(one, at)
        pair = (one.get("topologyKey") or "", one.get("whenUnsatisfiable") or "")
        if pair in pairs:
            shown = "{" + f"{pair[0]}, {pair[1]}" + "}"
            problems.append(duplicate(at / "{topologyKey, whenUnsatisfiable}", shown))
        pairs.add(pair)
    return problems


def _spread(one: Object, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    if (one.get("maxSkew") or 0) <= 0:
        problems.append(
            invalid(at / "maxSkew", one.get("maxSkew") or 0, "must be greater than zero")
        )
    if not one.get("topologyKey"):
        problems.append(required(at / "topologyKey", "can not be empty"))
    action = one.get("whenUnsatisfiable") or ""
    if action not in _UNSATISFIABLE:
        problems.append(not_supported(at / "whenUnsatisfiable", action, _UNSATISFIABLE))
    minimum = one.get("minDomains")
    if minimum is not None:
        if minimum <= 0:
            problems.append(invalid(at / "minDomains", minimum, "must be greater than zero"))
        if action != "DoNotSchedule":
            text = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
            problems.append(invalid(at / "minDomains", minimum, text))
    for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        if one.get(field) is not None and one[field] not in _INCLUSION:
            problems.append(not_supported(at / field, one[field], _INCLUSION))
    problems += selector_problems(one.get("labelSelector"), at / "labelSelector")
    return problems
