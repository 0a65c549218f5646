"""Loops inside loops, one round of the outer one at a time.

The engine ends an evaluation after ten thousand iterations in all, which a hundred items need to be compared with each
other; Kubernetes' limit of costs lets several hundred pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from todoku.api.cel.engine import CelError, compile_expression
from todoku.api.cel.formats import blanked, closing

MOST_ROUNDS = 512
TOO_LONG = "operation cancelled: actual cost limit exceeded"
_LOOP = re.compile(
    r"(?<![\w.)\]])(?P<range>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\.(?P<macro>all|exists)\(\s*(?P<name>[A-Za-z_]\w*)\s*,"
)


@dataclass(frozen=True, slots=True)
class Loop:
    """`RANGE.all(NAME, BODY)` or `exists`, and where it stands in an expression."""

    range: tuple[str, ...]
    macro: str
    name: str
    body: str
    start: int
    end: int


def first_loop(text: str) -> Loop | None:
    """The first loop over a field of a variable; none in other loops' bodies stands before it."""
    plain = blanked(text)
    match = _LOOP.search(plain)
    end = closing(plain, match.end()) if match else 0
    if match is None or not end or _has_comma(plain[match.end() : end - 1]):
        return None
    path = tuple(match["range"].split("."))
    body = text[match.end() : end - 1]
    return Loop(path, match["macro"], match["name"], body, match.start(), end)


def _has_comma(text: str) -> bool:
    """Outside all brackets: a loop over keys and values."""
    depth = 0
    for one in text:
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(one, 0)
        if one == "," and depth == 0:
            return True
    return False


def evaluate(text: str, bindings: Mapping[str, Any]) -> Any:
    """The result of an expression whose loops are too long for the engine.  Raises CelError."""
    loop = first_loop(text)
    values = _values(loop, bindings) if loop else None
    if loop is None or values is None:
        raise CelError(TOO_LONG)
    holds = "true" if _rounds(loop, values, bindings) else "false"
    rest = f"{text[: loop.start]}{holds}{text[loop.end :]}"
    return compile_expression(rest, tuple(bindings)).evaluate(bindings)


def _values(loop: Loop, bindings: Mapping[str, Any]) -> Iterable[Any] | None:
    """What the loop goes over: a list's items or a map's keys; None if that is not known, or too much."""
    found: Any = bindings
    for part in loop.range:
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    known = isinstance(found, list | dict) and len(found) <= MOST_ROUNDS
    return found if known else None


def _rounds(loop: Loop, values: Iterable[Any], bindings: Mapping[str, Any]) -> bool:
    """As CEL has it, a round that decides outweighs others that fail."""
    program = compile_expression(loop.body, (*bindings, loop.name))
    decisive: bool = loop.macro == "exists"
    failure: CelError | None = None
    for one in values:
        try:
            if bool(program.evaluate({**bindings, loop.name: one})) is decisive:
                return decisive
        except CelError as error:
            if str(error).startswith(TOO_LONG):
                raise
            failure = failure or error
    if failure is not None:
        raise failure
    return not decisive
