"""Whether the defaults of a schema are valid values without unknown fields.

Semantics: apiextensions-apiserver pkg/apiserver/schema/defaulting validation.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from todoku.api.crd.pruning import prune
from todoku.api.crd.types import EMBEDDED
from todoku.api.crd.values import schema_problems
from todoku.api.errors import FieldError, Path, invalid
from todoku.api.schemas import Schema

_META = ("metadata", "apiVersion", "kind")


def default_problems(schema: Schema, path: Path) -> list[FieldError]:
    """Of all defaults of a whole kind's schema."""
    return list(_node({**schema, EMBEDDED: True}, path, inside_meta=False))


def _node(schema: Schema, path: Path, *, inside_meta: bool) -> Iterator[FieldError]:
    embedded = bool(schema.get(EMBEDDED))
    inside_meta = inside_meta and not embedded
    if schema.get("default") is not None:
        yield from _default(schema, path / "default", inside_meta)
    items = schema.get("items")
    if isinstance(items, dict):
        yield from _node(items, path / "items", inside_meta=inside_meta)
    for name, child in (schema.get("properties") or {}).items():
        meta = inside_meta or (embedded and name in _META)
        yield from _node(child, (path / "properties").key(name), inside_meta=meta)


def _default(schema: Schema, at: Path, inside_meta: bool) -> Iterator[FieldError]:
    value: Any = schema["default"]
    if not inside_meta and prune(value, schema) != value:
        yield invalid(at, value, "must not have unknown fields")
    plain = {key: one for key, one in schema.items() if key != "default"}
    wrapped = {"type": "object", "properties": {"default": plain}}
    for problem in schema_problems({"default": value}, None, wrapped):
        below = str(problem.path).removeprefix("default")
        told = problem.message.replace(f"{problem.path} in body", f"{below.lstrip('.')} in body")
        yield FieldError(Path(str(at) + below), problem.reason, told)
