"""ValidatingAdmissionPolicy: rules in CEL, bound to what they judge and to parameters (KEP-3488)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from todoku.aio import log as logs
from todoku.api import cel
from todoku.api.meta import Object
from todoku.apiserver.admission.base import Plugin
from todoku.apiserver.admission.conditions import Evaluation, Expressions
from todoku.apiserver.admission.policies import Bound, Invoked, Misconfigured, Policies, denial
from todoku.apiserver.config import Attributes, Objects

log = logs.get(__name__)

_MAX_MESSAGE_BYTES, _MAX_ANNOTATION_BYTES = 5 * 1024, 10 * 1024
_FAILURE_ANNOTATION = "validation.policy.admission.k8s.io/validation_failure"


@dataclass(frozen=True, slots=True)
class Violation:
    """A validation that does not hold, or could not be evaluated."""

    index: int
    message: str
    reason: str = "Invalid"


class ValidatingPolicies(Plugin):
    name = "ValidatingAdmissionPolicy"

    def __init__(self, objects: Objects, policies: Policies, expressions: Expressions) -> None:
        self._objects = objects
        self._policies = policies
        self._expressions = expressions

    async def validate(self, attributes: Attributes) -> None:
        """Every policy is evaluated, for its warnings; the first refusal is the answer."""
        refusals: list[tuple[str, str]] = []  # text, reason
        collected: dict[tuple[str, str], list[str]] = {}
        for bound in self._policies.concerning(attributes):
            if isinstance(bound, Misconfigured):
                refusals.append(
                    (f"{_who(bound.policy, bound.binding)} denied request: {bound.why}", "Invalid")
                )
                continue
            invoked = await Invoked.of(bound, attributes, self._objects, self._expressions)
            for one in violations(invoked):
                refusals += self._act(one, bound, attributes)
            for key, value, problem in audit_annotations(invoked):
                if problem:
                    who = _who(bound.policy_name, bound.binding_name)
                    refusals.append((f"{who} denied request: {problem}", "Invalid"))
                elif value not in collected.setdefault((bound.policy_name, key), []):
                    collected[bound.policy_name, key].append(value)
        for (policy, key), values in collected.items():
            attributes.annotations[f"{policy}/{key}"] = ", ".join(values)
        if refusals:
            text, reason = refusals[0]
            raise denial(attributes, text, reason)

    @staticmethod
    def _act(
        violation: Violation, bound: Bound, attributes: Attributes
    ) -> Iterator[tuple[str, str]]:
        """Warn and note as the binding says; gives the refusal if it denies."""
        who = _who(bound.policy_name, bound.binding_name)
        actions = (bound.binding.get("spec") or {}).get("validationActions") or ()
        if "Warn" in actions:
            attributes.warnings.append(f"Validation failed for {who}: {violation.message}")
        if "Audit" in actions:
            attributes.annotations[_FAILURE_ANNOTATION] = _failure(violation, bound, actions)
            log.info("Policy violated", policy=bound.policy_name, why=violation.message)
        if "Deny" in actions:
            yield f"{who} denied request: {violation.message}", violation.reason


def _who(policy: str, binding: str) -> str:
    bound = f" with binding '{binding}'" if binding else ""
    return f"ValidatingAdmissionPolicy '{policy}'{bound}"


def _failure(violation: Violation, bound: Bound, actions: Sequence[str]) -> str:
    failure = {
        "message": violation.message,
        "policy": bound.policy_name,
        "binding": bound.binding_name,
        "expressionIndex": violation.index,
        "validationActions": list(actions),
    }
    return json.dumps([failure], separators=(",", ":"))


def violations(invoked: Invoked) -> Iterator[Violation]:
    """What of a policy does not hold; errors count by its failure policy."""
    bound = invoked.bound
    try:
        if not invoked.applies():
            return
    except cel.CelError as error:
        yield Violation(0, str(error))
        return
    for index, one in enumerate(bound.spec.get("validations") or ()):
        try:
            if not invoked.evaluation.truth(str(one.get("expression", ""))):
                message = _message(one, invoked.evaluation)
                yield Violation(index, message, str(one.get("reason") or "Invalid"))
        except cel.CelError as error:
            if not bound.fails_open:
                yield Violation(index, str(error))


def _message(validation: Object, evaluation: Evaluation) -> str:
    """The computed message, the fixed one, or the expression itself."""
    expression = validation.get("messageExpression")
    if expression:
        try:
            text = evaluation.value(str(expression))
            text = text.strip() if isinstance(text, str) else ""
            if text and "\n" not in text and len(text.encode()) <= _MAX_MESSAGE_BYTES:
                return text
        except cel.CelError as error:
            log.debug("Message expression failed", why=error)
    message = str(validation.get("message") or "").strip()
    return message or f"failed expression: {str(validation.get('expression', '')).strip()}"


def audit_annotations(invoked: Invoked) -> Iterator[tuple[str, str, str]]:
    """Key, value and problem of each audit annotation; an empty text or null leaves it out."""
    bound = invoked.bound
    rows = bound.spec.get("auditAnnotations") or ()
    if not rows or not _applies(invoked):
        return
    for one in rows:
        expression, key = str(one.get("valueExpression", "")), str(one.get("key", ""))
        try:
            value = invoked.evaluation.value(expression.strip())
        except cel.CelError as error:
            if not bound.fails_open:
                yield key, "", str(error)
            continue
        text = value.strip() if isinstance(value, str) else ""
        if text:
            yield key, text.encode()[:_MAX_ANNOTATION_BYTES].decode("utf-8", "ignore"), ""


def _applies(invoked: Invoked) -> bool:
    try:
        return invoked.applies()
    except cel.CelError:
        return False
