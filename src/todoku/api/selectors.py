"""Label and field selectors: parsed once, matched many times (k8s.io/apimachinery labels, fields).

`parse_labels("app=web,tier in (a,b),!old")`, `from_selector({"matchLabels": …})` and
`parse_fields("metadata.name=web")` give immutable selectors; an empty text selects everything.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from todoku.api.errors import FieldError, Path, forbidden, invalid, required
from todoku.api.meta import Object
from todoku.api.validation import label_value_problems, qualified_name_problems


class SelectorError(ValueError):
    """The text is not a selector; the message is worded as upstream's parser words it."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition; `operator` is in, notin, =, ==, !=, exists, !, gt or lt."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        if self.operator in ("=", "==", "in"):
            return value is not None and value in self.values
        if self.operator in ("!=", "notin"):
            return value is None or value not in self.values
        if self.operator == "exists":
            return value is not None
        if self.operator == "!":
            return value is None
        return value is not None and self._compares(value)

    def _compares(self, value: str) -> bool:
        try:
            left, right = int(value), int(next(iter(self.values)))
        except ValueError:
            return False
        return left > right if self.operator == "gt" else left < right

    def __str__(self) -> str:
        if self.operator == "exists":
            return self.key
        if self.operator == "!":
            return f"!{self.key}"
        if self.operator in ("gt", "lt"):
            return f"{self.key}{'>' if self.operator == 'gt' else '<'}{next(iter(self.values))}"
        if self.operator in ("in", "notin"):
            return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"
        return f"{self.key}{self.operator}{next(iter(self.values))}"


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold.  `nothing` matches no labels (a nil selector of a workload)."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        if self.nothing:
            return False
        found = labels or {}
        return all(requirement.matches(found) for requirement in self.requirements)

    @property
    def empty(self) -> bool:
        """Whether it selects everything."""
        return not self.requirements and not self.nothing

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


NOTHING = LabelSelector(nothing=True)

_TOKEN = re.compile(r"\s*(==|!=|[=!,()<>]|[^\s=!,()<>]+|$)")
_SYMBOLS = frozenset("=!,()<>") | {"==", "!="}


