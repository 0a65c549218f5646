"""x-kubernetes-validations: CEL rules at any depth of a schema, with transitions (KEP-2876)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from todoku.api.cel import CelError, compile_expression, to_cel
from todoku.api.crd.values import ABSENT, correlate
from todoku.api.errors import FieldError, Path
from todoku.api.meta import Object
from todoku.api.schemas import Schema

RULES = "x-kubernetes-validations"
Validator = Callable[[Object, "Object | None"], list[FieldError]]

_REASONS = {
    "FieldValueInvalid": "Invalid value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueRequired": "Required value",
    "FieldValueDuplicate": "Duplicate value",
}


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
    return lambda new, old: _walk(new, ABSENT if old is None else old, schema, Path())


def uses_old_self(rule: Object) -> bool:
    return "oldSelf" in rule.get("rule", "")


def program_text(rule: Object, expression: str) -> str:
    """With `optionalOldSelf`, oldSelf is an optional; the engine takes these only from expressions."""
    if rule.get("optionalOldSelf"):
        return f"cel.bind(oldSelf, __old.?value, {expression})"
    return expression


def _walk(new: Any, old: Any, schema: Schema, path: Path) -> list[FieldError]:
    if new is None:
        return []
    problems = [
        problem
        for rule in schema.get(RULES) or ()
        if (problem := _check(rule, new, old, schema, path))
    ]
    if isinstance(new, dict):
        properties, values = schema.get("properties") or {}, schema.get("additionalProperties")
        before = old if isinstance(old, dict) else {}
        for name, child in new.items():
            below = properties.get(name, values)
            if isinstance(below, dict) and has_rules(below):
                at = path / name if name in properties else path.key(name)
                problems += _walk(child, before.get(name, ABSENT), below, at)
    elif isinstance(new, list) and has_rules(schema.get("items")):
        matched = _correlated(new, old, schema)
        for index, one in enumerate(new):
            problems += _walk(one, matched[index], schema["items"], path / index)
    return problems


def _correlated(new: list[Any], old: Any, schema: Schema) -> list[Any]:
    """Only items of keyed lists have an old self."""
    if schema.get("x-kubernetes-list-type") != "map":
        return [ABSENT] * len(new)
    return correlate(new, old, schema)


def _check(rule: Object, new: Any, old: Any, schema: Schema, path: Path) -> FieldError | None:
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
        return _error(rule, path, schema, f"{error} evaluating rule: {_short(rule)}")
    if holds is True:
        return None
    if old is not ABSENT and new == old and not uses_old_self(rule):
        return None  # unchanged: ratcheted
    return _error(rule, path, schema, _message(rule, bindings))


def _evaluate(rule: Object, expression: str, bindings: dict[str, Any]) -> Any:
    names = ("self", "__old") if rule.get("optionalOldSelf") else ("self", "oldSelf")
    program = compile_expression(program_text(rule, expression), names)
    return program.evaluate({name: bindings[name] for name in names})


def _short(rule: Object) -> str:
    return str(rule.get("message") or rule["rule"]).strip()


def _message(rule: Object, bindings: dict[str, Any]) -> str:
    expression = rule.get("messageExpression")
    if expression:
        try:
            text = _evaluate(rule, expression, bindings)
        except CelError:
            text = None
        if isinstance(text, str) and text.strip() and "\n" not in text:
            return text.strip()
    if rule.get("message"):
        return str(rule["message"]).strip()
    return f"failed rule: {rule['rule'].strip()}"


def _error(rule: Object, path: Path, schema: Schema, text: str) -> FieldError:
    reason = rule.get("reason") or "FieldValueInvalid"
    where = _field_path(rule.get("fieldPath"), path)
    if reason in ("FieldValueRequired", "FieldValueForbidden"):
        return FieldError(where, reason, f"{_REASONS[reason]}: {text}")
    shown = schema.get("type") or "object"
    if reason == "FieldValueDuplicate":
        return FieldError(where, reason, f'Duplicate value: "{shown}"')
    return FieldError(where, "FieldValueInvalid", f'Invalid value: "{shown}": {text}')


def _field_path(field: str | None, path: Path) -> Path:
    """`.spec.x` or `['x']` below the rule's own place."""
    if not field:
        return path
    text = str(path) if str(path) != "<nil>" else ""
    return Path((text + field).removeprefix("."))
