"""Admission policies and their bindings: which concern a request, with which parameters.

Source: KEP-3488, KEP-3962; admissionregistration.k8s.io/v1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from todoku.api import cel
from todoku.api.errors import ApiError, from_status
from todoku.api.meta import Object, gvk_of
from todoku.api.resource import Resource
from todoku.api.selectors import from_selector
from todoku.apiserver.admission.base import refusal
from todoku.apiserver.admission.conditions import (
    ConditionsFailed,
    Evaluation,
    Expressions,
    conditions_hold,
)
from todoku.apiserver.admission.matching import (
    Selectors,
    is_exempt,
    matching_version,
    shown_as,
)
from todoku.apiserver.config import Attributes, Objects

GROUP = "admissionregistration.k8s.io"
_CODES = {"Invalid": 422, "Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413}


@dataclass(frozen=True, slots=True)
class Bound:
    """A policy with one of its bindings, and one parameter object (None: it takes none)."""

    policy: Object
    binding: Object
    params: Object | None
    version: Resource  # in which it sees the request

    @property
    def policy_name(self) -> str:
        return str(self.policy["metadata"]["name"])

    @property
    def binding_name(self) -> str:
        return str(self.binding["metadata"]["name"])

    @property
    def spec(self) -> Object:
        return self.policy.get("spec") or {}

    @property
    def fails_open(self) -> bool:
        return bool(self.spec.get("failurePolicy", "Fail") == "Ignore")

    @property
    def key(self) -> tuple[str, ...]:
        """Unlike that of any other invocation for the request."""
        metadata = (self.params or {}).get("metadata") or {}
        params = (metadata.get("namespace", ""), metadata.get("name", ""))
        return (self.policy_name, self.binding_name, *params)


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """A policy, or one of its bindings, cannot be applied; the failure policy says Fail."""

    policy: str
    binding: str  # "" if it is the policy
    why: str


class ParamsMissing(Exception):
    """The parameters of a binding cannot be given; the text says why."""


class Policies:
    """Policies of one kind and their bindings, as far as they concern a request."""

    def __init__(self, objects: Objects, kind: str) -> None:
        self._objects = objects
        self._policies = f"{kind.lower()}policies.{GROUP}"
        self._bindings = f"{kind.lower()}policybindings.{GROUP}"
        self._read: tuple[int, int] | None = None
        self._known: Sequence[tuple[Object, Sequence[Object]]] = ()

    def concerning(self, attributes: Attributes) -> Iterator[Bound | Misconfigured]:
        """Every policy to apply, once for each binding and parameter object."""
        known = self._all()
        if not known or is_exempt(attributes):
            return
        for policy, bindings in known:
            yield from self._bound(policy, bindings, attributes)

    def _all(self) -> Sequence[tuple[Object, Sequence[Object]]]:
        """The policies that have bindings, and these; read again only when one changed."""
        generations = (
            self._objects.generation(self._policies),
            self._objects.generation(self._bindings),
        )
        if generations != self._read:
            self._read = generations
            bindings = self._sorted(self._bindings)
            found = []
            for policy in self._sorted(self._policies):
                name = policy["metadata"]["name"]
                own = [one for one in bindings if (one.get("spec") or {}).get("policyName") == name]
                if own:
                    found.append((policy, own))
            self._known = found
        return self._known

    def _sorted(self, resource: str) -> list[Object]:
        found = self._objects.list(resource)
        return sorted(found, key=lambda one: str(one["metadata"]["name"])) if found else []

    def _bound(
        self, policy: Object, bindings: Sequence[Object], attributes: Attributes
    ) -> Iterator[Bound | Misconfigured]:
        spec, name = policy.get("spec") or {}, policy["metadata"]["name"]
        fails_open = spec.get("failurePolicy", "Fail") == "Ignore"
        constraints = spec.get("matchConstraints") or {}
        if not constraints.get("resourceRules"):
            return
        version = _matched(constraints, attributes, self._objects)
        if version is None:
            return
        try:
            params_of = self._param_source(spec.get("paramKind"))
        except ParamsMissing as problem:
            if not fails_open:
                yield Misconfigured(name, "", f"failed to configure policy: {problem}")
            return
        for binding in bindings:
            reference = binding.get("spec") or {}
            if _matched(reference.get("matchResources"), attributes, self._objects) is None:
                continue
            try:
                params = self._params(params_of, reference.get("paramRef"), attributes.namespace)
            except ParamsMissing as problem:
                if not fails_open:
                    why = f"failed to configure binding: {problem}"
                    yield Misconfigured(name, binding["metadata"]["name"], why)
                continue
            for one in params:
                yield Bound(policy, binding, one, version)

    def _param_source(self, kind: Object | None) -> Resource | None:
        """The resource that parameters are objects of; None if the policy takes none.  Raises ParamsMissing."""
        if not kind:
            return None
        gvk = gvk_of(kind)
        found = self._objects.served(gvk)
        if found is None:
            named = f"{gvk.group}/{gvk.version}, Kind={gvk.kind}"
            raise ParamsMissing(f"failed to find resource referenced by paramKind: '{named}'")
        return found

    def _params(
        self, source: Resource | None, reference: Object | None, namespace: str
    ) -> Sequence[Object | None]:
        """The parameter objects a binding means; one None if there are to be none.  Raises ParamsMissing."""
        if source is None or not reference:
            return [None]
        where = reference.get("namespace") or ""
        if source.namespaced:
            where = where or namespace
            if not where:
                raise ParamsMissing(
                    "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                )
        elif where:
            raise ParamsMissing(
                "paramRef.namespace must not be provided for a cluster-scoped `paramKind`"
            )
        found = self._select(source, reference, where)
        if not found and reference.get("parameterNotFoundAction", "Deny") == "Deny":
            raise ParamsMissing(
                "no params found for policy binding with `Deny` parameterNotFoundAction"
            )
        return found

    def _select(self, source: Resource, reference: Object, namespace: str) -> list[Object]:
        if reference.get("name"):
            one = self._objects.get(source.name, reference["name"], namespace)
            return [] if one is None else [one]
        selector = from_selector(reference.get("selector") or {})
        candidates = self._objects.list(source.name, namespace or None)
        return [one for one in candidates if selector.matches(one["metadata"].get("labels"))]


class Invoked:
    """One policy, binding and parameter object over the request as it sees it."""

    def __init__(self, bound: Bound, shown: Attributes, evaluation: Evaluation) -> None:
        self.bound = bound
        self.shown = shown
        self.evaluation = evaluation

    @classmethod
    async def of(
        cls, bound: Bound, attributes: Attributes, objects: Objects, expressions: Expressions
    ) -> Invoked:
        shown = await shown_as(attributes, bound.version, objects)
        bound = await _with_params_as_named(bound, objects)
        return cls(bound, shown, evaluation_of(bound, shown, objects, expressions))

    def applies(self) -> bool:
        """Whether its match conditions hold.  Raises CelError."""
        try:
            return conditions_hold(
                self.bound.spec.get("matchConditions") or (),
                self.evaluation,
                fails_open=self.bound.fails_open,
                what=f"policy '{self.bound.policy_name}'",
            )
        except ConditionsFailed as failure:
            raise cel.CelError(str(failure)) from failure


async def _with_params_as_named(bound: Bound, objects: Objects) -> Bound:
    """The parameter object in the version that the policy's paramKind names; read, it is in the stored one."""
    if bound.params is None:
        return bound
    own = objects.served(gvk_of(bound.params))
    wanted = objects.served(gvk_of(bound.spec["paramKind"]))
    if own is None or wanted is None or own is wanted:
        return bound
    return replace(bound, params=await objects.converted(bound.params, own, wanted))


