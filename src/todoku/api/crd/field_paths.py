"""Paths into a schema as CEL rules and selectable fields name them: `.spec.size`, `.metadata['name']`.

Semantics: ValidFieldPath of apiextensions-apiserver pkg/apiserver/schema/cel.
"""

from __future__ import annotations

import re
from typing import Any

from todoku.api.errors import Path
from todoku.api.schemas import Schema

_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|[.\[\]]|[^.\[\]']+")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class FieldPathError(ValueError):
    """The path leads nowhere; the message says why."""


def resolve(text: str, schema: Schema, *, brackets: bool = True) -> tuple[Path, Schema]:
    """The path and the schema it leads to.  Raises FieldPathError."""
    tokens = _TOKEN.findall(text)
    path, here, index = Path(), schema, 0

    def next_token() -> str:
        nonlocal index
        if index >= len(tokens):
            raise FieldPathError("unexpected end of JSON path")
        index += 1
        return str(tokens[index - 1])

    while index < len(tokens):
        token = next_token()
        if token == "[":
            if not brackets:
                raise FieldPathError("array notation is not allowed")
            path, here = _step(path, here, _quoted(next_token()))
            closing = next_token()
            if closing != "]":
                raise FieldPathError(f"expected ] but got {closing}")
        elif token == ".":
            path, here = _step(path, here, next_token())
        else:
            raise FieldPathError(f"expected [ or . but got: {token}")
    return path, here


def _quoted(token: str) -> str:
    if len(token) < 2 or token[0] != "'" or token[-1] != "'":
        raise FieldPathError(f"expected single quoted string but got {token}")

    def plain(match: re.Match[str]) -> str:
        one = match.group()[1]
        if one in ("'", "\\"):
            return one
        if one not in _ESCAPES:
            raise FieldPathError(f"invalid string literal: invalid escape char {match.group()}")
        return _ESCAPES[one]

    return re.sub(r"\\.", plain, token[1:-1])


def _step(path: Path, schema: Schema, name: str) -> tuple[Path, Schema]:
    properties: Any = schema.get("properties")
    values = schema.get("additionalProperties")
    if properties:
        if name not in properties:
            raise FieldPathError("does not refer to a valid field")
        return path / name, properties[name]
    if isinstance(values, dict):
        return path.key(name), values
    raise FieldPathError("does not refer to a valid field")
