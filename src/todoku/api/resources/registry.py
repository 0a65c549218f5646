"""The registry of built-in resources: the generated table joined with each kind's own rules."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import resources
from typing import Any

import msgspec

from todoku.api import zeros
from todoku.api.meta import GroupVersionKind, Object
from todoku.api.resource import Resource, Strategy, Subresource
from todoku.api.resources.generic import generic_rules
from todoku.api.resources.names import NAME_RULES
from todoku.api.resources.updates import CREATED_BY_UPDATE, VERSIONED_UPDATES
from todoku.api.validation import dns1123_subdomain

# The order of /apis: kube-apiserver's group priorities.
GROUP_ORDER = (
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
)

# A default kube-apiserver serves no alpha and no beta version.  The preferred version comes first.
_VERSION_ORDER = ("v2", "v1")


class Registry:
    """All resources a default v1.36 server has; iteration is in discovery order."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self._ordered = sorted(resources, key=_discovery_order)
        self._by_name: dict[tuple[str, str], Resource] = {}
        self._by_kind: dict[GroupVersionKind, Resource] = {}
        self._by_path: dict[tuple[str, str, str], Resource] = {}
        for resource in self._ordered:
            self._by_name.setdefault((resource.name, ""), resource)
            self._by_name[resource.name, resource.version] = resource
            self._by_kind[resource.gvk] = resource
            self._by_path[resource.group, resource.version, resource.plural] = resource

    def find(self, name: str, version: str | None = None) -> Resource | None:
        """By dotted name, `deployments.apps`; without a version the preferred one."""
        return self._by_name.get((name, version or ""))

    def by_kind(self, gvk: GroupVersionKind) -> Resource | None:
        return self._by_kind.get(gvk)

    def by_path(self, group: str, version: str, plural: str) -> Resource | None:
        return self._by_path.get((group, version, plural))

    def groups(self) -> list[str]:
        """The groups in the order of /apis; the core group "" comes first."""
        return list(dict.fromkeys(resource.group for resource in self._ordered))

    def versions(self, group: str) -> list[str]:
        """The served versions of a group, preferred first."""
        return list(dict.fromkeys(one.version for one in self._ordered if one.group == group))

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._ordered)

    def __len__(self) -> int:
        return len(self._ordered)


@functools.cache
def registry() -> Registry:
    """The one registry; built on first use."""
    return Registry([_resource(row) for row in _table() if row["version"] in _VERSION_ORDER])


def _table() -> list[dict[str, Any]]:
    data = resources.files("todoku.api").joinpath("data", "resources.json").read_bytes()
    table: list[dict[str, Any]] = msgspec.json.decode(data)
    return table


def _resource(row: dict[str, Any]) -> Resource:
    from todoku.api.resources import kinds

    name = f"{row['plural']}.{row['group']}" if row["group"] else row["plural"]
    has_status = "status" in row["subresources"]
    rules = kinds.RULES.get((name, row["version"])) or generic_rules(
        row["schema"], has_status=has_status
    )
    return Resource(
        group=row["group"],
        version=row["version"],
        kind=row["kind"],
        plural=row["plural"],
        singular=row["kind"].lower(),
        namespaced=row["namespaced"],
        schema=row["schema"],
        short_names=tuple(row["short"].split()),
        categories=tuple(row["categories"].split()),
        verbs=tuple(row["verbs"].split()),
        subresources=tuple(_subresource(*one) for one in row["subresources"].items()),
        strategy=_with_zeros(_with_update_rules(rules.strategy, name), row["schema"]),
        columns=rules.columns,
        row=rules.row,
        row_order=rules.row_order,
        storage=rules.storage,
        from_storage=rules.from_storage,
        to_storage=rules.to_storage,
        deprecation=rules.deprecation,
        name_rule=NAME_RULES.get(name, dns1123_subdomain),
    )


def _with_update_rules(strategy: Strategy, name: str) -> Strategy:
    create, blind = name in CREATED_BY_UPDATE, name not in VERSIONED_UPDATES
    if not create and blind:
        return strategy
    return replace(strategy, allow_create_on_update=create, allow_unconditional_update=blind)


def _with_zeros(strategy: Strategy, schema: str) -> Strategy:
    """A typed object has Go's zero values from the moment it is decoded."""
    own, fill = strategy.default, zeros.filler(schema)

    def default(obj: Object) -> None:
        own(obj)
        fill(obj)

    return replace(strategy, default=default)


def _subresource(name: str, data: dict[str, str]) -> Subresource:
    kind = None
    if data["kind"]:
        api_version, _, word = data["kind"].partition(" ")
        group, _, version = api_version.rpartition("/")
        kind = GroupVersionKind(group, version, word)
    return Subresource(name=name, verbs=tuple(data["verbs"].split()), kind=kind)


def _discovery_order(resource: Resource) -> tuple[int, int, str]:
    group = GROUP_ORDER.index(resource.group)
    return group, _VERSION_ORDER.index(resource.version), resource.plural