def evaluation_of(
    bound: Bound, attributes: Attributes, objects: Objects, expressions: Expressions
) -> Evaluation:
    """All variables of a policy's expressions."""
    namespace = None
    if attributes.namespace and attributes.resource.name != "namespaces":
        namespace = objects.get("namespaces", attributes.namespace)
    evaluation = expressions.over(attributes, params=bound.params, namespaceObject=namespace)
    evaluation.define(bound.spec.get("variables") or ())
    return evaluation


def denial(attributes: Attributes, text: str, reason: str) -> ApiError:
    """A policy's refusal: worded as forbidden, with the reason and code that it gives."""
    error = refusal(attributes, text)
    status = error.status()
    status |= {"reason": reason, "code": _CODES.get(reason, 422)}
    status["details"] = status.get("details", {}) | {"causes": [{"message": text}]}
    return from_status(status)


def _matched(resources: Object | None, attributes: Attributes, objects: Objects) -> Resource | None:
    """The version that MatchResources mean; without rules every resource, None if the request is not meant."""
    if not resources:
        return attributes.resource
    exact = resources.get("matchPolicy", "Equivalent") == "Exact"
    excluded = resources.get("excludeResourceRules") or ()
    if excluded and matching_version(excluded, attributes, objects, exact=exact) is not None:
        return None
    version: Resource | None = attributes.resource
    rules = resources.get("resourceRules") or ()
    if rules:
        version = matching_version(rules, attributes, objects, exact=exact)
    selectors = Selectors(resources.get("namespaceSelector"), resources.get("objectSelector"))
    return version if selectors.matches(attributes, objects) else None
