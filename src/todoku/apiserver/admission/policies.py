"""ValidatingAdmissionPolicy: rules in CEL, bound to what they judge and to parameters.

Source: KEP-3488; admissionregistration.k8s.io/v1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from todoku.aio import log as logs
from todoku.api import cel
from todoku.api.errors import ApiError, Forbidden, Invalid, Path, from_status, invalid
from todoku.api.meta import Object
from todoku.api.selectors import from_selector
from todoku.apiserver.admission.base import Plugin, is_main, new_object
from todoku.apiserver.admission.conditions import VARIABLES, Conditions, bindings_of, truth
from todoku.apiserver.admission.matching import Selectors, is_exempt, rule_matches
from todoku.apiserver.config import Attributes, Objects

log = logs.get(__name__)

GROUP = "admissionregistration.k8s.io"
_CODES = {"Invalid": 422, "Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413}


@dataclass(frozen=True, slots=True)
class Bound:
    """A policy with one of its bindings, and one parameter object (None: it takes none)."""

    policy: Object
    binding: Object
    params: Object | None

    @property
    def policy_name(self) -> str:
        return str(self.policy["metadata"]["name"])

    @property
    def binding_name(self) -> str:
        return str(self.binding["metadata"]["name"])


class ParamsMissing(Exception):
    """The parameters a binding names are not there and the request may not pass without."""


class Policies:
    """Policies of one kind and their bindings, as far as they concern a request."""

    def __init__(self, objects: Objects, kind: str, conditions: Conditions) -> None:
        self._objects = objects
        self._kind = kind
        self._conditions = conditions
        self._policies = f"{kind.lower()}policies.{GROUP}"
        self._bindings = f"{kind.lower()}policybindings.{GROUP}"

    async def concerning(self, attributes: Attributes) -> list[Bound]:
        """Every policy to apply, once for each binding and parameter object.  Raises ApiError."""
        if is_exempt(attributes):
            return []
        found: list[Bound] = []
        for policy in self._sorted(self._policies):
            spec = policy.get("spec") or {}
            name = policy["metadata"]["name"]
            if not _constraints_match(spec.get("matchConstraints"), attributes, self._objects):
                continue
            bindings = [
                one for one in self._sorted(self._bindings)
                if (one.get("spec") or {}).get("policyName") == name
                and _resources_match((one.get("spec") or {}).get("matchResources"), attributes, self._objects)
            ]  # fmt: skip
            if not bindings:
                continue
            fails_open = spec.get("failurePolicy", "Fail") == "Ignore"
            if not await self._conditions.hold(
                spec.get("matchConditions") or (),
                attributes,
                fails_open=fails_open,
                what=f"{self._kind}Policy '{name}'",
            ):
                continue
            for binding in bindings:
                found += self._with_params(policy, binding, attributes, fails_open=fails_open)
        return found

    def _sorted(self, resource: str) -> list[Object]:
        found = self._objects.list(resource)
        return sorted(found, key=lambda one: str(one["metadata"]["name"])) if found else []

    def _with_params(
        self, policy: Object, binding: Object, attributes: Attributes, *, fails_open: bool
    ) -> Iterator[Bound]:
        kind = (policy.get("spec") or {}).get("paramKind")
        reference = (binding.get("spec") or {}).get("paramRef")
        if not kind or not reference:
            yield Bound(policy, binding, None)
            return
        params = self._params(kind, reference, attributes.namespace)
        for one in params:
            yield Bound(policy, binding, one)
        if (
            not params
            and reference.get("parameterNotFoundAction", "Deny") == "Deny"
            and not fails_open
        ):
            text = (
                f"policy '{policy['metadata']['name']}' with binding '{binding['metadata']['name']}' denied "
                "request: no params found for policy binding with `Deny` parameterNotFoundAction"
            )
            raise Forbidden.of(attributes.resource.name, attributes.name, text)

    def _params(self, kind: Object, reference: Object, namespace: str) -> Sequence[Object]:
        """The parameter objects a binding means; cluster-wide kinds have no namespace."""
        group, _, _ = str(kind.get("apiVersion", "")).rpartition("/")
        plural = _plural(str(kind.get("kind", "")))
        resource = f"{plural}.{group}" if group else plural
        where = reference.get("namespace") or namespace
        try:
            candidates = list(self._objects.list(resource))
        except KeyError:
            return []  # a kind that is not served (any more)
        scoped = [one for one in candidates if one["metadata"].get("namespace", "") in ("", where)]
        if reference.get("name"):
            return [one for one in scoped if one["metadata"]["name"] == reference["name"]]
        selector = from_selector(reference.get("selector") or {})
        return [one for one in scoped if selector.matches(one["metadata"].get("labels"))]


class ValidatingPolicies(Plugin):
    name = "ValidatingAdmissionPolicy"

    def __init__(self, objects: Objects, policies: Policies) -> None:
        self._objects = objects
        self._policies = policies

    async def validate(self, attributes: Attributes) -> None:
        if attributes.operation in ("CREATE", "UPDATE") and is_main(
            attributes, f"validatingadmissionpolicies.{GROUP}"
        ):
            _check_syntax(attributes)
        for bound in await self._policies.concerning(attributes):
            self._judge(bound, attributes)

    def _judge(self, bound: Bound, attributes: Attributes) -> None:
        spec = bound.policy.get("spec") or {}
        actions = (bound.binding.get("spec") or {}).get("validationActions") or ["Deny"]
        fails_open = spec.get("failurePolicy", "Fail") == "Ignore"
        bindings = bindings_for(bound, attributes, self._objects)
        for validation in spec.get("validations") or ():
            problem = _problem(validation, bindings, fails_open=fails_open)
            if problem is None:
                continue
            who = f"ValidatingAdmissionPolicy '{bound.policy_name}' with binding '{bound.binding_name}'"
            if "Warn" in actions:
                attributes.warnings.append(f"Validation failed for {who}: {problem}")
            if "Audit" in actions:
                log.info("Policy violated", policy=bound.policy_name, why=problem)
            if "Deny" in actions:
                reason = str(validation.get("reason") or "Invalid")
                raise _denial(attributes, f"{who} denied request: {problem}", problem, reason)


def bindings_for(bound: Bound, attributes: Attributes, objects: Objects) -> dict[str, Any]:
    """All variables of a policy's expressions; `variables.x` are computed in the order they are declared."""
    namespace = None
    if attributes.namespace and attributes.resource.name != "namespaces":
        namespace = objects.get("namespaces", attributes.namespace)
    bindings = bindings_of(attributes)
    bindings |= {"params": bound.params, "namespaceObject": namespace, "variables": {}}
    for variable in (bound.policy.get("spec") or {}).get("variables") or ():
        try:
            program = cel.compile_expression(str(variable.get("expression", "")), VARIABLES)
            bindings["variables"][variable["name"]] = program.evaluate(bindings)
        except cel.CelError as error:
            # an expression that needs the variable fails then, one that does not is not disturbed
            log.debug("Policy variable failed", policy=bound.policy_name, why=error)
    return bindings


