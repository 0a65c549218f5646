"""What OpenAPI says of a custom resource: definitions named by reversed group, in the forms of versions 2 and 3.

Both refer to definitions as version 2 does (`#/definitions/…`).  Version 3 tells a schema whole; version 2 only what
clients of version 2 cope with: no combinations, no nulls, nothing below fields that keep what they do not know.
Semantics: apiextensions-apiserver controller/openapi builder and v2 conversion.
"""

from __future__ import annotations

from collections.abc import Callable

from todoku.api import schemas
from todoku.api.crd.types import EMBEDDED, INT_OR_STRING, PRESERVE
from todoku.api.meta import Object
from todoku.api.schemas import Schema

_CONVENTIONS = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"
_OBJECT_META = f"Standard object's metadata. More info: {_CONVENTIONS}#metadata"
_LIST_META = f"Standard list metadata. More info: {_CONVENTIONS}#types-kinds"
_EMBEDDED_TYPE = {
    "apiVersion": "apiVersion defines the versioned schema of this representation of an object."
    f" More info: {_CONVENTIONS}#resources",
    "kind": "kind is a string value representing the type of this object. In CamelCase."
    f" More info: {_CONVENTIONS}#types-kinds",
}
# Any kind of the API's own tells what apiVersion and kind are.
_SAMPLE = "io.k8s.api.core.v1.ConfigMap"

Convert = Callable[[Schema], Schema]


def definition_name(group: str, version: str, kind: str) -> str:
    """`io.metallb.v1beta1.IPAddressPool`."""
    return f"{'.'.join(reversed(group.split('.')))}.{version}.{kind}"


def definitions(crd: Object, version: Object, *, v3: bool = False) -> dict[str, Schema]:
    """The definitions of the kind and of its list."""
    spec = crd["spec"]
    names, group = spec["names"], spec["group"]
    kind = names["kind"]
    list_kind = names.get("listKind") or f"{kind}List"
    name = definition_name(group, version["name"], kind)
    gvk = {"group": group, "version": version["name"]}
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    own = published(schema, spec.get("preserveUnknownFields") is True, v3=v3)
    own["x-kubernetes-group-version-kind"] = [{**gvk, "kind": kind}]
    selectable = version.get("selectableFields")
    if selectable:
        own["x-kubernetes-selectable-fields"] = [
            {"fieldPath": one["jsonPath"].removeprefix(".")} for one in selectable
        ]
    listed = {
        "description": f"{list_kind} is a list of {kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            **_type_meta(),
            "metadata": {"$ref": f"{schemas.PREFIX}{schemas.LIST_META}", "description": _LIST_META},
            "items": {
                "type": "array",
                "description": f"List of {names['plural']}. More info: {_CONVENTIONS}",
                "items": {"$ref": f"{schemas.PREFIX}{name}"},
            },
        },
        "x-kubernetes-group-version-kind": [{**gvk, "kind": list_kind}],
    }
    return {name: own, definition_name(group, version["name"], list_kind): listed}


def published(schema: Schema | None, preserve: bool, *, v3: bool = False) -> Schema:
    """The schema of a kind with its metadata.

    Without a schema, or in version 2 where unknown fields are kept, it is no more than an object: clients would
    refuse all fields that are not named.
    """
    if schema is None or (not v3 and (preserve or schema.get(PRESERVE))):
        return {"type": "object"}
    out = to_v3(schema) if v3 else to_v2(schema)
    out["properties"] = {**(out.get("properties") or {}), **_type_meta(), **_metadata()}
    return out


def _type_meta() -> Schema:
    properties = schemas.definition(_SAMPLE)["properties"]
    return {name: dict(properties[name]) for name in ("apiVersion", "kind")}


def _metadata() -> Schema:
    reference = f"{schemas.PREFIX}{schemas.OBJECT_META}"
    return {"metadata": {"$ref": reference, "description": _OBJECT_META}}


_JUNCTORS = ("allOf", "anyOf", "oneOf", "not")


def to_v3(schema: Schema) -> Schema:
    """A structural schema as version 3 tells it: whole, with what its extensions imply."""
    out = _children({key: value for key, value in schema.items() if value is not None}, to_v3)
    for key in ("allOf", "anyOf", "oneOf"):
        if key in out:
            out[key] = [dict(one) for one in out[key]]
    if schema.get(INT_OR_STRING) and not _tells_int_or_string(schema):
        out["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if schema.get(EMBEDDED):
        _embed(out)
    return out


def _tells_int_or_string(schema: Schema) -> bool:
    types = [{"type": "integer"}, {"type": "string"}]
    listed = schema.get("allOf") or [{}]
    return schema.get("anyOf") == types or listed[0].get("anyOf") == types


def to_v2(schema: Schema) -> Schema:
    """A structural schema in the vocabulary of version 2."""
    out = {
        key: value
        for key, value in schema.items()
        if key not in (*_JUNCTORS, "nullable") and value is not None
    }
    nullable, keeps = bool(schema.get("nullable")), bool(schema.get(PRESERVE))
    if nullable or keeps:
        out.pop("items", None)
        out.pop("properties", None)
    if (
        nullable
        or (keeps and out.get("type") == "object")
        or (out.get("type") == "array" and "items" not in out)
    ):
        out.pop("type", None)
    _require_only_what_is_no_null(out)
    out = _children(out, to_v2)
    if schema.get(EMBEDDED) and not keeps:
        _embed(out)
    return out


def _require_only_what_is_no_null(out: Schema) -> None:
    values = out.get("additionalProperties")
    properties = out.get("properties") or {}
    required = [
        name
        for name in out.get("required") or ()
        if not (properties.get(name) or {}).get("nullable")
    ]
    if not required or (isinstance(values, dict) and values.get("nullable")):
        out.pop("required", None)
    else:
        out["required"] = required


def _children(out: Schema, convert: Convert) -> Schema:
    if "properties" in out:
        out["properties"] = {name: convert(child) for name, child in out["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(out.get(key), dict):
            out[key] = convert(out[key])
    return out


def _embed(out: Schema) -> None:
    """An embedded object has apiVersion, kind and metadata, and must have the first two."""
    described = {
        name: {**one, "description": _EMBEDDED_TYPE[name]} for name, one in _type_meta().items()
    }
    out["properties"] = {**(out.get("properties") or {}), **described, **_metadata()}
    required = list(out.get("required") or ())
    out["required"] = required + [one for one in ("kind", "apiVersion") if one not in required]
