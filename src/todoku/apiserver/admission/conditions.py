"""CEL in admission: what an expression sees, and matchConditions that must all hold.

Source: KEP-3716 (match conditions), KEP-3488 (policies); the authorizer variable, KEP-3488.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from todoku.aio import log as logs
from todoku.api import cel
from todoku.api.errors import ApiError
from todoku.api.meta import Object
from todoku.apiserver.admission.hooks import review_of
from todoku.apiserver.config import Attributes, Authorizer, Decision
from todoku.apiserver.request import AUTHENTICATED, RequestInfo, User

log = logs.get(__name__)

VARIABLES = (
    "object", "oldObject", "request", "params", "namespaceObject", "variables", "authorizer",
)  # fmt: skip


class Expressions:
    """Evaluates the expressions of webhooks and policies; compiled ones are cached by the engine."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def over(self, attributes: Attributes, **more: Any) -> Evaluation:
        """Expressions over one request and further variables."""
        return Evaluation(bindings_of(attributes) | more, self._decide_for(attributes.user))

    def _decide_for(self, user: User) -> Callable[[Any], Any]:
        known: dict[Any, Any] = {}

        def decide(question: Any) -> Any:
            if question not in known:
                known[question] = self._answer(user, question)
            return known[question]

        return decide

    def _answer(self, user: User, question: Any) -> Any:
        from todoku.api.cel.authorization import Answer

        if question.service_account:
            user = _service_account(question.service_account)
        try:
            decision = _now(self._authorizer.authorize(user, _info(question)))
        except ApiError as error:
            return Answer(allowed=False, error=error.message)
        return Answer(decision.allowed, decision.reason)


def _service_account(name: str) -> User:
    namespace = name.split(":")[2]
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
    return User(name=name, groups=groups)


def _info(question: Any) -> RequestInfo:
    if question.path:
        return RequestInfo(verb=question.verb, path=question.path)
    return RequestInfo(
        verb=question.verb,
        path="",
        group=question.group,
        version="*",
        resource=question.resource,
        subresource=question.subresource,
        namespace=question.namespace,
        name=question.name,
        field_selector=question.field_selector,
        label_selector=question.label_selector,
    )


def _now(asked: Coroutine[Any, Any, Decision]) -> Decision:
    """The answer of an authorizer that decides from what it knows: expressions cannot wait."""
    try:
        asked.send(None)
    except StopIteration as done:
        decision: Decision = done.value
        return decision
    asked.close()
    raise AssertionError("an authorizer waited")


class Evaluation:
    """Expressions over one set of variables."""

    def __init__(self, bindings: dict[str, Any], decide: Callable[[Any], Any]) -> None:
        self._bindings = bindings
        self._decide = decide
        self._failed: dict[str, str] = {}  # variables, with the reason

    def define(self, variables: Sequence[Object]) -> None:
        """Add `variables`, in the order they are declared; one that fails fails what uses it."""
        values: dict[str, Any] = {}
        self._bindings["variables"] = values
        for one in variables:
            name = str(one.get("name"))
            try:
                values[name] = self._value(str(one.get("expression", "")))
            except cel.CelError as error:
                self._failed[name] = str(error)

    def value(self, expression: str) -> Any:
        """What an expression gives.  Raises CelError, worded as clients read it."""
        try:
            return self._value(expression)
        except cel.CelError as error:
            text = f"expression '{expression}' resulted in error: {error}"
            raise cel.CelError(text) from error

    def truth(self, expression: str) -> bool:
        """Whether an expression is true.  Raises CelError."""
        return self.value(expression) is True

    def _value(self, expression: str) -> Any:
        from todoku.api.cel import authorization

        program = cel.compile_expression(expression, VARIABLES)
        try:
            with authorization.answering(self._decide):
                return program.evaluate(self._bindings)
        except cel.CelError as error:
            missing = str(error).removeprefix("no such key: ")
            if missing in self._failed and f"variables.{missing}" in expression:
                why = self._failed[missing]
                text = f'composited variable "{missing}" fails to evaluate: {why}'
                raise cel.CelError(text) from error
            raise


def bindings_of(attributes: Attributes) -> dict[str, Any]:
    """object, oldObject, request and authorizer as expressions see them."""
    review = review_of(attributes, "", "v1")["request"]
    request = {
        key: value for key, value in review.items() if key not in ("object", "oldObject", "uid")
    }
    resource = attributes.resource
    check = {
        "group": resource.group,
        "resource": resource.plural,
        "subresource": attributes.subresource,
        "namespace": attributes.namespace,
        "name": attributes.name,
    }
    from todoku.api.cel import authorization

    return {
        "object": review["object"],
        "oldObject": review["oldObject"],
        "request": request,
        "params": None,
        "namespaceObject": None,
        "variables": {},
        "authorizer": authorization.value_of(**check),
    }


class ConditionsFailed(Exception):
    """Match conditions could not be evaluated and the failure policy is Fail."""


def conditions_hold(
    conditions: Sequence[Mapping[str, Any]],
    evaluation: Evaluation,
    *,
    fails_open: bool,
    what: str,
) -> bool:
    """Whether all conditions are true.  One that is false decides, whatever another's error.

    Raises ConditionsFailed.
    """
    failures = []
    for condition in conditions:
        try:
            if not evaluation.truth(str(condition.get("expression", ""))):
                return False
        except cel.CelError as error:
            failures.append(str(error))
    if not failures:
        return True
    if fails_open:
        log.warning("Match condition failed, ignored by its policy", what=what, why=failures[0])
        return False
    raise ConditionsFailed(failures[0] if len(failures) == 1 else f"[{', '.join(failures)}]")
