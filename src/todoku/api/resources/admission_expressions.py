"""The CEL of admission when it is written: match conditions, and the expressions of policies.

Expressions are checked like upstream's compiler checks them; the engine is loaded only when there is one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from todoku.api import validation
from todoku.api.errors import (
    FieldError,
    Path,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
    too_many,
)
from todoku.api.meta import Object

if TYPE_CHECKING:
    from todoku.api.cel.checking import Checker

_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_RESERVED = frozenset(
    (
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if",
        "import", "let", "loop", "package", "namespace", "return", "var", "void", "while",
    )
)  # fmt: skip
_MAX_CONDITIONS, _MAX_AUDIT_ANNOTATIONS, _MAX_AUDIT_EXPRESSION_BYTES = 64, 20, 5 * 1024


def condition_problems(conditions: Sequence[Object], at: Path, *, params: bool) -> list[FieldError]:
    """matchConditions of a webhook or policy."""
    problems: list[FieldError] = []
    if len(conditions) > _MAX_CONDITIONS:
        problems.append(too_many(at, len(conditions), _MAX_CONDITIONS))
    names: set[str] = set()
    for index, one in enumerate(conditions):
        expression, path = (one.get("expression") or "").strip(), at / index / "expression"
        problems += _condition(expression, path, params=params) if expression else [required(path)]
        name, path = one.get("name") or "", at / index / "name"
        if not name:
            problems.append(required(path))
            continue
        problems += [invalid(path, name, why) for why in validation.qualified_name_problems(name)]
        if name in names:
            problems.append(duplicate(path, name))
        names.add(name)
    return problems


def _condition(expression: str, at: Path, *, params: bool) -> list[FieldError]:
    from todoku.api.cel import admission

    checker = admission.plain_checker(params=params)
    return _checked(checker, expression, at, admission.BOOL)


def _checked(
    checker: Checker, expression: str, at: Path, returns: Sequence[str]
) -> list[FieldError]:
    from todoku.api.cel import admission

    why = admission.problem(checker, expression, returns)
    return [invalid(at, expression, why)] if why else []


def variable_problems(variables: Sequence[Object], at: Path, checker: Checker) -> list[FieldError]:
    """spec.variables; each is defined for those after it and for all other expressions of the policy."""
    from todoku.api.cel import CelError

    problems: list[FieldError] = []
    for index, one in enumerate(variables):
        name, expression = one.get("name") or "", one.get("expression") or ""
        usable = bool(_IDENTIFIER.fullmatch(name)) and name not in _RESERVED
        if not name.strip():
            problems.append(required(at / index / "name", "name is not specified"))
        elif not usable:
            text = "name is not a valid CEL identifier"
            problems.append(invalid(at / index / "name", name, text))
        path = at / index / "expression"
        if not expression.strip():
            problems.append(required(path, "expression is not specified"))
            continue
        try:
            if usable:
                checker.define(name, expression)
            else:
                checker.check(expression)
        except CelError as error:
            problems.append(invalid(path, expression, str(error)))
    return problems


def validation_problems(
    one: Object, at: Path, checker: Checker, messages: Checker
) -> list[FieldError]:
    """One of spec.validations, but for its reason; message expressions have no authorizer."""
    from todoku.api.cel import admission

    problems: list[FieldError] = []
    expression = one.get("expression") or ""
    if expression.strip():
        problems += _checked(checker, expression, at / "expression", admission.BOOL)
    else:
        problems.append(required(at / "expression", "expression is not specified"))
    computed = one.get("messageExpression") or ""
    if computed.strip():
        problems += _checked(messages, computed, at / "messageExpression", admission.STRING)
    elif computed:
        text = "must be non-empty if specified"
        problems.append(invalid(at / "messageExpression", computed, text))
    message = one.get("message") or ""
    if message and not message.strip():
        text = "message must be non-empty if specified"
        problems.append(invalid(at / "message", message, text))
    elif re.search(r"[\n\r]", message.strip()):
        problems.append(invalid(at / "message", message, "message must not contain line breaks"))
    return problems


def audit_problems(
    annotations: Sequence[Object], at: Path, policy: str, checker: Checker
) -> list[FieldError]:
    """spec.auditAnnotations of the policy with that name."""
    problems: list[FieldError] = []
    if len(annotations) > _MAX_AUDIT_ANNOTATIONS:
        text = f"must not have more than {_MAX_AUDIT_ANNOTATIONS} auditAnnotations"
        problems.append(invalid(at, list(annotations), text))
    seen: set[str] = set()
    for index, one in enumerate(annotations):
        key = one.get("key") or ""
        path = at / index / "key"
        if policy:
            full = f"{policy}/{key}"
            problems += [
                invalid(path, full, why) for why in validation.qualified_name_problems(full)
            ]
        else:
            problems.append(invalid(path, key, "requires metadata.name be non-empty"))
        problems += _audit_value(one.get("valueExpression") or "", at / index, checker)
        if key in seen:
            problems.append(duplicate(path, key))
        seen.add(key)
    return problems


def _audit_value(expression: str, at: Path, checker: Checker) -> list[FieldError]:
    from todoku.api.cel import admission

    path, trimmed = at / "valueExpression", expression.strip()
    if not trimmed:
        return [required(path, "valueExpression is not specified")]
    if len(trimmed.encode()) > _MAX_AUDIT_EXPRESSION_BYTES:
        return [required(path, f"must not exceed {_MAX_AUDIT_EXPRESSION_BYTES} bytes in length")]
    why = admission.problem(checker, trimmed, admission.STRING_OR_NULL)
    return [invalid(path, expression, why)] if why else []


_MUTATIONS = {
    "ApplyConfiguration": ("applyConfiguration", "jsonPatch", "Object", ("dyn",)),
    "JSONPatch": ("jsonPatch", "applyConfiguration", "list(JSONPatch)", ("list(dyn)",)),
}


def mutation_problems(one: Object, at: Path, checker: Checker) -> list[FieldError]:
    """One of spec.mutations."""
    kind = one.get("patchType") or ""
    if not kind:
        return [required(at / "patchType")]
    if kind not in _MUTATIONS:
        return [not_supported(at / "patchType", kind, tuple(_MUTATIONS))]
    field, other, wanted, returns = _MUTATIONS[kind]
    problems: list[FieldError] = []
    if one.get(other) is not None:
        problems.append(forbidden(at / other, f"must not be specified when patchType is {kind}"))
    if one.get(field) is None:
        text = f"must be specified when patchType is {kind}"
        return [*problems, required(at / field, text)]
    expression, path = one[field].get("expression") or "", at / field / "expression"
    if not expression.strip():
        return [*problems, required(path, "expression is not specified")]
    return problems + _mutation(expression, path, checker, wanted, returns)


def _mutation(
    expression: str, at: Path, checker: Checker, wanted: str, returns: Sequence[str]
) -> list[FieldError]:
    from todoku.api.cel import CelError
    from todoku.api.cel.literals import as_maps

    try:
        found = checker.check(as_maps(expression))
    except CelError as error:
        return [invalid(at, expression, str(error))]
    if found in returns or found == "dyn":
        return []
    return [invalid(at, expression, f"must evaluate to {wanted} but got {found}")]