class _Parser:
    """Recursive descent over the grammar of labels.Parse."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise SelectorError(f"unable to parse requirement: {text!r}")
            if match.group(1):
                self.tokens.append(match.group(1))
            position = match.end()
        self.position = 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def parse(self) -> list[Requirement]:
        found: list[Requirement] = []
        while token := self.peek():
            if token != "!" and token in _SYMBOLS:
                raise _expected(token, "!, identifier, or 'end of string'")
            found.append(self.requirement())
            separator = self.take()
            if not separator:
                break
            if separator != ",":
                raise _expected(separator, "',' or 'end of string'")
            follow = self.peek()
            if follow != "!" and (not follow or follow in _SYMBOLS):
                raise SelectorError(f"found '{follow}', expected: identifier after ','")
        return found

    def requirement(self) -> Requirement:
        negated = self.peek() == "!"
        if negated:
            self.take()
        key = self.take()
        if not key or key in _SYMBOLS:
            raise _unable(f"found '{key}', expected: identifier")
        _check_key(key)
        if negated:
            return Requirement(key, "!")
        if self.peek() in ("", ","):
            return Requirement(key, "exists")
        return self.comparison(key)

    def comparison(self, key: str) -> Requirement:
        operator = self.take()
        if operator in ("in", "notin"):
            return Requirement(key, operator, frozenset(_checked(key, self.values())))
        if operator in ("=", "==", "!="):
            return Requirement(key, operator, frozenset(_checked(key, [self.exact()])))
        if operator in ("<", ">"):
            value = self.exact()
            if not re.fullmatch(r"[+-]?\d+", value):
                raise _unable(f'values[0][{key}]: Invalid value: "{value}": for \'Gt\', \'Lt\' operators, the value must be an integer')  # fmt: skip
            return Requirement(key, "gt" if operator == ">" else "lt", frozenset([value]))
        listed = "in, notin, =, ==, !=, gt, lt"
        raise _unable(f"found '{operator}', expected: {listed}")

    def exact(self) -> str:
        if self.peek() in ("", ","):
            return ""
        value = self.take()
        if value in _SYMBOLS:
            raise _unable(f"found '{value}', expected: identifier")
        return value

    def values(self) -> list[str]:
        if self.take() != "(":
            self.position -= 1
            raise _unable(f"found '{self.peek()}' expected: '('")
        values = [""]
        while (token := self.take()) != ")":
            if not token or token in _SYMBOLS - {","}:
                raise _unable(f"found '{token}', expected: ',', ')' or identifier")
            if token == ",":
                values.append("")
            elif values[-1]:
                raise _unable(f"found '{token}', expected: ',' or ')'")
            else:
                values[-1] = token
        return values


def _unable(detail: str) -> SelectorError:
    return SelectorError(f"unable to parse requirement: {detail}")


def _expected(found: str, wanted: str) -> SelectorError:
    return SelectorError(f"found '{found}', expected: {wanted}")


def _check_key(key: str) -> None:
    problems = qualified_name_problems(key)
    if problems:
        raise _unable(f'<nil>: Invalid value: "{key}": {"; ".join(problems)}')


def _checked(key: str, values: list[str]) -> list[str]:
    for index, value in enumerate(values):
        problems = label_value_problems(value)
        if problems:
            where = f"values[{index}][{key}]"
            raise _unable(f'{where}: Invalid value: "{value}": {"; ".join(problems)}')
    return values


@functools.lru_cache(maxsize=1024)
def parse_labels(text: str) -> LabelSelector:
    """Read the text form: `a=b`, `a!=b`, `a in (b,c)`, `a notin (b)`, `a`, `!a`, `a>1`.  Raises SelectorError."""
    return LabelSelector(tuple(sorted(_Parser(text).parse(), key=lambda one: one.key)))


_WIRE_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def from_selector(selector: Object | None) -> LabelSelector:
    """The meta/v1 LabelSelector of a workload; None selects nothing, {} everything.

    Unknown operators select nothing: the object was validated when it was written.
    """
    if selector is None:
        return NOTHING
    found = [
        Requirement(key, "=", frozenset([value]))
        for key, value in sorted((selector.get("matchLabels") or {}).items())
    ]
    for one in selector.get("matchExpressions") or ():
        operator = _WIRE_OPERATORS.get(one.get("operator", ""))
        if operator is None:
            return NOTHING
        found.append(Requirement(one.get("key", ""), operator, frozenset(one.get("values") or ())))
    return LabelSelector(tuple(found))


def from_map(labels: Mapping[str, str] | None) -> LabelSelector:
    """A plain map, as `spec.selector` of a Service; None or {} select nothing here."""
    if not labels:
        return NOTHING
    return LabelSelector(
        tuple(Requirement(key, "=", frozenset([labels[key]])) for key in sorted(labels))
    )


def selector_problems(selector: Object | None, path: Path) -> list[FieldError]:
    """Problems of a meta/v1 LabelSelector (ValidateLabelSelector)."""
    problems: list[FieldError] = []
    if not selector:
        return problems
    for key, value in (selector.get("matchLabels") or {}).items():
        for text in qualified_name_problems(key):
            problems.append(invalid(path / "matchLabels", key, text))
        for text in label_value_problems(value):
            problems.append(invalid(path / "matchLabels", value, text))
    for index, one in enumerate(selector.get("matchExpressions") or ()):
        at = path / "matchExpressions" / index
        operator = one.get("operator", "")
        if operator not in _WIRE_OPERATORS:
            problems.append(invalid(at / "operator", operator, "not a valid selector operator"))
        problems += requirement_problems(one, at)
    return problems


def requirement_problems(one: Object, path: Path) -> list[FieldError]:
    """Problems of a LabelSelectorRequirement whose operator may be one we do not know."""
    problems = _values_problems(one, path)
    problems += [
        invalid(path / "key", one.get("key", ""), text)
        for text in qualified_name_problems(one.get("key", ""))
    ]
    for index, value in enumerate(one.get("values") or ()):
        problems += [
            invalid(path / "values" / index, value, text) for text in label_value_problems(value)
        ]
    return problems


def field_requirement_problems(one: Object, path: Path) -> list[FieldError]:
    """Problems of a FieldSelectorRequirement whose operator may be one we do not know."""
    problems = [] if one.get("key") else [required(path / "key", "must be specified")]
    return problems + _values_problems(one, path)


def _values_problems(one: Object, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    operator, values = one.get("operator", ""), one.get("values") or ()
    if operator in ("In", "NotIn"):
        if not values:
            text = "must be specified when `operator` is 'In' or 'NotIn'"
            problems.append(required(path / "values", text))
    elif operator in ("Exists", "DoesNotExist") and values:
        text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        problems.append(forbidden(path / "values", text))
    return problems


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    field: str
    operator: str  # = or !=
    value: str


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All terms must hold; a field that is absent counts as ""."""

    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        return all(
            (fields.get(one.field, "") == one.value) == (one.operator == "=")
            for one in self.requirements
        )

    @property
    def empty(self) -> bool:
        return not self.requirements

    def exact(self, field: str) -> str | None:
        """The value that `field` must have, if one is required."""
        for one in self.requirements:
            if one.field == field and one.operator == "=":
                return one.value
        return None

    def unknown(self, supported: Sequence[str]) -> str | None:
        """The first field that is not supported."""
        for one in self.requirements:
            if one.field not in supported:
                return one.field
        return None

    def renamed(self, rename: Callable[[str], str]) -> FieldSelector:
        """The same terms over other field names."""
        return FieldSelector(
            tuple(
                FieldRequirement(rename(one.field), one.operator, one.value)
                for one in self.requirements
            )
        )

    def __str__(self) -> str:
        return ",".join(
            f"{one.field}{one.operator}{_escape(one.value)}" for one in self.requirements
        )


