"""Discovery: /api, /apis and each group and version, in the classic and the aggregated form (KEP-3352)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from todoku.api.meta import Object
from todoku.api.resources.registry import GROUP_ORDER
from todoku.apiserver.catalog import Catalog, Served
from todoku.apiserver.encoding import dumps
from todoku.apiserver.negotiation import JSON, media_ranges

AGGREGATED = "apidiscovery.k8s.io"

_OWN_PRIORITY, _CUSTOM_PRIORITY = 18000, 1000  # groupPriorityMinimum of this server's groups


@dataclass(frozen=True, slots=True)
class RemoteVersion:
    """APIResources of an APIResourceList; not `current` if the server did not answer last time."""

    resources: Sequence[Object]
    current: bool


@dataclass(slots=True)
class RemoteGroup:
    """A group of extension servers, its preferred version first."""

    priority: int = 0
    versions: dict[str, RemoteVersion] = field(default_factory=dict)


RemoteGroups: TypeAlias = Mapping[str, RemoteGroup]


@dataclass(frozen=True, slots=True)
class Page:
    """A document's bytes, its content type and its ETag (with quotes)."""

    data: bytes
    content_type: str
    etag: str


class Remote(Protocol):
    """Groups that extension API servers have (`aggregation.Aggregator`)."""

    version: int

    def groups(self) -> RemoteGroups: ...


class Discovery:
    """Serves one catalog; pages are made once for each of its versions."""

    def __init__(self, catalog: Catalog, remote: Remote | None = None) -> None:
        self._catalog = catalog
        self._remote = remote
        self._version = (-1, -1)
        self._pages: dict[tuple[str, str], Page] = {}

    def page(self, path: str, accept: str, host: str) -> Page | None:
        """The document at `/api…` or `/apis…`, or None."""
        current = (self._catalog.version, self._remote.version if self._remote else 0)
        if self._version != current:
            self._pages.clear()
            self._version = current
        version = wants_aggregated(accept) if path in ("/api", "/apis") else ""
        if path == "/api" and not version:
            return _page(api_versions(host), JSON)
        found = self._pages.get((path, version))
        if found is None:
            found = self._made(path, version)
            if found is not None:  # anyone can ask for what is not there, without end
                self._pages[path, version] = found
        return found

    def _made(self, path: str, version: str) -> Page | None:
        if version:
            kind = f"{JSON};g={AGGREGATED};v={version};as=APIGroupDiscoveryList"
            body = aggregated(self._catalog, version, core=path == "/api")
            if path == "/apis":
                remote = _remote_aggregated(self._groups())
                body["items"] = self._ordered(body["items"], remote, _name_of_item)
            return _page(body, kind)
        classic = self._classic(path.strip("/").split("/"))
        return None if classic is None else _page(classic, JSON)

    def _classic(self, parts: list[str]) -> Object | None:
        match parts:
            case ["apis"]:
                listed = group_list(self._catalog)
                remote = [_group(name, list(has.versions)) for name, has in self._groups().items()]
                listed["groups"] = self._ordered(listed["groups"], remote, _name_of_group)
                return listed
            case ["api", version]:
                return resource_list(self._catalog, "", version)
            case ["apis", name]:
                return group(self._catalog, name) or _remote_group(self._groups(), name)
            case ["apis", name, version]:
                return resource_list(self._catalog, name, version)
        return None

    def _ordered(
        self, own: list[Object], remote: Iterable[Object], name_of: Callable[[Object], str]
    ) -> list[Object]:
        """By the priority of groups; those of equal priority by name, as custom resources' are."""
        priorities = {name: has.priority for name, has in self._groups().items()}
        built_in = {name: _OWN_PRIORITY - 100 * place for place, name in enumerate(GROUP_ORDER)}

        def rank(one: Object) -> tuple[int, str]:
            name = name_of(one)
            own_priority = built_in.get(name, _CUSTOM_PRIORITY)
            return -priorities.get(name, own_priority), "" if name in built_in else name

        return sorted([*own, *remote], key=rank)

    def _groups(self) -> RemoteGroups:
        """Groups of extension servers; one that this server has too stays this server's."""
        own = _groups(self._catalog)
        found = self._remote.groups() if self._remote else {}
        return {name: versions for name, versions in found.items() if name not in own}


def _name_of_group(one: Object) -> str:
    return str(one["name"])


def _name_of_item(one: Object) -> str:
    return str(one["metadata"]["name"])


def _page(body: Object, content_type: str) -> Page:
    data = dumps(body)
    return Page(data, content_type, f'"{hashlib.sha256(data).hexdigest()[:40].upper()}"')


def wants_aggregated(accept: str) -> str:
    """The version of the aggregated form that the client prefers, "" for the classic one."""
    for media, parameters in media_ranges(accept) if accept else ():
        if media not in ("application/json", "*/*", "application/*"):
            continue
        if parameters.get("g") == AGGREGATED and parameters.get("as") == "APIGroupDiscoveryList":
            if parameters.get("v") in ("v2", "v2beta1"):
                return parameters["v"]
            continue
        return ""
    return ""


def _groups(catalog: Catalog) -> Mapping[str, Mapping[str, list[Served]]]:
    """group -> version (preferred first) -> resources, in discovery order."""
    groups: dict[str, dict[str, list[Served]]] = {}
    for served in catalog:
        versions = groups.setdefault(served.resource.group, {})
        versions.setdefault(served.resource.version, []).append(served)
    return groups


