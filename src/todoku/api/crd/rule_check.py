"""CEL rules when a definition is written: their form, their types, and what they may cost at most.

Semantics: ValidateCustomResourceDefinitionOpenAPISchema and CELSchemaContext of apiextensions-apiserver.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from todoku.api.cel import CelError
from todoku.api.cel.cost import LIMIT, max_cost
from todoku.api.cel.declared import Declared, declared, max_cardinality
from todoku.api.cel.schema_rules import RuleChecker
from todoku.api.cel.syntax import Tree
from todoku.api.crd.field_paths import FieldPathError, resolve
from todoku.api.errors import (
    FieldError,
    Path,
    forbidden,
    internal_field,
    invalid,
    not_supported,
    required,
)
from todoku.api.schemas import Schema

RULES = "x-kubernetes-validations"
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_RULE_LIMIT, _TOTAL_LIMIT = 10_000_000, 100_000_000
_LINE_BREAK = re.compile(r"[\n\r]")


@dataclass(slots=True)
class TotalCost:
    """What all rules of a schema cost together, and the dearest of them."""

    total: int = 0
    dearest: list[tuple[int, Path]] = field(default_factory=list)

    def add(self, path: Path, cost: int) -> None:
        self.total = min(self.total + cost, LIMIT)
        if cost >= _TOTAL_LIMIT // 100:
            self.dearest.append((cost, path))
            self.dearest.sort(key=lambda one: -one[0])
            del self.dearest[4:]

    def problems(self, root: Path) -> Iterator[FieldError]:
        if self.total <= _TOTAL_LIMIT:
            return
        for _, path in self.dearest:
            text = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
            yield forbidden(path, text)
        name = f"{RULES} estimated rule cost total for entire OpenAPIv3 schema"
        yield forbidden(root, _over_budget(name, self.total, _TOTAL_LIMIT))


@dataclass(frozen=True, slots=True)
class Scope:
    """Where in a schema rules stand: how many values there can be (None: no bound), and the running total.

    `limited` False leaves out the limit of each rule, for schemas that were accepted before.
    """

    cardinality: int | None
    total: TotalCost
    limited: bool = True

    def below(self, schema: Schema) -> Scope:
        """The scope of the items or fields of a value."""
        most = _most_elements(schema)
        if self.cardinality is None or most is None:
            return Scope(None, self.total, self.limited)
        return Scope(min(self.cardinality * most, LIMIT), self.total, self.limited)


def _most_elements(schema: Schema) -> int | None:
    kind = schema.get("type")
    if kind == "object" and schema.get("additionalProperties") is not None:
        limit = schema.get("maxProperties")
    elif kind == "array":
        limit = schema.get("maxItems")
    else:
        return 1
    return None if limit is None else max(0, int(limit))


def form_problems(schema: Schema, path: Path) -> Iterator[FieldError]:
    """Of the rules of one node, without looking into their expressions."""
    for index, rule in enumerate(schema.get(RULES) or ()):
        at = path / RULES / index
        yield from _message_problems(rule, at)
        expression = rule.get("messageExpression") or ""
        if expression and not expression.strip():
            text = "messageExpression must be non-empty if specified"
            yield required(at / "messageExpression", text)
        if rule.get("reason") is not None and rule["reason"] not in _REASONS:
            yield not_supported(at / "reason", rule["reason"], _REASONS)
        yield from _field_path_problems(rule.get("fieldPath") or "", schema, at / "fieldPath")


def _message_problems(rule: Schema, at: Path) -> Iterator[FieldError]:
    text, message = (rule.get("rule") or "").strip(), rule.get("message") or ""
    if not text:
        yield required(at / "rule", "rule is not specified")
    elif message and not message.strip():
        yield invalid(at / "message", message, "message must be non-empty if specified")
    elif _LINE_BREAK.search(message.strip()):
        yield invalid(at / "message", message, "message must not contain line breaks")
    elif _LINE_BREAK.search(text) and not message:
        yield required(at / "message", "message must be specified if rule contains line breaks")


def _field_path_problems(text: str, schema: Schema, at: Path) -> Iterator[FieldError]:
    if not text:
        return
    if not text.strip():
        yield invalid(at, text, "fieldPath must be non-empty if specified")
    if _LINE_BREAK.search(text):
        yield invalid(at, text, "fieldPath must not contain line breaks")
    try:
        resolve(text, schema)
    except FieldPathError:
        yield invalid(at, text, "fieldPath must be a valid path")


def expression_problems(
    schema: Schema, path: Path, scope: Scope, *, root: bool, uncorrelatable: Path | None
) -> Iterator[FieldError]:
    """Of the expressions of one node's rules; `uncorrelatable` is what keeps oldSelf from being known."""
    rules = schema.get(RULES) or ()
    if not rules:
        return
    one = declared(schema, root=root)
    if one is None:
        text = (
            f"internal error: failed to construct type information for {RULES} rules:"
            " unable to convert structural schema to CEL declarations"
        )
        yield internal_field(path / RULES, text)
        return
    checker = RuleChecker(one)
    for index, rule in enumerate(rules):
        yield from _Rule(rule, path / RULES / index, one, checker, scope).problems(uncorrelatable)


