"""MutatingAdmissionPolicy: CEL that builds what is merged into the object, or a JSON patch for it.

`Object{spec: Object.spec{replicas: 3}}` and `JSONPatch{op: "add", …}` are typed literals upstream; the engine here has
no such types, so `literals` writes them as maps before compiling.  Source: KEP-3962.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from todoku.api import cel, patches, schemas
from todoku.api.errors import ApiError, InternalError, Invalid, Path, invalid
from todoku.api.meta import Object, copy
from todoku.api.patches import fieldsets, typed
from todoku.apiserver.admission.base import Plugin, is_main, new_object
from todoku.apiserver.admission.conditions import VARIABLES
from todoku.apiserver.admission.policies import GROUP, Bound, Policies, bindings_for
from todoku.apiserver.config import Attributes, Objects

_TOKEN = re.compile(
    r"""(?P<text>[rR]?(?:\"\"\"[\s\S]*?\"\"\"|'''[\s\S]*?'''|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))"""
    r"""|(?P<message>(?<![\w.])(?:Object(?:\s*\.\s*\w+)*|JSONPatch)(?=\s*\{))"""
    r"""|(?P<field>`[^`]*`|[A-Za-z_]\w*)(?=\s*:)"""
    r"""|(?P<word>[A-Za-z_]\w*)|(?P<space>\s+)|(?P<other>.)"""
)


class MutatingPolicies(Plugin):
    name = "MutatingAdmissionPolicy"

    def __init__(self, objects: Objects, policies: Policies) -> None:
        self._objects = objects
        self._policies = policies

    async def mutate(self, attributes: Attributes) -> None:
        if attributes.operation not in ("CREATE", "UPDATE") or attributes.object is None:
            return
        again: list[tuple[Bound, Object]] = []
        for bound in await self._policies.concerning(attributes):
            self._apply(bound, attributes)
            again.append((bound, copy(attributes.object)))
        for bound, seen in again:
            spec = bound.policy.get("spec") or {}
            if spec.get("reinvocationPolicy") == "IfNeeded" and seen != attributes.object:
                self._apply(bound, attributes)

    async def validate(self, attributes: Attributes) -> None:
        if attributes.operation in ("CREATE", "UPDATE") and is_main(
            attributes, f"mutatingadmissionpolicies.{GROUP}"
        ):
            _check_syntax(attributes)

    def _apply(self, bound: Bound, attributes: Attributes) -> bool:
        spec = bound.policy.get("spec") or {}
        before = attributes.object
        try:
            for mutation in spec.get("mutations") or ():
                bindings = bindings_for(bound, attributes, self._objects)
                attributes.object = _mutated(mutation, attributes, bindings)
        except (cel.CelError, fieldsets.FieldError, ApiError) as error:
            attributes.object = before
            if spec.get("failurePolicy", "Fail") == "Ignore":
                return False
            why = error.message if isinstance(error, ApiError) else str(error)
            text = f"policy '{bound.policy_name}' with binding '{bound.binding_name}' denied request: {why}"
            raise InternalError(f"Internal error occurred: {text}") from error
        if attributes.object == before:
            return False
        attributes.resource.strategy.default(new_object(attributes))
        return True


def _mutated(mutation: Object, attributes: Attributes, bindings: dict[str, Any]) -> Object:
    """The object after one mutation.  Raises CelError, FieldError or ApiError."""
    current = new_object(attributes)
    if mutation.get("patchType") == "JSONPatch":
        expression = (mutation.get("jsonPatch") or {}).get("expression", "")
        operations = _evaluate(expression, bindings)
        patched = patches.json_patch(copy(current), [_plain(one) for one in operations])
        return dict(patched)
    expression = (mutation.get("applyConfiguration") or {}).get("expression", "")
    configuration = _evaluate(expression, bindings)
    if not isinstance(configuration, dict):
        raise cel.CelError("must evaluate to Object")
    type_ = schemas.type_of(attributes.resource.schema) if attributes.resource.schema else None
    if type_ is None:
        return dict(patches.merge_patch(current, configuration))
    merged = typed.merge(current, configuration, type_)
    return dict(merged)


def _evaluate(expression: str, bindings: dict[str, Any]) -> Any:
    return cel.compile_expression(literals(expression), VARIABLES).evaluate(bindings)


def _plain(operation: Any) -> Any:
    return (
        {key: value for key, value in operation.items() if value is not None}
        if isinstance(operation, dict)
        else operation
    )


def _check_syntax(attributes: Attributes) -> None:
    problems = []
    for index, mutation in enumerate(
        (new_object(attributes).get("spec") or {}).get("mutations") or ()
    ):
        for field in ("applyConfiguration", "jsonPatch"):
            expression = (mutation.get(field) or {}).get("expression")
            if not expression:
                continue
            try:
                cel.compile_expression(literals(str(expression)), VARIABLES)
            except cel.CelError as error:
                path = Path("spec") / "mutations" / index / field / "expression"
                problems.append(invalid(path, expression, str(error)))
    if problems:
        raise Invalid.of(attributes.resource.kind, GROUP, attributes.name, problems)


@functools.lru_cache(maxsize=1024)
def literals(expression: str) -> str:
    """The expression with message literals written as maps: `Object{a: 1}` becomes `{"a": 1}`."""
    out: list[str] = []
    braces: list[bool] = []  # for each open bracket, whether it is a message's
    message_next = False
    start_of_field = False
    for match in _TOKEN.finditer(expression):
        kind, text = match.lastgroup, match.group()
        if kind == "message":
            message_next = True
            continue
        if kind == "field" and braces and braces[-1] and start_of_field:
            out.append('"' + text.strip("`") + '"')
            start_of_field = False
            continue
        out.append(text)
        if text in ("{", "(", "["):
            braces.append(text == "{" and message_next)
            start_of_field = True
            message_next = False
        elif text in ("}", ")", "]"):
            if braces:
                braces.pop()
            start_of_field = False
        elif text == ",":
            start_of_field = True
        elif kind != "space" and text != "?":
            start_of_field = False
    return "".join(out)
