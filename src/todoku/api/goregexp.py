"""Regular expressions as Go reads them: RE2's syntax, in time that grows with the text only.

Patterns of schemas and of CEL come from users; Python's own engine refuses some of them, reads others differently and
can take forever over a few.  See docs/decisions/0012-regular-expressions-by-re2.md.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any


class BadExpression(ValueError):
    """No regular expression to Go; the text is Go's."""


def holds(expression: str, text: str) -> bool:
    """Whether any part of the text matches.  Raises BadExpression."""
    return compiled(expression).search(text.encode(errors="replace")) is not None


def found(expression: str, text: str) -> Iterator[str]:
    """The parts that match, from left to right, none overlapping.  Raises BadExpression."""
    matches = compiled(expression).finditer(text.encode(errors="replace"))
    return (match.group().decode() for match in matches)


def compiled(expression: str) -> Any:
    """The engine's pattern, for texts in UTF-8.  Raises BadExpression."""
    outcome = _compiled(expression)
    if isinstance(outcome, str):
        raise BadExpression(outcome)
    return outcome


@functools.lru_cache(maxsize=2048)
def _compiled(expression: str) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        return _problem(error.args[0], expression)


_WORDS = {
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid repetition size": "invalid repeat count",
    "bad repetition operator": "invalid nested repetition operator",
    "no argument for repetition operator": "missing argument to repetition operator",
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "invalid named capture group": "invalid named capture",
    "pattern too large - compile failed": "expression too large",
    "trailing \\": "trailing backslash at end of expression",
}


def _problem(told: bytes | str, expression: str) -> str:
    text = told.decode(errors="replace") if isinstance(told, bytes) else told
    kind, separator, part = text.partition(": ")
    shown = part if separator else "" if kind == "trailing \\" else expression
    return f"error parsing regexp: {_WORDS.get(kind, kind)}: `{shown}`"
