"""CEL in admission: the variables an expression sees, and matchConditions that must all hold.

Source: KEP-3716 (match conditions), KEP-3488 (policies).  `authorizer` is not offered: the engine behind `api.cel`
has no types of our own making, so an expression that uses it does not compile and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from todoku.aio import log as logs
from todoku.api import cel
from todoku.api.errors import ApiError, Forbidden, Invalid, Path, invalid
from todoku.api.meta import Object
from todoku.apiserver.admission.hooks import review_of
from todoku.apiserver.config import Attributes

log = logs.get(__name__)

VARIABLES = ("object", "oldObject", "request", "params", "namespaceObject", "variables")
_CONDITION_VARIABLES = ("object", "oldObject", "request")


def bindings_of(attributes: Attributes) -> dict[str, Any]:
    """object, oldObject and request as expressions see them."""
    review = review_of(attributes, "", "v1")["request"]
    request = {
        key: value for key, value in review.items() if key not in ("object", "oldObject", "uid")
    }
    return {
        "object": review["object"],
        "oldObject": review["oldObject"],
        "request": request | {"name": attributes.name, "namespace": attributes.namespace},
    }


class Conditions:
    """Evaluates matchConditions; compiled expressions are cached by the engine."""

    async def hold(
        self, conditions: Sequence[Object], attributes: Attributes, *, fails_open: bool, what: str
    ) -> bool:
        """Whether all conditions are true.  One that is false decides, whatever another's error.

        Raises Forbidden when an expression fails and the failure policy is Fail.
        """
        if not conditions:
            return True
        bindings = bindings_of(attributes)
        failures = []
        for condition in conditions:
            try:
                if not truth(str(condition.get("expression", "")), bindings, _CONDITION_VARIABLES):
                    return False
            except cel.CelError as error:
                failures.append(f"{condition.get('name')}: {error}")
        if not failures:
            return True
        if fails_open:
            log.warning("Match condition failed, ignored by its policy", what=what, why=failures[0])
            return False
        raise _failed(attributes, what, failures)


def _failed(attributes: Attributes, what: str, failures: Sequence[str]) -> ApiError:
    text = f"{what}: match conditions failed: {'; '.join(failures)}"
    return Forbidden.of(attributes.resource.name, attributes.name, text)


def truth(expression: str, bindings: Mapping[str, Any], variables: tuple[str, ...]) -> bool:
    """The boolean an expression gives.  Raises CelError for anything else."""
    result = cel.compile_expression(expression, variables).evaluate(bindings)
    if not isinstance(result, bool):
        raise cel.CelError("must evaluate to bool")
    return result


class MatchConditionSyntax:
    """Refuses webhook configurations whose match conditions do not compile."""

    @staticmethod
    def check(attributes: Attributes, webhooks: Sequence[Object]) -> None:
        problems = []
        for number, webhook in enumerate(webhooks):
            for index, condition in enumerate(webhook.get("matchConditions") or ()):
                expression = str(condition.get("expression", ""))
                try:
                    cel.compile_expression(expression, (*_CONDITION_VARIABLES, "authorizer"))
                except cel.CelError as error:
                    path = Path("webhooks") / number / "matchConditions" / index / "expression"
                    problems.append(invalid(path, expression, str(error)))
        if problems:
            raise Invalid.of(
                attributes.resource.kind, attributes.resource.group, attributes.name, problems
            )
