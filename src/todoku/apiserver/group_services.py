"""APIService objects: one for every group and version this server has, and those that users add.

Those of this server are marked as managed and always available (kube-aggregator autoregistration).  A user's, with
a Service behind it, sends its group to that Service; see `aggregation`.
"""

from __future__ import annotations

from collections.abc import Iterator

from todoku.api import times
from todoku.api.meta import Object
from todoku.api.resources.registry import GROUP_ORDER
from todoku.apiserver.catalog import Catalog

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


def api_service(group: str, version: str, now: float, *, rank: int, custom: bool) -> Object:
    """One managed APIService; `rank` counts the versions of the group, preferred first."""
    if custom:
        minimum, label = 1000, "true"
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
