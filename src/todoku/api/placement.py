"""May this pod be on that node: taints, tolerations, node selectors and affinity (core/v1).  Pure.

Shared by the scheduler and by controllers that place pods themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from todoku.api.meta import Object

NO_SCHEDULE, PREFER_NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "PreferNoSchedule", "NoExecute"


def tolerates(toleration: Object, taint: Object) -> bool:
    """Whether one toleration covers one taint (Toleration.ToleratesTaint)."""
    effect = toleration.get("effect")
    if effect and effect != taint.get("effect"):
        return False
    key = toleration.get("key")
    if key and key != taint.get("key"):
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    value, other = toleration.get("value") or "", taint.get("value") or ""
    if operator in ("Gt", "Lt"):
        return _compare(operator, other, value)
    return bool(key) and value == other


def untolerated(
    taints: Iterable[Object], tolerations: Sequence[Object], effects: Sequence[str]
) -> Object | None:
    """The first taint with one of these effects that nothing tolerates."""
    for taint in taints:
        if taint.get("effect") not in effects:
            continue
        if not any(tolerates(one, taint) for one in tolerations):
            return taint
    return None


def taints(node: Object) -> list[Object]:
    return list((node.get("spec") or {}).get("taints") or ())


def node_matches(pod: Object, node: Object) -> bool:
    """spec.nodeSelector and the required node affinity."""
    spec = pod.get("spec") or {}
    labels = node["metadata"].get("labels") or {}
    wanted: Mapping[str, str] = spec.get("nodeSelector") or {}
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or selector_matches(required, node)


def selector_matches(selector: Object, node: Object) -> bool:
    """A NodeSelector: one of its terms must hold; no term, no node."""
    return any(term_matches(term, node) for term in selector.get("nodeSelectorTerms") or ())


def term_matches(term: Object, node: Object) -> bool:
    """A NodeSelectorTerm: all of its expressions; an empty term matches nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    labels = node["metadata"].get("labels") or {}
    known = {"metadata.name": node["metadata"]["name"]}
    return all(_holds(one, labels) for one in expressions) and all(
        _holds(one, known) for one in fields
    )


def _holds(requirement: Object, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.get("key", ""))
    values: Sequence[str] = requirement.get("values") or ()
    operator = requirement.get("operator")
    if operator == "In":
        return value is not None and value in values
    if operator == "NotIn":
        return value is None or value not in values
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    if operator in ("Gt", "Lt") and value is not None and len(values) == 1:
        return _compare(operator, value, values[0])
    return False


def _compare(operator: str, left: str, right: str) -> bool:
    try:
        return int(left) > int(right) if operator == "Gt" else int(left) < int(right)
    except ValueError:
        return False
