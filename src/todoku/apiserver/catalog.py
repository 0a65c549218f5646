"""What is served right now: the built-in resources and those of CustomResourceDefinitions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from todoku.api import schemas, tables
from todoku.api.meta import GroupVersionKind, Object
from todoku.api.resource import Column, Resource, Subresource
from todoku.api.schemas import Type
from todoku.apiserver import scales
from todoku.apiserver.encoding import Cached, head_of
from todoku.apiserver.keys import prefix_of

if TYPE_CHECKING:
    from todoku.api.crd import Structural

_serials = itertools.count()


@dataclass(eq=False)
class Served:
    """One resource in one served version, and how it is stored.

    `stored` is the resource in its stored version (itself, usually).  `typed` kinds leave kind and apiVersion out of
    list items, as Go's typed lists do; custom resources keep them.
    """

    resource: Resource
    stored: Resource
    typed: bool = True
    crd: Object | None = None
    # What OpenAPI publishes of a custom resource (its kind and its list), in version 3 or 2.
    definitions: Callable[[bool], Mapping[str, Object]] | None = None
    scale_paths: scales.Paths = scales.WORKLOAD
    custom: Structural | None = None
    custom_type: Type | None = None
    printer_columns: Sequence[Object] | None = None  # of a custom resource's version
    prefix: bytes = field(init=False)
    head: bytes = field(init=False)
    serial: int = field(init=False)  # unlike any other's, for derived caches

    def __post_init__(self) -> None:
        self.prefix = prefix_of(self.stored.group, self.stored.plural)
        self.serial = next(_serials)
        self.head = head_of(self.resource.api_version, self.resource.kind)

    @property
    def name(self) -> str:
        return self.resource.name

    @cached_property
    def same_shape(self) -> bool:
        """Stored bytes need only another head to be this version's."""
        return self.resource.from_storage is None and not self.needs_conversion

    @cached_property
    def needs_conversion(self) -> bool:
        """A webhook converts between its versions: await `conversion.prepare` before showing any."""
        if self.crd is None:
            return False
        return (self.crd["spec"].get("conversion") or {}).get("strategy") == "Webhook"

    def view(self, cached: Cached) -> Object:
        """A cached object in this version; shared, never change it."""
        if self.needs_conversion:
            assert cached.views is not None, "the object was not prepared"
            return cached.views[self.serial]
        return self.load(cached.object())

    @cached_property
    def type(self) -> Type:
        """The resolved schema, for patches and managed fields."""
        return self.custom_type or schemas.type_of(self.resource.schema)

    @cached_property
    def columns(self) -> tuple[Sequence[Column], tables.Row]:
        """The columns of its table and the function that makes a row."""
        if self.printer_columns is not None:
            return tables.custom_columns(self.printer_columns)
        return tables.columns_of(self.resource)

    @cached_property
    def subresources(self) -> Mapping[str, Subresource]:
        return {one.name: one for one in self.resource.subresources}

    @cached_property
    def list_kind(self) -> str:
        return f"{self.resource.kind}List"

    def load(self, obj: Object) -> Object:
        """A stored object in this version; may share parts with `obj`."""
        if self.resource.from_storage is not None:
            return self.resource.from_storage(obj)
        if self.resource is self.stored:
            return obj
        return obj | {"kind": self.resource.kind, "apiVersion": self.resource.api_version}

    def store(self, obj: Object) -> Object:
        """An object of this version as it is stored; may share parts with `obj`."""
        if self.resource.to_storage is not None:
            return self.resource.to_storage(obj)
        if self.resource is self.stored:
            return obj
        return obj | {"kind": self.stored.kind, "apiVersion": self.stored.api_version}


class Catalog:
    """The served resources by path and by dotted name; `version` changes with every change."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._by_path: dict[tuple[str, str, str], Served] = {}
        self._by_name: dict[str, Served] = {}
        self._by_kind: dict[GroupVersionKind, Served] = {}
        self._by_prefix: dict[bytes, list[Served]] | None = None
        self.version = 0
        all_resources = list(resources)
        by_version = {(one.group, one.version, one.plural): one for one in all_resources}
        for one in all_resources:
            group, version = one.storage or (one.group, one.version)
            self._add(Served(one, by_version.get((group, version, one.plural), one)))

    def _add(self, served: Served) -> None:
        self._by_prefix = None
        one = served.resource
        self._by_path[one.group, one.version, one.plural] = served
        self._by_kind[one.gvk] = served
        if one is served.stored or one.name not in self._by_name:
            self._by_name[one.name] = served

    def replace(self, name: str, served: Iterable[Served]) -> None:
        """Serve exactly these versions of the custom resource `name`; none takes it away."""
        for path in [path for path, one in self._by_path.items() if one.name == name]:
            old = self._by_path.pop(path)
            self._by_kind.pop(old.resource.gvk, None)
        self._by_name.pop(name, None)
        self._by_prefix = None
        for one in served:
            self._add(one)
        self.version += 1

    def find(self, group: str, version: str, plural: str) -> Served | None:
        return self._by_path.get((group, version, plural))

    def by_name(self, name: str) -> Served | None:
        """By dotted name, in the stored version if that is served."""
        return self._by_name.get(name)

    def by_kind(self, gvk: GroupVersionKind) -> Served | None:
        return self._by_kind.get(gvk)

    def equivalents(self, resource: Resource, subresource: str = "") -> Sequence[Resource]:
        """The other resources that serve the same stored objects and have the subresource."""
        if self._by_prefix is None:
            self._by_prefix = {}
            for one in self._by_path.values():
                self._by_prefix.setdefault(one.prefix, []).append(one)
        served = self._by_path.get((resource.group, resource.version, resource.plural))
        if served is None:
            return ()
        return [
            one.resource
            for one in self._by_prefix[served.prefix]
            if one is not served and (not subresource or subresource in one.subresources)
        ]

    def __iter__(self) -> Iterator[Served]:
        """Built-in resources in discovery order, then custom ones."""
        return iter(self._by_path.values())
