"""Answers as bytes: objects, lists and watch events in the form and version that was asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
import yaml

from todoku.api import errors, tables
from todoku.api.meta import Object
from todoku.api.resource import Column
from todoku.apiserver.catalog import Served
from todoku.apiserver.encoding import Cached, dumps
from todoku.apiserver.negotiation import JSON, YAML, Form


def finish(data: bytes, form: Form) -> bytes:
    """JSON bytes in the wanted media type."""
    if form.media == JSON:
        return data
    text: str = yaml.dump(msgspec.json.decode(data), Dumper=_Dumper, default_flow_style=False)
    return text.encode()


_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def one(
    served: Served,
    cached: Cached,
    form: Form,
    *,
    revision: int | None = None,
    columns: bool = True,
) -> bytes:
    """A single object, as JSON bytes."""
    if form.as_:
        obj = shown(served, cached, revision)
        if form.as_ == "Table":
            version = obj["metadata"].get("resourceVersion", "")
            return dumps(
                _table(served, [obj], form, {"resourceVersion": version}, with_columns=columns)
            )
        return dumps(_partial(obj, form))
    if served.same_shape:
        return cached.full(served.head, revision)
    return dumps(shown(served, cached, revision))


def shown(served: Served, cached: Cached, revision: int | None = None) -> Object:
    """The decoded object in the served version; do not change it."""
    obj = served.view(cached)
    if revision is None:
        return obj
    return obj | {"metadata": obj["metadata"] | {"resourceVersion": str(revision)}}


def go_name(served: Served, suffix: str = "") -> str:
    """The type that holds such an object in upstream's server."""
    if served.custom is not None:
        return f"*unstructured.Unstructured{suffix}"
    package = served.stored.group.partition(".")[0] or "core"
    return f"*{package}.{served.resource.kind}{suffix}"


def many(
    served: Served,
    objects: Sequence[Cached],
    form: Form,
    *,
    revision: int,
    continue_: str = "",
    remaining: int | None = None,
) -> bytes:
    """A list, as JSON bytes.  Raises NotAcceptable where a single object was asked for."""
    if form.as_ == "PartialObjectMetadata":
        raise errors.NotAcceptable(
            "you requested PartialObjectMetadata, but the requested object is a list"
            f" ({go_name(served, 'List')})"
        )
    metadata: Object = {"resourceVersion": str(revision)}
    if continue_:
        metadata["continue"] = continue_
    if remaining is not None:
        metadata["remainingItemCount"] = remaining
    if form.as_ == "Table":
        shown_objects = [shown(served, each) for each in objects]
        if served.resource.row_order is not None:
            shown_objects.sort(key=served.resource.row_order)
        return dumps(_table(served, shown_objects, form, metadata))
    if form.as_:
        items = [_partial(shown(served, each), form) for each in objects]
        kind, version = "PartialObjectMetadataList", f"meta.k8s.io/{form.version}"
        return dumps({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items})
    head = {"kind": served.list_kind, "apiVersion": served.resource.api_version}
    opening = dumps(head | {"metadata": metadata})[:-1]
    return b'%b,"items":[%b]}' % (opening, b",".join(_items(served, objects)))


def _items(served: Served, objects: Sequence[Cached]) -> list[bytes]:
    if not served.same_shape:
        return [dumps(shown(served, each)) for each in objects]
    if served.typed:
        return [each.item() for each in objects]
    return [each.full(served.head) for each in objects]


def event(
    served: Served, kind: str, cached: Cached, form: Form, revision: int, *, columns: bool = True
) -> bytes:
    """One watch event with its newline."""
    return b'{"type":"%b","object":%b}\n' % (
        kind.encode(),
        one(served, cached, form, revision=revision, columns=columns),
    )


def bookmark(served: Served, form: Form, revision: int, *, initial_end: bool = False) -> bytes:
    """A BOOKMARK event: an empty object that carries a resourceVersion (KEP-956, KEP-3157)."""
    metadata: Object = {"resourceVersion": str(revision)}
    if initial_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    obj: Object = {
        "kind": served.resource.kind,
        "apiVersion": served.resource.api_version,
        "metadata": metadata,
    }
    if form.as_ == "Table":
        version = f"meta.k8s.io/{form.version}"
        table = {"metadata": {"resourceVersion": str(revision)}, "columnDefinitions": None}
        row = {"cells": [], "object": _partial(obj, form)}
        obj = {"kind": "Table", "apiVersion": version, **table, "rows": [row]}
    elif form.as_:
        obj = _partial(obj, form)
    return b'{"type":"BOOKMARK","object":%b}\n' % dumps(obj)


def failure(status: Object) -> bytes:
    """An ERROR event."""
    return b'{"type":"ERROR","object":%b}\n' % dumps(status)


def _partial(obj: Object, form: Form) -> Object:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{form.version}",
        "metadata": obj["metadata"],
    }


def _table(
    served: Served,
    objects: Sequence[Object],
    form: Form,
    metadata: Object,
    *,
    with_columns: bool = True,
) -> Object:
    columns, row = served.columns
    return tables.table(
        columns,
        row,
        objects,
        now=time.time(),
        include_object=form.include,
        list_meta=metadata,
        api_version=f"meta.k8s.io/{form.version}",
        with_columns=with_columns,
    )


def table_of(columns: Sequence[Column], row: tables.Row, obj: Object, form: Form) -> Object:
    """The Table of one object of a subresource's own kind."""
    return tables.table(
        columns,
        row,
        [obj],
        now=time.time(),
        include_object=form.include,
        list_meta={"resourceVersion": obj["metadata"]["resourceVersion"]},
        api_version=f"meta.k8s.io/{form.version}",
    )


def content_type(form: Form) -> str:
    return YAML if form.media == YAML else JSON