def _problem(validation: Object, bindings: Mapping[str, Any], *, fails_open: bool) -> str | None:
    """Why a validation does not hold; None if it does."""
    expression = str(validation.get("expression", ""))
    try:
        if truth(expression, bindings, VARIABLES):
            return None
    except cel.CelError as error:
        return None if fails_open else f"expression '{expression}' resulted in error: {error}"
    return _message(validation, bindings) or f"failed expression: {expression.strip()}"


def _message(validation: Object, bindings: Mapping[str, Any]) -> str:
    expression = validation.get("messageExpression")
    if expression:
        try:
            text = cel.compile_expression(str(expression), VARIABLES).evaluate(bindings)
            if isinstance(text, str) and text.strip() and "\n" not in text:
                return text.strip()
        except cel.CelError as error:
            log.debug("Message expression failed", why=error)
    return str(validation.get("message") or "").strip()


def _denial(attributes: Attributes, text: str, problem: str, reason: str) -> ApiError:
    error = Forbidden.of(attributes.resource.name, attributes.name, text)
    status = error.status()
    status |= {"reason": reason, "code": _CODES.get(reason, 422)}
    status["details"] = status.get("details", {}) | {"causes": [{"message": problem}]}
    return from_status(status)


def _check_syntax(attributes: Attributes) -> None:
    """A policy whose expressions do not compile is refused when it is written."""
    spec = new_object(attributes).get("spec") or {}
    problems = []
    for field, rows in (
        ("validations", "expression"),
        ("variables", "expression"),
        ("matchConditions", "expression"),
    ):
        for index, row in enumerate(spec.get(field) or ()):
            expression = str(row.get(rows, ""))
            try:
                cel.compile_expression(expression, VARIABLES)
            except cel.CelError as error:
                path = Path("spec") / field / index / rows
                problems.append(invalid(path, expression, str(error)))
    if problems:
        raise Invalid.of(attributes.resource.kind, GROUP, attributes.name, problems)


def _constraints_match(
    constraints: Object | None, attributes: Attributes, objects: Objects
) -> bool:
    return bool((constraints or {}).get("resourceRules")) and _resources_match(
        constraints, attributes, objects
    )


def _resources_match(resources: Object | None, attributes: Attributes, objects: Objects) -> bool:
    """MatchResources: no rules mean every resource the policy itself matched."""
    if not resources:
        return True
    if any(rule_matches(rule, attributes) for rule in resources.get("excludeResourceRules") or ()):
        return False
    rules = resources.get("resourceRules") or ()
    if rules and not any(rule_matches(rule, attributes) for rule in rules):
        return False
    selectors = Selectors(resources.get("namespaceSelector"), resources.get("objectSelector"))
    return selectors.matches(attributes, objects)


def _plural(kind: str) -> str:
    """The usual plural of a kind, which custom resources follow as well."""
    lower = kind.lower()
    if lower.endswith(("s", "x", "ch", "sh")):
        return f"{lower}es"
    if lower.endswith("y") and lower[-2:-1] not in "aeiou":
        return f"{lower[:-1]}ies"
    return f"{lower}s"
