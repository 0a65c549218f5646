"""One version's schema, compiled: pruning, defaulting and validation of custom resources."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from todoku.api import decoding, schemas
from todoku.api.crd.lists import list_problems
from todoku.api.crd.pruning import prune
from todoku.api.crd.remembered import remembered
from todoku.api.crd.rules import Validator, compile_rules
from todoku.api.crd.types import PRESERVE, type_of_schema
from todoku.api.crd.values import schema_problems
from todoku.api.errors import FieldError, Path, invalid
from todoku.api.meta import Object, copy
from todoku.api.schemas import Schema, Type


@dataclass(frozen=True, slots=True, eq=False)
class Structural:
    """`schema` is `openAPIV3Schema` (None: any object); `preserve` keeps all unknown fields (old CRDs)."""

    schema: Schema | None
    preserve: bool
    type: Type
    validator: Validator | None

    def prune(self, obj: Object) -> Object:
        """A copy without unknown fields; metadata is pruned as ObjectMeta."""
        if self.preserve or self.schema is None:
            return _pruned_meta(dict(obj))
        out = prune(obj, self.schema, root=True)
        return _pruned_meta(out)

    def unknown(self, obj: Object) -> list[str]:
        """`unknown field "spec.x"` for what pruning would remove, sorted as upstream answers them."""
        return [] if self.preserve else sorted(decoding.strict_problems(obj, self.type))

    def default(self, obj: Object) -> None:
        """Fill in defaults, in place; nulls that may not be null give way to a default."""
        if self.schema is not None:
            _default(obj, self.schema)

    def validate(self, new: Object, old: Object | None = None) -> list[FieldError]:
        """Problems of the schema, of list types and of the CEL rules.

        On an update, unchanged parts are not complained about (ratcheting, KEP-4008).
        """
        if self.schema is None:
            return []
        problems = schema_problems(new, old, self.schema)
        problems += list_problems(new, self.schema, Path())
        if self.validator is None:
            return problems
        if any(one.reason in _BLOCKING for one in problems):
            return [*problems, invalid(Path("<nil>"), "null", _UNCHECKED)]
        return problems + self.validator(new, old)


_BLOCKING = frozenset(
    {
        "FieldValueRequired",
        "FieldValueNotSupported",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    }
)
_UNCHECKED = (
    "some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)


def structural(version: Object, *, preserve: bool = False) -> Structural:
    """Compile an entry of `spec.versions`; equal schemas are compiled once."""
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    return _compiled(json.dumps(schema), preserve)


@remembered(256)
def _compiled(text: str, preserve: bool) -> Structural:
    schema: Schema | None = json.loads(text)
    if schema is not None:
        schema = _lean(schema, {})
    kept = (
        preserve or schema is None or (bool(schema.get(PRESERVE)) and not schema.get("properties"))
    )
    type_ = type_of_schema(schema)
    if kept:
        type_ = Type("struct", fields=type_.fields, open=True)
    validator = compile_rules(schema) if schema is not None else None
    return Structural(schema, kept, type_, validator)


_PROSE = frozenset(("description", "title", "example", "externalDocs"))


def _lean(schema: Schema, known: dict[str, Schema]) -> Schema:
    """The schema without what decides nothing, in which parts that are alike are one object: not to be changed.

    Most of a schema is prose, which clients read from OpenAPI, and copies of what is said of pods.
    """
    made: Schema = {}
    for key, value in schema.items():
        if key == "properties" and isinstance(value, dict):
            made[key] = {name: _lean(child, known) for name, child in value.items()}
        elif key in _JUNCTORS and isinstance(value, list):
            made[key] = [_lean(child, known) for child in value]
        elif key in _BELOW and isinstance(value, dict):
            made[key] = _lean(value, known)
        elif key not in _PROSE:
            made[key] = value
    return known.setdefault(json.dumps(made), made)


_JUNCTORS = frozenset(("allOf", "anyOf", "oneOf"))
_BELOW = frozenset(("items", "additionalProperties", "not"))


def _pruned_meta(obj: Object) -> Object:
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        obj["metadata"] = decoding.normalize(metadata, schemas.type_of(schemas.OBJECT_META))
    return obj


def _default(value: Any, schema: Schema) -> None:
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        for name, child in properties.items():
            if child.get("default") is not None and _missing(value, name, child):
                value[name] = copy(child["default"])
            if name in value:
                _default(value[name], child)
        values = schema.get("additionalProperties")
        if isinstance(values, dict):
            for name, one in value.items():
                if name not in properties:
                    _default_item(value, name, one, values)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for one in value:
            _default(one, schema["items"])


def _default_item(holder: Object, name: str, value: Any, schema: Schema) -> None:
    if value is None and schema.get("default") is not None and not schema.get("nullable"):
        holder[name] = copy(schema["default"])
    _default(holder[name], schema)


def _missing(value: Object, name: str, schema: Schema) -> bool:
    return name not in value or (value[name] is None and not schema.get("nullable"))
