"""x-kubernetes-validations: CEL rules at any depth of a schema, with transitions (KEP-2876)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from todoku.api.cel import CelError, compile_expression, rounds, to_cel
from todoku.api.crd.field_paths import FieldPathError, resolve
from todoku.api.crd.values import ABSENT, correlate, fields_before
from todoku.api.errors import FieldError, Path, duplicate, forbidden, invalid, required
from todoku.api.meta import Object
from todoku.api.schemas import Schema

RULES = "x-kubernetes-validations"
Validator = Callable[[Object, "Object | None"], list[FieldError]]


def has_rules(schema: Any) -> bool:
    """Whether the schema has a rule at any depth."""
    if not isinstance(schema, dict):
        return False
    if schema.get(RULES):
        return True
    children = [
        *(schema.get("properties") or {}).values(),
        schema.get("items"),
        schema.get("additionalProperties"),
    ]
    return any(has_rules(child) for child in children)


def compile_rules(schema: Schema) -> Validator | None:
    """A function that evaluates all rules, or None when there are none; expressions compile on first use."""
    if not has_rules(schema):
        return None
    return lambda new, old: _walk(new, ABSENT if old is None else old, schema, Path(), False)


_OLD_SELF = re.compile(r"\boldSelf\b")


def uses_old_self(rule: Object) -> bool:
    return _OLD_SELF.search(rule.get("rule") or "") is not None


def program_text(rule: Object, expression: str) -> str:
    """With `optionalOldSelf`, oldSelf is an optional; the engine takes these only from expressions."""
    if rule.get("optionalOldSelf"):
        return f"cel.bind(oldSelf, __old.?value, {expression})"
    return expression


def _walk(new: Any, old: Any, schema: Schema, path: Path, unchanged: bool) -> list[FieldError]:
    """`unchanged`: what holds this value is what it was; counts where the value has no old one of its own."""
    if new is None:
        return []
    if old is not ABSENT:
        unchanged = bool(new == old)
    rules = schema.get(RULES) or ()
    found = [_check(rule, new, old, schema, path, unchanged) for rule in rules]
    problems = [one for one in found if one is not None]
    if isinstance(new, dict):
        properties, values = schema.get("properties") or {}, schema.get("additionalProperties")
        before = fields_before(old, schema)
        for name, child in new.items():
            below = properties.get(name, values)
            if isinstance(below, dict) and has_rules(below):
                at = path / name if name in properties else path.key(name)
                problems += _walk(child, before.get(name, ABSENT), below, at, unchanged)
    elif isinstance(new, list) and has_rules(schema.get("items")):
        matched = correlate(new, old, schema)
        for index, one in enumerate(new):
            problems += _walk(one, matched[index], schema["items"], path / index, unchanged)
    return problems


def _check(
    rule: Object, new: Any, old: Any, schema: Schema, path: Path, unchanged: bool
) -> FieldError | None:
    optional = bool(rule.get("optionalOldSelf"))
    if uses_old_self(rule) and old is ABSENT and not optional:
        return None  # a transition rule without a transition
    bindings = {"self": to_cel(new, schema)}
    before = None if old is ABSENT else to_cel(old, schema)
    bindings["oldSelf"] = before
    bindings["__old"] = {} if old is ABSENT else {"value": before}
    try:
        holds = _evaluate(rule, rule["rule"], bindings)
    except CelError as error:
        return invalid(path, _shown(schema), _failure(str(error), rule))
    if holds is True:
        return None
    if unchanged and not uses_old_self(rule):
        return None  # ratcheted
    return _error(rule, path, schema, _message(rule, bindings))


def _failure(error: str, rule: Object) -> str:
    if error.startswith("no such overload"):
        text = "call arguments did not match a supported operator, function or macro signature"
        return f"'{error}': {text} for rule: {_short(rule)}"
    if error.startswith(rounds.TOO_LONG):
        why = "no further validation rules will be run due to call cost exceeds limit for rule"
        return f"'{rounds.TOO_LONG}': {why}: {_short(rule)}"
    return f"{error} evaluating rule: {_short(rule)}"


def _evaluate(rule: Object, expression: str, bindings: dict[str, Any]) -> Any:
    names = ("self", "__old") if rule.get("optionalOldSelf") else ("self", "oldSelf")
    program = compile_expression(program_text(rule, expression), names)
    given = {name: bindings[name] for name in names}
    try:
        return program.evaluate(given)
    except CelError as error:
        if rule.get("optionalOldSelf") or not str(error).startswith(rounds.TOO_LONG):
            raise
        return rounds.evaluate(expression, given)


def _short(rule: Object) -> str:
    return str(rule.get("message") or rule["rule"]).strip()


_MOST_MESSAGE_BYTES = 5 * 1024


def _message(rule: Object, bindings: dict[str, Any]) -> str:
    expression = rule.get("messageExpression")
    if expression:
        try:
            text = _evaluate(rule, expression, bindings)
        except CelError:
            text = None
        told = text.strip() if isinstance(text, str) else ""
        if told and "\n" not in told and len(told.encode()) <= _MOST_MESSAGE_BYTES:
            return told
    if rule.get("message"):
        return str(rule["message"]).strip()
    return f"failed rule: {rule['rule'].strip()}"


def _shown(schema: Schema) -> str:
    """Values are not repeated, only their type is."""
    return str(schema.get("type") or "")


def _error(rule: Object, path: Path, schema: Schema, text: str) -> FieldError:
    where = _field_path(rule.get("fieldPath"), path, schema)
    match rule.get("reason"):
        case "FieldValueRequired":
            return required(where, text)
        case "FieldValueForbidden":
            return forbidden(where, text)
        case "FieldValueDuplicate":
            return duplicate(where, _shown(schema))
    return invalid(where, _shown(schema), text)


def _field_path(field: str | None, path: Path, schema: Schema) -> Path:
    """`.spec.x` or `['x']` below the rule's own place."""
    if not field:
        return path
    try:
        below, _ = resolve(field, schema)
    except FieldPathError:
        return path
    return path / str(below)
