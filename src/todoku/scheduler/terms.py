"""Pod affinity terms: which pods they mean, and in which topology."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from todoku.api.meta import Object
from todoku.api.selectors import LabelSelector, Requirement, from_selector
from todoku.scheduler.framework import Pod


@dataclass(frozen=True, slots=True)
class Term:
    """A PodAffinityTerm of one pod; `weight` is 0 for required ones."""

    selector: LabelSelector
    namespaces: frozenset[str]
    namespace_selector: LabelSelector | None
    topology_key: str
    weight: int = 0

    def matches(self, pod: Pod, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
        if not self._in_namespace(pod.namespace, namespaces):
            return False
        return self.selector.matches(pod.labels)

    def _in_namespace(self, name: str, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
        if name in self.namespaces:
            return True
        if self.namespace_selector is None:
            return False
        return self.namespace_selector.matches(namespaces.get(name, {}))


def required(pod: Pod, kind: str) -> list[Term]:
    """The required terms of `podAffinity` or `podAntiAffinity`."""
    section = (pod.spec.get("affinity") or {}).get(kind) or {}
    terms = section.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    return [_term(pod, one) for one in terms]


def preferred(pod: Pod, kind: str) -> list[Term]:
    section = (pod.spec.get("affinity") or {}).get(kind) or {}
    terms = section.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return [_term(pod, one["podAffinityTerm"], one["weight"]) for one in terms]


def _term(pod: Pod, term: Object, weight: int = 0) -> Term:
    names = frozenset(term.get("namespaces") or ())
    chosen = term.get("namespaceSelector")
    if not names and chosen is None:
        names = frozenset([pod.namespace])
    return Term(
        selector=with_label_keys(from_selector(term.get("labelSelector")), term, pod),
        namespaces=names,
        namespace_selector=None if chosen is None else from_selector(chosen),
        topology_key=term["topologyKey"],
        weight=weight,
    )


def with_label_keys(selector: LabelSelector, term: Object, pod: Pod) -> LabelSelector:
    """matchLabelKeys and mismatchLabelKeys: the pod's own values join the selector."""
    if selector.nothing:
        return selector
    more = []
    for field, operator in (("matchLabelKeys", "in"), ("mismatchLabelKeys", "notin")):
        for key in term.get(field) or ():
            if key in pod.labels:
                more.append(Requirement(key, operator, frozenset([pod.labels[key]])))
    return LabelSelector((*selector.requirements, *more)) if more else selector
