"""The protobuf messages of Kubernetes v1.36 as data: field numbers, JSON names, types and when zero is kept.

`data/protobuf-v1.36.json.gz` maps a message, named without its leading `k8s.io.`, to rows of
`[number, JSON name, type]` and an optional mark:

    inline   the field's own fields belong to the parent's JSON object (Go: `json:",inline"`)
    zero     a zero value on the wire appears in JSON (Go: a pointer, or no omitempty)

Types: string bytes bool int32 int64 double, `.message`, `[]type`, `map<string,type>`.
"""

from __future__ import annotations

import functools
import gzip
import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass

_META = "apimachinery.pkg.apis.meta.v1."

# Kinds that every group accepts under its own apiVersion.
_META_KINDS = frozenset(
    [
        "CreateOptions",
        "DeleteOptions",
        "GetOptions",
        "ListOptions",
        "PatchOptions",
        "UpdateOptions",
        "Status",
    ]
)

_PACKAGES = {
    "": "api.core",
    "apiextensions.k8s.io": "apiextensions_apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "kube_aggregator.pkg.apis.apiregistration",
    "internal.apiserver.k8s.io": "api.apiserverinternal",
    "meta.k8s.io": "apimachinery.pkg.apis.meta",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message; `type` is a scalar's name or a message's, without list or map around it."""

    json: str
    type: str
    repeated: bool = False
    is_map: bool = False
    inline: bool = False
    keeps_zero: bool = False


def find(api_version: str, kind: str) -> str | None:
    """The message that carries `kind`, or None; options and Status exist in every group."""
    if kind in _META_KINDS:
        return _META + kind
    group, _, version = api_version.rpartition("/")
    package = _PACKAGES.get(group) or f"api.{group.partition('.')[0]}"
    name = f"{package}.{version}.{kind}"
    return name if name in _table() else None


@functools.cache
def fields(name: str) -> Mapping[int, Field]:
    """The fields of a message by number.  Raises KeyError for an unknown message."""
    return {number: _field(*row) for number, *row in _table()[name]}


def names() -> list[str]:
    """Every known message, sorted."""
    return sorted(_table())


def _field(json_name: str, kind: str, mark: str = "") -> Field:
    repeated = kind.startswith("[]")
    is_map = kind.startswith("map<")
    element = kind.removeprefix("[]")
    if is_map:
        element = kind.removeprefix("map<string,").removesuffix(">")
    return Field(
        json=json_name,
        type=element.removeprefix("."),
        repeated=repeated,
        is_map=is_map,
        inline=mark == "inline",
        keeps_zero=mark == "zero",
    )


@functools.cache
def _table() -> Mapping[str, list[tuple[int, str, str] | tuple[int, str, str, str]]]:
    packed = importlib.resources.files("todoku.wire") / "data" / "protobuf-v1.36.json.gz"
    table: Mapping[str, list[tuple[int, str, str] | tuple[int, str, str, str]]] = json.loads(
        gzip.decompress(packed.read_bytes())
    )["messages"]
    return table
