"""How objects lie in the store and how their bytes become answers without being parsed.

A stored value is the object's JSON in its stored version, beginning `{"kind":…,"apiVersion":…,"metadata":{`
and without a resourceVersion, which is unknown before the commit.  `Cached` remembers where the metadata begin, so
that every answer is made by joining slices: the head (kind and apiVersion of the wanted version), the
resourceVersion, the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from todoku.api.meta import Object
from todoku.storage.store import Entry

_METADATA = b'"metadata":{'
_encoder = msgspec.json.Encoder()
_decode: Any = msgspec.json.Decoder().decode


def dumps(value: Any) -> bytes:
    """Compact JSON."""
    return _encoder.encode(value)


def loads(data: bytes) -> Any:
    """Trusted JSON: stored values, not request bodies."""
    return _decode(data)


def encode(obj: Object) -> bytes:
    """The value to store; `obj` is not changed.  Needs metadata with at least a name."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "resourceVersion"}
    head = {"kind": obj["kind"], "apiVersion": obj["apiVersion"], "metadata": metadata}
    return _encoder.encode(head | {key: value for key, value in obj.items() if key not in head})


class _Metadata(msgspec.Struct, gc=False):
    name: str = ""
    namespace: str = ""
    labels: dict[str, str] | None = None


class _Head(msgspec.Struct, gc=False):
    metadata: _Metadata


_decode_head = msgspec.json.Decoder(_Head).decode
_NOTHING: Mapping[str, str] = {}


class Cached:
    """One version of one object: its stored bytes and what is needed to answer from them."""

    __slots__ = (
        "_head",
        "after",
        "decoded",
        "fields",
        "name",
        "namespace",
        "revision",
        "value",
        "views",
    )

    def __init__(self, value: bytes, revision: int, namespace: str, name: str) -> None:
        self.value = value
        self.revision = revision
        self.namespace = namespace
        self.name = name
        self.after = value.index(_METADATA) + len(_METADATA)
        self._head: Mapping[str, str] | None = None
        self.decoded: Object | None = None
        # The object in versions that a webhook converts to, by `Served.serial`; filled by `conversion`.
        self.views: dict[int, Object] | None = None
        # Selectable fields and the `Served.serial` they were read for; filled by `predicates`.
        self.fields: tuple[int, Mapping[str, str]] | None = None

    @property
    def labels(self) -> Mapping[str, str]:
        if self._head is None:
            self._head = _decode_head(self.value).metadata.labels or _NOTHING
        return self._head

    def object(self) -> Object:
        """The decoded object with its resourceVersion; shared, never change it."""
        found = self.decoded
        if found is None:
            found = self.decoded = _parse(self)
            _kept.add(self)
        return found

    def superseded(self) -> None:
        """A newer version has taken its place: who still needs this one decodes it again."""
        if self.decoded is not None:
            _kept.drop(self)

    def fresh(self) -> Object:
        """A decoded object that the caller may change."""
        return _parse(self)

    def full(self, head: bytes | None = None, revision: int | None = None) -> bytes:
        """Its JSON; `head` replaces kind and apiVersion (see `head_of`), `revision` the resourceVersion."""
        begin = self.value[: self.after - len(_METADATA)] if head is None else head
        shown = self.revision if revision is None else revision
        if not shown:  # a creation that was only tried
            return begin + self.value[self.after - len(_METADATA) :]
        return b"%b%b%d%b" % (
            begin,
            b'"metadata":{"resourceVersion":"',
            shown,
            b'",' + self.value[self.after :],
        )

    def item(self) -> bytes:
        """Its JSON as an item of a typed list, which carries no kind and apiVersion."""
        return b'{"metadata":{"resourceVersion":"%d",%b' % (self.revision, self.value[self.after :])


def head_of(api_version: str, kind: str) -> bytes:
    """The first bytes of an object: `{"kind":"Pod","apiVersion":"v1",`."""
    return b"%b," % _encoder.encode({"kind": kind, "apiVersion": api_version})[:-1]


def cached(entry: Entry, namespace: str, name: str) -> Cached:
    return Cached(entry.value, entry.mod_revision, namespace, name)


def _parse(one: Cached) -> Object:
    obj: Object = _decode(one.value)
    if one.revision:
        obj["metadata"]["resourceVersion"] = str(one.revision)
    return obj


class _Kept:
    """Which versions stay decoded: the last ones, up to a size of their JSON; decoded it is about five times that.

    By size, not by number: a lab renews three Leases a second for hours, and a CRD alone can be 100 KiB.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._size = 0
        self._ones: dict[Cached, None] = {}

    def add(self, one: Cached) -> None:
        self._ones[one] = None
        self._size += len(one.value)
        while self._size > self._limit and len(self._ones) > 1:
            self.drop(next(iter(self._ones)))

    def drop(self, one: Cached) -> None:
        one.decoded = None
        del self._ones[one]
        self._size -= len(one.value)


_kept = _Kept(8 << 20)
