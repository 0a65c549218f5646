"""The definitions of Kubernetes v1.36 and a resolved view of them, `Type`, that every walker shares.

`definition(name)` gives the OpenAPI v2 wording; `type_of(name)` the resolved `Type`.  Patches, server-side apply,
strict decoding, protobuf and defaulting walk `Type`s, whether they come from here or from a CRD (`api.crd.types`).
"""

from __future__ import annotations

import functools
import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, TypeAlias

import msgspec

from todoku.api.meta import GroupVersionKind

Schema: TypeAlias = dict[str, Any]

VERSION = "1.36"
PREFIX = "#/definitions/"

OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
LIST_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"

# Definitions that JSON carries as something else than their schema says.
_SPECIAL = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "int-or-string",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "microtime",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Duration": "string",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": "any",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "any",
}


@dataclass(slots=True, eq=False)
class Type:
    """What a value may be and how it merges.

    `kind` is one of struct, map, list, string, bytes, integer, number, boolean, quantity, int-or-string, time,
    microtime, any.  `fields` (struct) and `items` (map values, list items) are Types; recursion is by reference.
    `list_type` is atomic, set or map (with `list_keys`); `map_type` granular or atomic; `merge_key` and `strategies`
    are the strategic merge directives.  `open` structs keep unknown fields (CRDs).
    """

    kind: str
    name: str = ""  # the definition, for struct types that have one
    fields: Mapping[str, Type] = field(default_factory=dict)
    items: Type | None = None
    required: tuple[str, ...] = ()
    format: str = ""
    list_type: str = "atomic"
    list_keys: tuple[str, ...] = ()
    map_type: str = "granular"
    merge_key: str = ""
    strategies: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)  # defaults of fields
    open: bool = False
    nullable: bool = False
    # What walkers over the type have worked out for themselves, by module; it lives as long as the type.
    derived: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def go_name(self) -> str:
        """How Go's decoder names the type: `v1.PodSpec`, `[]v1.Container`, `map[string]string`, `int32`."""
        if self.kind == "struct" and self.name:
            version, kind = self.name.split(".")[-2:]
            return f"{version}.{kind}"
        if self.kind == "list" and self.items is not None:
            return f"[]{self.items.go_name}"
        if self.kind == "map" and self.items is not None:
            return f"map[string]{self.items.go_name}"
        return {
            "integer": self.format or "int64",
            "number": "float64",
            "boolean": "bool",
            "bytes": "[]uint8",
            "any": "interface {}",
            "quantity": "resource.Quantity",
            "int-or-string": "intstr.IntOrString",
            "time": "v1.Time",
            "microtime": "v1.MicroTime",
        }.get(self.kind, "string")


ANY = Type("any", open=True)
STRING = Type("string")


@functools.cache
def definitions() -> dict[str, Schema]:
    """All 771 definitions, `$ref`s in v2 form.  Shared: do not change them."""
    packed = resources.files("todoku.api").joinpath("data", f"schemas-v{VERSION}.json.gz")
    loaded: dict[str, Schema] = msgspec.json.decode(gzip.decompress(packed.read_bytes()))
    return loaded


def definition(name: str) -> Schema:
    """One definition by its full name.  Raises KeyError."""
    return definitions()[name]


@functools.cache
def names_by_kind() -> Mapping[GroupVersionKind, str]:
    """Definition names of the kinds that belong to exactly one group and version (lists included)."""
    found = {}
    for name, schema in definitions().items():
        kinds = schema.get("x-kubernetes-group-version-kind", ())
        if len(kinds) == 1:
            one = kinds[0]
            found[GroupVersionKind(one["group"], one["version"], one["kind"])] = name
    return found


class _LazyFields(dict[str, Type]):
    """Resolves a struct's fields when one is first asked for: definitions are recursive."""

    def __init__(self, properties: Mapping[str, Schema]) -> None:
        super().__init__()
        self._properties = properties

    def __missing__(self, key: str) -> Type:
        resolved = self[key] = resolve(self._properties[key])
        return resolved

    def __contains__(self, key: object) -> bool:
        return key in self._properties

    def __iter__(self) -> Any:
        return iter(self._properties)

    def __len__(self) -> int:
        return len(self._properties)

    def keys(self) -> Any:
        return self._properties.keys()

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self._properties else default

    def items(self) -> Any:
        return [(key, self[key]) for key in self._properties]

    def values(self) -> Any:
        return [self[key] for key in self._properties]


@functools.cache
def type_of(name: str) -> Type:
    """The resolved type of a definition.  Raises KeyError."""
    special = _SPECIAL.get(name)
    if special:
        whole = special == "any"  # raw JSON: owned and replaced as a whole
        return Type(special, name=name, open=whole, map_type="atomic" if whole else "granular")
    return resolve(definitions()[name], name=name)


def resolve(schema: Schema, *, name: str = "") -> Type:
    """The Type of a schema; a `$ref` with extensions beside it becomes the referred type with these."""
    ref = schema.get("$ref")
    if ref:
        return _with_extensions(type_of(ref.removeprefix(PREFIX)), schema)
    if "properties" in schema:
        return _struct(schema, name)
    return _with_extensions(_plain(schema, name), schema)


def _struct(schema: Schema, name: str) -> Type:
    properties = schema["properties"]
    return Type(
        "struct",
        name=name,
        fields=_LazyFields(properties),
        required=tuple(schema.get("required", ())),
        map_type=schema.get("x-kubernetes-map-type", "granular"),
        defaults={key: value["default"] for key, value in properties.items() if "default" in value},
    )


def _plain(schema: Schema, name: str) -> Type:
    kind = schema.get("type", "")
    if kind == "array":
        return Type("list", items=resolve(schema["items"]))
    if kind == "object":
        values = schema.get("additionalProperties")
        if values:
            return Type("map", items=resolve(values))
        return Type("any", name=name, open=True) if not name else _bare(name)
    if kind == "string" and schema.get("format") == "byte":
        return Type("bytes", name=name, format="byte")
    if kind in ("string", "integer", "number", "boolean"):
        return Type(kind, name=name, format=schema.get("format", ""))
    return Type("any", name=name, open=True, map_type="atomic")


def _bare(name: str) -> Type:
    """`type: object` without properties: an empty Go struct (EmptyDirMedium …), unless known as raw JSON."""
    return Type("struct", name=name)


def _with_extensions(base: Type, schema: Schema) -> Type:
    strategy = schema.get("x-kubernetes-patch-strategy", "")
    keys = ("x-kubernetes-list-type", "x-kubernetes-map-type", "x-kubernetes-patch-merge-key")
    if not strategy and not any(key in schema for key in keys):
        return base
    return Type(
        base.kind,
        name=base.name,
        fields=base.fields,
        items=base.items,
        required=base.required,
        format=base.format,
        list_type=schema.get("x-kubernetes-list-type", base.list_type),
        list_keys=tuple(schema.get("x-kubernetes-list-map-keys", base.list_keys)),
        map_type=schema.get("x-kubernetes-map-type", base.map_type),
        merge_key=schema.get("x-kubernetes-patch-merge-key", base.merge_key),
        strategies=tuple(strategy.split(",")) if strategy else base.strategies,
        defaults=base.defaults,
        open=base.open,
    )
