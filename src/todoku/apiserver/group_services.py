"""APIService objects: one for every group and version this server has, and those that users add.

Those of this server are marked as managed and always available (kube-aggregator autoregistration).  A user's, with
a Service behind it, sends its group to that Service; see `aggregation`.
"""

from __future__ import annotations

from collections.abc import Iterator

from todoku.api import times
from todoku.api.errors import AlreadyExists, Conflict, NotFound
from todoku.api.meta import Object
from todoku.api.resources.registry import GROUP_ORDER
from todoku.apiserver.catalog import Catalog
from todoku.apiserver.config import Objects

API_SERVICES = "apiservices.apiregistration.k8s.io"
MANAGED = "kube-aggregator.kubernetes.io/automanaged"


def name_of(group: str, version: str) -> str:
    """`v1.apps`; the core group's is `v1.`."""
    return f"{version}.{group}"


def built_in(catalog: Catalog, now: float) -> Iterator[Object]:
    """The objects for what the catalog has now."""
    seen: dict[tuple[str, str], bool] = {}
    for served in catalog:
        seen.setdefault((served.resource.group, served.resource.version), served.typed)
    ranks: dict[str, int] = {}
    for (group, version), typed in seen.items():
        rank = ranks[group] = ranks.get(group, 0) + 1
        yield api_service(group, version, now, rank=rank, custom=not typed)


async def keep_custom(catalog: Catalog, objects: Objects, group: str, now: float) -> None:
    """Have an APIService for exactly the versions of a group that definitions serve."""
    wanted = {
        name_of(group, one.resource.version): one.resource.version
        for one in catalog
        if one.crd is not None and one.resource.group == group
    }
    for name, version in wanted.items():
        if objects.get(API_SERVICES, name) is None:
            fresh = api_service(group, version, now, rank=0, custom=True)
            try:
                await objects.create(API_SERVICES, fresh)
                await objects.update(API_SERVICES, fresh, subresource="status")
            except (AlreadyExists, Conflict, NotFound):
                continue  # somebody else's, who may
    for one in list(objects.list(API_SERVICES)):
        labels = one["metadata"].get("labels") or {}
        mine = labels.get(MANAGED) == "true" and one["spec"].get("group") == group
        if mine and one["metadata"]["name"] not in wanted:
            try:
                await objects.delete(API_SERVICES, one["metadata"]["name"])
            except NotFound:
                continue


def api_service(group: str, version: str, now: float, *, rank: int, custom: bool) -> Object:
    """One managed APIService; `rank` counts the versions of the group, preferred first."""
    if custom:  # versions of equal priority are sorted by name, as clients prefer them
        minimum, label, rank = 1000, "true", 0
    else:
        minimum, label = 18000 - 100 * GROUP_ORDER.index(group), "onstart"
    available = {
        "type": "Available",
        "status": "True",
        "lastTransitionTime": times.text(now),
        "reason": "Local",
        "message": "Local APIServices are always available",
    }
    spec: Object = {
        "version": version,
        "groupPriorityMinimum": minimum,
        "versionPriority": max(100 - 10 * rank, 1),
    }
    if group:
        spec["group"] = group
    return {
        "kind": "APIService",
        "apiVersion": "apiregistration.k8s.io/v1",
        "metadata": {"name": name_of(group, version), "labels": {MANAGED: label}},
        "spec": spec,
        "status": {"conditions": [available]},
    }