def api_versions(host: str) -> Object:
    """GET /api, classic."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}],
    }


def group_list(catalog: Catalog) -> Object:
    """GET /apis, classic."""
    groups = [_group(name, list(versions)) for name, versions in _groups(catalog).items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(catalog: Catalog, name: str) -> Object | None:
    """GET /apis/<group>."""
    versions = _groups(catalog).get(name)
    if not versions or not name:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1"} | _group(name, list(versions))


def _group(name: str, versions: list[str]) -> Object:
    listed = [{"groupVersion": f"{name}/{one}", "version": one} for one in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def resource_list(catalog: Catalog, group: str, version: str) -> Object | None:
    """GET /api/v1 and /apis/<group>/<version>, classic."""
    resources = _groups(catalog).get(group, {}).get(version)
    if not resources:
        return None
    listed: list[Object] = []
    for served in resources:
        listed += _classic(served)
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": listed,
    }


def _classic(served: Served) -> Iterable[Object]:
    one = served.resource
    main: Object = {
        "name": one.plural,
        "singularName": one.singular,
        "namespaced": one.namespaced,
        "kind": one.kind,
        "verbs": list(one.verbs),
    }
    if one.short_names:
        main["shortNames"] = list(one.short_names)
    if one.categories:
        main["categories"] = list(one.categories)
    if "watch" in one.verbs:
        main["storageVersionHash"] = _storage_version_hash(served)
    yield main
    for sub in one.subresources:
        kind = sub.kind or one.gvk
        entry: Object = {
            "name": f"{one.plural}/{sub.name}",
            "singularName": "",
            "namespaced": one.namespaced,
            "kind": kind.kind,
            "verbs": list(sub.verbs),
        }
        if (kind.group, kind.version) != (one.group, one.version):
            entry |= {"group": kind.group, "version": kind.version}
        yield entry


def _storage_version_hash(served: Served) -> str:
    """What tells clients that a kind is stored in another version than before (KEP-2339)."""
    group, version, kind = served.stored.gvk
    digest = hashlib.sha256(f"{group}/{version}/{kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def aggregated(catalog: Catalog, version: str, *, core: bool) -> Object:
    """GET /api (core) or /apis in the aggregated form."""
    items = []
    for name, versions in _groups(catalog).items():
        if (name == "") != core:
            continue
        items.append(
            {
                "metadata": {"name": name} if name else {},
                "versions": [
                    {
                        "version": one,
                        "resources": [_aggregated(served) for served in resources],
                        "freshness": "Current",
                    }
                    for one, resources in versions.items()
                ],
            }
        )
    kind, api_version = "APIGroupDiscoveryList", f"{AGGREGATED}/{version}"
    return {"kind": kind, "apiVersion": api_version, "metadata": {}, "items": items}


def _aggregated(served: Served) -> Object:
    one = served.resource
    entry: Object = {
        "resource": one.plural,
        "responseKind": _kind(*one.gvk),
        "scope": "Namespaced" if one.namespaced else "Cluster",
        "singularResource": one.singular,
        "verbs": list(one.verbs),
    }
    if one.short_names:
        entry["shortNames"] = list(one.short_names)
    if one.categories:
        entry["categories"] = list(one.categories)
    if one.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": _kind(*(sub.kind or one.gvk)),
                "verbs": list(sub.verbs),
            }
            for sub in one.subresources
        ]
    return entry


def _kind(group: str, version: str, kind: str) -> Object:
    return {"group": group, "version": version, "kind": kind}


# -- groups of extension servers


def _remote_group(groups: RemoteGroups, name: str) -> Object | None:
    if name not in groups:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1"} | _group(name, list(groups[name].versions))


def _remote_aggregated(groups: RemoteGroups) -> Iterable[Object]:
    for name, group in groups.items():
        yield {
            "metadata": {"name": name},
            "versions": [
                {
                    "version": version,
                    "resources": [
                        _remote_resource(one, found.resources, name, version)
                        for one in found.resources
                        if "/" not in one.get("name", "")
                    ],
                    "freshness": "Current" if found.current else "Stale",
                }
                for version, found in group.versions.items()
            ],
        }


def _remote_resource(one: Object, resources: Sequence[Object], group: str, version: str) -> Object:
    """An APIResource with its subresources in the aggregated form."""
    entry: Object = {
        "resource": one.get("name", ""),
        "responseKind": _remote_kind(one, group, version),
        "scope": "Namespaced" if one.get("namespaced") else "Cluster",
        "singularResource": one.get("singularName", ""),
        "verbs": one.get("verbs") or [],
    }
    entry |= {key: one[key] for key in ("shortNames", "categories") if one.get(key)}
    prefix = f"{one.get('name')}/"
    subresources = [
        {
            "subresource": sub["name"].removeprefix(prefix),
            "responseKind": _remote_kind(sub, group, version),
            "verbs": sub.get("verbs") or [],
        }
        for sub in resources
        if sub.get("name", "").startswith(prefix)
    ]
    return entry | ({"subresources": subresources} if subresources else {})


def _remote_kind(one: Object, group: str, version: str) -> Object:
    return _kind(one.get("group") or group, one.get("version") or version, one.get("kind", ""))