@dataclass(frozen=True, slots=True)
class _Rule:
    rule: Schema
    at: Path
    one: Declared
    checker: RuleChecker
    scope: Scope

    def problems(self, uncorrelatable: Path | None) -> Iterator[FieldError]:
        at, problem, tree = self.at / "rule", "", None
        try:
            tree = self._tree("rule", "BOOL")
        except CelError as error:
            problem = str(error)
        yield from self._rule_cost(tree)
        if problem:
            yield _invalid(at, self.rule, problem)
        yield from self._message()
        optional = self.rule.get("optionalOldSelf")
        bound = 1 if optional else 0  # cel.bind names what it binds once
        if tree is not None and tree.names["oldSelf"] > bound:
            if uncorrelatable is not None:
                text = (
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within"
                    f" {uncorrelatable}"
                )
                yield invalid(at, self.rule.get("rule") or "", text)
        elif optional is not None:
            text = "may not be set if oldSelf is not used in rule"
            yield invalid(self.at / "optionalOldSelf", optional, text)

    def _tree(self, name: str, wanted: str) -> Tree:
        """The checked expression.  Raises CelError, with upstream's wording."""
        optional = bool(self.rule.get("optionalOldSelf"))
        try:
            checked = self.checker.check(self.rule[name], optional=optional)
        except CelError as error:
            prefix = "messageExpression " if name == "messageExpression" else ""
            raise CelError(f"{prefix}{error}") from None
        if checked.result_type != wanted:
            raise CelError(_WRONG_RESULT[name])
        return Tree(checked.serialized)

    def _rule_cost(self, tree: Tree | None) -> Iterator[FieldError]:
        cost = self._cost(tree) if tree is not None else 0
        times = self.scope.cardinality
        cost = min(cost * (max_cardinality(self.one) if times is None else times), LIMIT)
        yield from self._charged(self.at / "rule", "estimated rule cost", cost)

    def _message(self) -> Iterator[FieldError]:
        if not (self.rule.get("messageExpression") or "").strip():
            return
        at = self.at / "messageExpression"
        try:
            tree = self._tree("messageExpression", "STRING")
        except CelError as error:
            yield _invalid(at, self.rule, str(error))
            return
        yield from self._charged(at, "estimated messageExpression cost", self._cost(tree))

    def _cost(self, tree: Tree) -> int:
        old = Declared("object", fields={"value": self.one})
        return max_cost(tree, {"self": self.one, "oldSelf": self.one, "__old": old})

    def _charged(self, at: Path, name: str, cost: int) -> Iterator[FieldError]:
        if self.scope.limited and cost > _RULE_LIMIT:
            yield forbidden(at, _over_budget(name, cost, _RULE_LIMIT))
        self.scope.total.add(at, cost)


_WRONG_RESULT = {
    "rule": "cel expression must evaluate to a bool",
    "messageExpression": "messageExpression must evaluate to a string",
}


def _over_budget(name: str, cost: int, limit: int) -> str:
    factor = cost / limit
    if factor > 100:
        shown = "more than 100x"
    elif factor < 1.5:
        shown = f"{factor:f}x"
    else:
        shown = f"{factor:.1f}x"
    return (
        f"{name} exceeds budget by factor of {shown} (try simplifying the rule, or adding maxItems,"
        " maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )


_GO_FIELDS = (
    ("Rule", "rule", ""), ("Message", "message", ""), ("MessageExpression", "messageExpression", ""),
    ("Reason", "reason", None), ("FieldPath", "fieldPath", ""), ("OptionalOldSelf", "optionalOldSelf", None),
)  # fmt: skip


def _invalid(at: Path, rule: Schema, detail: str) -> FieldError:
    """The value is the whole rule, as Go's JSON has it: upstream's own names, HTML characters escaped."""
    shown: dict[str, Any] = {name: rule.get(key, empty) for name, key, empty in _GO_FIELDS}
    text = json.dumps(shown, separators=(",", ":"), ensure_ascii=False)
    for one in "<>&":
        text = text.replace(one, f"\\u{ord(one):04x}")
    return FieldError(at, "FieldValueInvalid", f"Invalid value: {text}: {detail}")
