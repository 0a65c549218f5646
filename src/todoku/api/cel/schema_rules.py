"""Rules over a schema, checked against the type that it declares."""

from __future__ import annotations

import re
from dataclasses import dataclass

from todoku.api.cel.checking import Checker, Kind, ListOf, MapOf, Structures
from todoku.api.cel.declared import Declared
from todoku.api.cel.engine import CelError


@dataclass(frozen=True, slots=True)
class Checked:
    """A compiled expression: its type, and its checked syntax tree for `syntax.Tree`."""

    result_type: str
    serialized: bytes


class RuleChecker:
    """Compiles expressions over `self` and `oldSelf` of one declared type; with `optional`, oldSelf is an optional."""

    def __init__(self, one: Declared) -> None:
        self._one = one
        self._checkers: dict[bool, Checker] = {}

    def check(self, text: str, *, optional: bool = False) -> Checked:
        """Raises CelError with what is wrong, as cel-go words it."""
        # The engine takes optionals only from expressions.
        prefix, suffix = _BOUND if optional else ("", "")
        try:
            expression = self._checker(optional).compiled(f"{prefix}{text}{suffix}")
        except CelError as error:
            raise CelError(_unbound(str(error)) if optional else str(error)) from None
        return Checked(str(expression.return_type().name()), expression.serialize())

    def _checker(self, optional: bool) -> Checker:
        if optional not in self._checkers:
            structures = Structures()
            kind = _kind(self._one, structures, "selfType")
            old = structures.add("old", {"value": kind}) if optional else kind
            self._checkers[optional] = Checker(
                structures, {"self": kind, "__old" if optional else "oldSelf": old}
            )
        return self._checkers[optional]


def _kind(one: Declared, structures: Structures, name: str) -> Kind:
    if one.element is not None:
        part = "@idx" if one.kind == "list" else "@elem"
        element = _kind(one.element, structures, f"{name}.{part}")
        return ListOf(element) if one.kind == "list" else MapOf(element)
    if one.kind == "object":
        fields = {
            key: _kind(child, structures, f"{name}.{key}") for key, child in one.fields.items()
        }
        return structures.add(name, fields)
    return one.kind


_BOUND = ("cel.bind(oldSelf, __old.?value, ", ")")
_FIRST_LINE = re.compile(r"(ERROR: <input>:1:)(\d+)(: .*)")


def _unbound(problem: str) -> str:
    """The text of a failure as if the expression stood alone."""
    prefix, suffix = _BOUND
    lines = problem.split("\n")
    for number, line in enumerate(lines):
        match = _FIRST_LINE.search(line)
        if match is None:
            continue
        column = max(1, int(match.group(2)) - len(prefix))
        start = line[: match.start()]
        lines[number] = f"{start}{match.group(1)}{column}{match.group(3)}"
        if number + 2 < len(lines):
            source = lines[number + 1].removeprefix(f" | {prefix}").removesuffix(suffix)
            lines[number + 1] = f" | {source}"
            lines[number + 2] = f" | {'.' * (column - 1)}^"
    return "\n".join(lines)
