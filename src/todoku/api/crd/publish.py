"""What OpenAPI says of a custom resource: definitions in v2 form, named by reversed group."""

from __future__ import annotations

from todoku.api import schemas
from todoku.api.crd.types import EMBEDDED, INT_OR_STRING, PRESERVE
from todoku.api.meta import Object
from todoku.api.schemas import Schema

_API_VERSION = (
    "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized"
    " schemas to the latest internal value, and may reject unrecognized values."
)
_KIND = "Kind is a string value representing the REST resource this object represents. Cannot be updated. In CamelCase."


def definition_name(group: str, version: str, kind: str) -> str:
    """`io.metallb.v1beta1.IPAddressPool`."""
    return f"{'.'.join(reversed(group.split('.')))}.{version}.{kind}"


def definitions(crd: Object, version: Object) -> dict[str, Schema]:
    """The definitions of the kind and of its list."""
    spec = crd["spec"]
    names, group = spec["names"], spec["group"]
    kind = names["kind"]
    list_kind = names.get("listKind") or f"{kind}List"
    name = definition_name(group, version["name"], kind)
    gvk = {"group": group, "version": version["name"]}
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    own = published(schema, spec.get("preserveUnknownFields") is True)
    own["x-kubernetes-group-version-kind"] = [{**gvk, "kind": kind}]
    listed = {
        "description": f"{list_kind} is a list of {kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": _API_VERSION},
            "kind": {"type": "string", "description": _KIND},
            "metadata": {
                "$ref": f"{schemas.PREFIX}{schemas.LIST_META}",
                "description": "Standard list metadata.",
            },
            "items": {
                "type": "array",
                "description": f"List of {names['plural']}.",
                "items": {"$ref": f"{schemas.PREFIX}{name}"},
            },
        },
        "x-kubernetes-group-version-kind": [{**gvk, "kind": list_kind}],
    }
    return {name: own, definition_name(group, version["name"], list_kind): listed}


def published(schema: Schema | None, preserve: bool) -> Schema:
    """The schema of a kind with its metadata; one that keeps unknown fields says only that it is an object."""
    out: Schema = to_v2(schema) if schema is not None and not preserve else {"type": "object"}
    if schema is not None and schema.get(PRESERVE) and not schema.get("properties"):
        out = {"type": "object", PRESERVE: True}
    properties = dict(out.get("properties") or {})
    properties["apiVersion"] = {"type": "string", "description": _API_VERSION}
    properties["kind"] = {"type": "string", "description": _KIND}
    properties["metadata"] = {
        "$ref": f"{schemas.PREFIX}{schemas.OBJECT_META}",
        "description": "Standard object's metadata.",
    }
    out["properties"] = properties
    return out


# Beyond OpenAPI v2; clients validate less, the server as much as ever.
_V3_ONLY = ("oneOf", "anyOf", "allOf", "not", "nullable", "x-kubernetes-validations")


def to_v2(schema: Schema) -> Schema:
    """A structural schema in OpenAPI v2's vocabulary."""
    out: Schema = {
        key: value for key, value in schema.items() if key not in _V3_ONLY and value is not None
    }
    if schema.get(INT_OR_STRING) or schema.get("nullable"):
        out.pop("type", None)
        if schema.get(INT_OR_STRING):
            out["x-kubernetes-int-or-string"] = True
    if "properties" in out:
        out["properties"] = {name: to_v2(child) for name, child in out["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(out.get(key), dict):
            out[key] = to_v2(out[key])
    if schema.get(PRESERVE):
        out.pop("items", None)
        out.pop("properties", None)
    if schema.get(EMBEDDED):
        out.setdefault("type", "object")
    return out
