"""Every kind that a request body may carry goes through protobuf unharmed, with every field of its schema set."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.wire.encoder import encode
from todoku.api import decoding, schemas
from todoku.api.meta import GroupVersionKind, Object
from todoku.api.resources import registry
from todoku.wire.protobuf import decode

_PLAIN = {
    "string": "text",
    "integer": 7,
    "number": 1.5,
    "boolean": True,
    "bytes": base64.b64encode(b"raw").decode(),
    "quantity": "100m",
    "time": "2026-11-23T09:59:01Z",
    "microtime": "2026-11-23T09:59:01.000120Z",
    "any": {"a": [1, "b", {"c": None}]},
}


def kinds() -> list[GroupVersionKind]:
    """What is created, updated or patched, the kinds of subresources and the options of a delete included."""
    found = {one.gvk for one in registry()}
    found |= {sub.kind for one in registry() for sub in one.subresources if sub.kind is not None}
    found.add(GroupVersionKind("", "v1", "DeleteOptions"))
    known = schemas.names_by_kind()
    return sorted(one for one in found if one in known or one.kind == "DeleteOptions")


# Objects within objects: protobuf carries no apiVersion and kind of theirs.
_EMBEDDED = (".PersistentVolumeClaim", ".DeleteOptions")


def full(type_: schemas.Type, level: int = 0, seen: tuple[str, ...] = ()) -> Any:
    """A value with every field set; types within themselves end after one more turn."""
    if type_.kind == "struct":
        seen = (*seen, type_.name)
        return {
            name: full(field, level + 1, seen)
            for name, field in type_.fields.items()
            if seen.count(field.name or (field.items and field.items.name) or "-") < 2
            and not (level and name in ("apiVersion", "kind") and type_.name.endswith(_EMBEDDED))
        }
    if type_.kind == "int-or-string":
        return 80 if level % 2 else "50%"
    if type_.kind == "map":
        assert type_.items is not None
        return {"one": full(type_.items, level + 1, seen), "b/two": full(type_.items, level, seen)}
    if type_.kind == "list":
        assert type_.items is not None
        return [full(type_.items, level + 1, seen), full(type_.items, level, seen)]
    if type_.kind == "any" and seen[-1].endswith(".JSONSchemaProps"):
        return {"type": "text"}  # a schema where there may be one, else any JSON
    return _PLAIN[type_.kind]


def whole(gvk: GroupVersionKind) -> tuple[Object, schemas.Type]:
    name = schemas.names_by_kind().get(gvk)
    type_ = schemas.type_of(name or f"io.k8s.apimachinery.pkg.apis.meta.v1.{gvk.kind}")
    return {**full(type_), "apiVersion": gvk.api_version, "kind": gvk.kind}, type_


@pytest.mark.parametrize("gvk", kinds(), ids=lambda gvk: f"{gvk.api_version} {gvk.kind}")
def test_every_field_survives(gvk: GroupVersionKind) -> None:
    obj, type_ = whole(gvk)
    decoded = decode(encode(obj))
    assert decoded == obj
    decoding.check_types(decoded, type_, kind=gvk.kind, version=gvk.version)
    assert decoding.strict_problems(decoded, type_) == []


def test_bodies_of_all_groups_are_there() -> None:
    names = {f"{one.api_version} {one.kind}" for one in kinds()}
    assert {
        "policy/v1 Eviction",
        "autoscaling/v1 Scale",
        "authentication.k8s.io/v1 TokenRequest",
    } <= names
    assert {one.group for one in registry()} <= {one.group for one in kinds()}