@functools.lru_cache(maxsize=1024)
def parse_fields(text: str) -> FieldSelector:
    """Read `metadata.name=web,status.phase!=Running`; commas, `=` and `\\` are escaped by `\\`.  Raises SelectorError."""
    return FieldSelector(tuple(_term(term) for term in _split(text) if term))


def _split(text: str) -> list[str]:
    terms, start, position = [], 0, 0
    while position < len(text):
        if text[position] == "\\":
            position += 1
        elif text[position] == ",":
            terms.append(text[start:position])
            start = position + 1
        position += 1
    terms.append(text[start:])
    return terms


_FIELD_OPERATOR = re.compile(r"!=|==|=")


def _term(term: str) -> FieldRequirement:
    match = _FIELD_OPERATOR.search(term)
    if match is None:
        raise SelectorError(f"invalid selector: '{term}'; can't understand '{term}'")
    field, value = term[: match.start()], _unescape(term[match.end() :])
    operator = "!=" if match.group() == "!=" else "="
    return FieldRequirement(field, operator, value)


def _unescape(text: str) -> str:
    if "\\" not in text and "," not in text and "=" not in text:
        return text
    out, position = [], 0
    while position < len(text):
        one = text[position]
        if one == "\\":
            position += 1
            follow = text[position : position + 1]
            if follow not in ("\\", ",", "="):
                raise SelectorError(f"invalid field selector: invalid escape sequence: \\{follow}")
            out.append(follow)
        elif one in ",=":
            raise SelectorError(f"invalid field selector: unescaped character in value: {one}")
        else:
            out.append(one)
        position += 1
    return "".join(out)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
