"""From resource names to URL paths: built-in kinds from the project's table, others by discovery."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

import msgspec

import todoku.api

# A path instead of importlib.resources: importing that costs every small process a megabyte.
_TABLE = Path(todoku.api.__path__[0]) / "data" / "resources.json"


@dataclass(frozen=True, slots=True)
class Named:
    """Where one resource is served; `verbs` as discovery lists them."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """The URL path of a collection, an object or a subresource; namespace "" or None means all."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts += subresource.split("/")
        return "/" + "/".join(quote(part, safe=":") for part in parts)


class _Row(msgspec.Struct):
    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: str = ""


@cache
def built_in() -> dict[str, Named]:
    """The built-in resources by name, each in its preferred version.

    Read from the table that the server's registry is made of, without importing the kinds' rules.
    """
    found: dict[str, Named] = {}
    rows = msgspec.json.decode(_TABLE.read_bytes(), type=list[_Row])
    for row in sorted(rows, key=lambda row: _instability(row.version)):
        verbs = tuple(row.verbs.split())
        named = Named(row.group, row.version, row.kind, row.plural, row.namespaced, verbs)
        found.setdefault(named.name, named)
    return found


def _instability(version: str) -> tuple[int, int]:
    """v2 before v1 before v1beta1 before v1alpha1, as a server prefers them."""
    kind = 2 if "alpha" in version else 1 if "beta" in version else 0
    number = version.removeprefix("v").split("alpha")[0].split("beta")[0]
    return kind, -int(number)


def discovered(documents: Iterable[dict[str, object]]) -> Iterator[Named]:
    """The resources of aggregated discovery documents (apidiscovery.k8s.io/v2 APIGroupDiscoveryList).

    Of a group's versions the first that serves a resource counts: the server lists the preferred one first.
    """
    for document in documents:
        for group in msgspec.convert(document, type=_Groups).items:
            seen: set[str] = set()
            for version in group.versions:
                for one in version.resources:
                    if one.resource in seen or one.responseKind is None:
                        continue
                    seen.add(one.resource)
                    yield Named(
                        group.metadata.name, version.version, one.responseKind.kind,
                        one.resource, one.scope == "Namespaced", tuple(one.verbs),
                    )  # fmt: skip


def stale(documents: Iterable[dict[str, object]]) -> Iterator[str]:
    """The groups and versions in such documents whose own server did not answer."""
    for document in documents:
        for group in msgspec.convert(document, type=_Groups).items:
            for version in group.versions:
                if version.freshness == "Stale":
                    yield f"{group.metadata.name}/{version.version}"


class _Kind(msgspec.Struct):
    kind: str = ""


class _Resource(msgspec.Struct):
    resource: str
    scope: str = ""
    responseKind: _Kind | None = None
    verbs: list[str] = []


class _Version(msgspec.Struct):
    version: str
    resources: list[_Resource] = []
    freshness: str = "Current"


class _Metadata(msgspec.Struct):
    name: str = ""


class _Group(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    versions: list[_Version] = []


class _Groups(msgspec.Struct):
    items: list[_Group] = []
