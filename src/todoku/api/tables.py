"""meta.k8s.io/v1 Tables: what `kubectl get` prints, made by the server.

A `Resource` gives columns and a `row` function; cells that are `Since` become ages against the caller's clock, so
that rows stay pure.  Custom resources bring `additionalPrinterColumns` instead (JSONPath subset).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from todoku.api import goformat, schemas, times
from todoku.api.jsonpath import JsonPathError, find, parse
from todoku.api.meta import Object
from todoku.api.resource import Column, Resource

UNKNOWN = "<unknown>"
NONE = "<none>"


class Since(str):
    """A cell with a time of the past; printed as the age since then, `<unknown>` if empty.

    `invalid` is printed for values that are no time.
    """

    __slots__ = ()


class Completed(list[object]):
    """The cells of an object that has done its work, with the row's condition `Completed`."""

    __slots__ = ("condition",)

    def __init__(self, cells: Iterable[object], *, reason: str, message: str) -> None:
        super().__init__(cells)
        self.condition = {
            "type": "Completed",
            "status": "True",
            "reason": reason,
            "message": message,
        }


Row = Callable[[Object], list[object]]

_NAME = Column(name="Name", format="name", documents="meta.v1.ObjectMeta.name")
DEFAULT_COLUMNS = (_NAME, Column(name="Age", documents="meta.v1.ObjectMeta.creationTimestamp"))


def created(obj: Object) -> Since:
    """The AGE cell."""
    return Since(obj["metadata"].get("creationTimestamp") or "")


def default_row(obj: Object) -> list[object]:
    return [obj["metadata"].get("name", ""), created(obj)]


def columns_of(resource: Resource) -> tuple[Sequence[Column], Row]:
    """The columns and the row function of a built-in kind; NAME and AGE where it has none of its own."""
    if resource.row is None:
        return DEFAULT_COLUMNS, default_row
    return resource.columns, resource.row


def table(
    columns: Sequence[Column],
    row: Row,
    objects: Iterable[Object],
    *,
    now: float,
    include_object: str = "Metadata",
    list_meta: Object | None = None,
    api_version: str = "meta.k8s.io/v1",
    with_columns: bool = True,
) -> Object:
    """A Table of `objects`.  `include_object` is None, Metadata or Object; watch events need columns only once."""
    return {
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": list_meta or {},
        "columnDefinitions": [definition(one) for one in columns] if with_columns else None,
        "rows": [
            row_of(row(obj), obj, now=now, include_object=include_object, api_version=api_version)
            for obj in objects
        ],
    }


def row_of(
    cells: list[object],
    obj: Object,
    *,
    now: float,
    include_object: str = "Metadata",
    api_version: str = "meta.k8s.io/v1",
) -> Object:
    """One TableRow."""
    out: Object = {"cells": [_cell(one, now) for one in cells]}
    if isinstance(cells, Completed):
        out["conditions"] = [cells.condition]
    if include_object == "Object":
        out["object"] = obj
    elif include_object == "None":
        out["object"] = None
    else:
        out["object"] = {
            "kind": "PartialObjectMetadata",
            "apiVersion": api_version,
            "metadata": obj.get("metadata", {}),
        }
    return out


def definition(column: Column) -> Object:
    """One TableColumnDefinition."""
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description or _documentation(column.documents),
        "priority": column.priority,
    }


@functools.cache
def _documentation(field: str) -> str:
    """What the API documents about a field, as in `core.v1.ServiceSpec.type`; "" if nothing."""
    definition, _, name = field.rpartition(".")
    if not definition:
        return ""
    package = _META if definition.startswith("meta.") else _API
    properties: Object = schemas.definition(package + definition).get("properties") or {}
    return str((properties.get(name) or {}).get("description", ""))


_API, _META = "io.k8s.api.", "io.k8s.apimachinery.pkg.apis."


def _cell(cell: object, now: float) -> object:
    if isinstance(cell, Since):
        return age(cell, now)
    if isinstance(cell, Ago):
        return cell.text(now)
    return cell


class Ago:
    """Text with ages inside: `template` has `{}` for each time, as in `1 (5m ago)`."""

    __slots__ = ("template", "times")

    def __init__(self, template: str, *moments: str) -> None:
        self.template = template
        self.times = moments

    def text(self, now: float) -> str:
        return self.template.format(*(age(one, now) for one in self.times))

    def __repr__(self) -> str:
        return f"Ago({self.template!r}, {self.times!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ago) and (self.template, self.times) == (
            other.template,
            other.times,
        )

    def __hash__(self) -> int:
        return hash((self.template, self.times))


def age(moment: str, now: float) -> str:
    """`5m` since a wire time; `<unknown>` when there is none."""
    if not moment:
        return UNKNOWN
    try:
        return times.age(now - times.parse(moment))
    except ValueError:
        return "<invalid>"


def custom_columns(additional: Sequence[Object]) -> tuple[tuple[Column, ...], Row]:
    """Columns and row function of a CRD version's `additionalPrinterColumns`; without any, NAME and AGE."""
    if not additional:
        additional = [{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]
    return _custom_columns(json.dumps(list(additional), sort_keys=True))


@functools.lru_cache(maxsize=256)
def _custom_columns(additional: str) -> tuple[tuple[Column, ...], Row]:
    specs = json.loads(additional)
    columns = (_NAME, *(_custom_column(one) for one in specs))
    readers = [_reader(one) for one in specs]

    def row(obj: Object) -> list[object]:
        return [obj["metadata"].get("name", ""), *(read(obj) for read in readers)]

    return columns, row


def _custom_column(spec: Object) -> Column:
    return Column(
        name=spec["name"],
        type=spec["type"],
        format=spec.get("format", ""),
        description=spec.get("description", "")
        or f"Custom resource definition column (in JSONPath format): {spec['jsonPath']}",
        priority=spec.get("priority", 0),
    )


def _reader(spec: Object) -> Callable[[Object], object]:
    kind = spec["type"]
    try:
        path = parse(spec["jsonPath"])
    except JsonPathError:
        return lambda obj: None

    def read(obj: Object) -> object:
        found = find(path, obj)
        return _converted(found, kind) if found else None

    return read


def _converted(found: list[Any], kind: str) -> object:
    """The first match as the column's type, as upstream; None for one of another type."""
    value = found[0]
    if kind == "date":
        return Since(value) if isinstance(value, str) else None
    if kind == "string":
        return _text(value)
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if kind == "integer" or value == int(value) else value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "<no value>"
    if isinstance(value, float):
        return goformat.number(value)
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")
