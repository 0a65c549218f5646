"""Validation of where a pod may run: node selectors, affinity, tolerations, topology spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
        term = one.get("preference") or {}
        problems += node_term_problems(term, at / index / "preference", check_values=False)
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


def node_term_problems(term: Object, path: Path, *, check_values: bool = True) -> list[FieldError]:
    """One term; what is only preferred may look for values that no label can have."""
    problems: list[FieldError] = []
    for index, one in enumerate(term.get("matchExpressions") or ()):
        problems += _node_requirement(one, path / "matchExpressions" / index, check_values)
    for index, one in enumerate(term.get("matchFields") or ()):
        problems += _field_requirement(one, path / "matchFields" / index)
    return problems


def _node_requirement(one: Object, path: Path, check_values: bool) -> list[FieldError]:
    problems: list[FieldError] = []
    operator, values = one.get("operator") or "", one.get("values") or ()
    if operator in ("In", "NotIn"):
        if not values:
            text = "must be specified when `operator` is 'In' or 'NotIn'"
            problems.append(required(path / "values", text))
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
    for index, value in enumerate(values if check_values else ()):
        texts = validation.label_value_problems(value)
        problems += [invalid(path / "values" / index, value, text) for text in texts]
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
        text = "not a valid field selector key"
        return [*problems, invalid(path / "key", one.get("key") or "", text)]
    for index, value in enumerate(values):
        texts = validation.dns1123_subdomain(value)
        problems += [invalid(path / "values" / index, value, text) for text in texts]
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
    for namespace in term.get("namespaces") or ():
        texts = validation.dns1123_label(namespace)
        problems += [invalid(path / "namespace", namespace, text) for text in texts]
    problems += _term_label_keys(term, path)
    key = term.get("topologyKey") or ""
    if not key:
        problems.append(required(path / "topologyKey", "can not be empty"))
    problems += [
        invalid(path / "topologyKey", key, text) for text in validation.qualified_name_problems(key)
    ]
    return problems


def _term_label_keys(term: Object, path: Path) -> list[FieldError]:
    """matchLabelKeys and mismatchLabelKeys (validateMatchLabelKeysAndMismatchLabelKeys)."""
    wanted, unwanted = term.get("matchLabelKeys") or (), term.get("mismatchLabelKeys") or ()
    selector = term.get("labelSelector")
    problems: list[FieldError] = []
    for field, keys in (("matchLabelKeys", wanted), ("mismatchLabelKeys", unwanted)):
        if keys and selector is None:
            text = "must not be specified when labelSelector is not set"
            problems.append(forbidden(path / field, text))
        elif keys:
            problems += _label_keys(keys, path / field)
    known = set((selector or {}).get("matchLabels") or ())
    for one in (selector or {}).get("matchExpressions") or ():
        key = one.get("key") or ""
        if key in wanted and key in known:
            # A key of matchLabelKeys is an expression already when the selector is judged.
            text = "exists in both matchLabelKeys and labelSelector"
            problems.append(invalid(path / list(wanted).index(key), key, text))
        known.add(key)
    for index, key in enumerate(wanted):
        if key in unwanted:
            text = "exists in both matchLabelKeys and mismatchLabelKeys"
            problems.append(invalid(path / "matchLabelKeys" / index, key, text))
    return problems


def _label_keys(keys: Sequence[str], path: Path) -> list[FieldError]:
    return [
        invalid(path / index, key, text)
        for index, key in enumerate(keys)
        for text in validation.qualified_name_problems(key)
    ]


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
        if texts := validation.label_value_problems(value):
            problems.append(invalid(path / "operator", value, ";".join(texts)))
    elif operator == "Exists":
        if one.get("value"):
            text = "value must be empty when `operator` is 'Exists'"
            problems.append(invalid(path / "operator", one["value"], text))
    else:
        supported: tuple[str, ...] = ("Equal", "Exists")
        if operator in ("Lt", "Gt"):  # known, but only with TaintTolerationComparisonOperators
            supported += ("Lt", "Gt")
        problems.append(not_supported(path / "operator", operator, supported))
    if effect and effect not in TAINT_EFFECTS:
        problems.append(not_supported(path / "effect", effect, TAINT_EFFECTS))
    return problems


_UNSATISFIABLE = ("DoNotSchedule", "ScheduleAnyway")
_INCLUSION = ("Honor", "Ignore")


def spread_problems(constraints: Sequence[Object], path: Path) -> list[FieldError]:
    """topologySpreadConstraints (validateTopologySpreadConstraints)."""
    problems: list[FieldError] = []
    pairs = [
        (one.get("topologyKey") or "", one.get("whenUnsatisfiable") or "") for one in constraints
    ]
    last = {pair: index for index, pair in enumerate(pairs)}
    for index, one in enumerate(constraints):
        problems += _spread(one, path / index, repeated=last[pairs[index]] > index)
    return problems


def _spread(one: Object, at: Path, *, repeated: bool) -> list[FieldError]:
    problems: list[FieldError] = []
    key, action = one.get("topologyKey") or "", one.get("whenUnsatisfiable") or ""
    if (one.get("maxSkew") or 0) <= 0:
        text = "must be greater than zero"
        problems.append(invalid(at / "maxSkew", one.get("maxSkew") or 0, text))
    if not key:
        problems.append(required(at / "topologyKey", "can not be empty"))
    if action not in _UNSATISFIABLE:
        problems.append(not_supported(at / "whenUnsatisfiable", action, _UNSATISFIABLE))
    if repeated:
        shown = f"{{{key}, {action}}}"
        problems.append(duplicate(at / "{topologyKey, whenUnsatisfiable}", shown))
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
    problems += _spread_label_keys(one, at / "matchLabelKeys")
    problems += selector_problems(one.get("labelSelector"), at / "labelSelector")
    return problems


def _spread_label_keys(one: Object, path: Path) -> list[FieldError]:
    """matchLabelKeys; in a pod they are expressions of the selector by now, each once."""
    keys, selector = one.get("matchLabelKeys") or (), one.get("labelSelector")
    if not keys:
        return []
    problems: list[FieldError] = []
    if selector is None:
        text = "must not be specified when labelSelector is not set"
        problems.append(forbidden(path, text))
    problems += _label_keys(keys, path)
    known = set((selector or {}).get("matchLabels") or ())
    places = {key: index for index, key in reversed(list(enumerate(keys)))}
    for expression in (selector or {}).get("matchExpressions") or ():
        key = expression.get("key") or ""
        if key in places and key in known:
            text = "exists in both matchLabelKeys and labelSelector"
            problems.append(invalid(path / places[key], key, text))
        known.add(key)
    return problems


LABEL_KEYS = (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))


def apply_label_keys(spec: Object, labels: Mapping[str, str]) -> None:
    """Turn the label keys of a new pod's affinity and spread terms into expressions, in place (KEP-3633, KEP-3243)."""
    affinity = spec.get("affinity") or {}
    for field in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(field) or {}
        for one in rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            _apply(one.get("podAffinityTerm") or {}, labels)
        for term in rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ():
            _apply(term, labels)
    for constraint in spec.get("topologySpreadConstraints") or ():
        _apply(constraint, labels)


def _apply(term: Object, labels: Mapping[str, str]) -> None:
    selector = term.get("labelSelector")
    if selector is None:
        return
    found = [
        {"key": key, "operator": operator, "values": [labels[key]]}
        for field, operator in LABEL_KEYS
        for key in term.get(field) or ()
        if key in labels
    ]
    if found:
        selector["matchExpressions"] = [*(selector.get("matchExpressions") or ()), *found]
