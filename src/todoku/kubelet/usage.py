"""What this node, its pods and their containers use, and the two forms in which the kubelet tells it.

Source: k8s.io/kubelet stats/v1alpha1 (`/stats/summary`); Kubernetes docs, Node metrics data (`/metrics/resource`).
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from todoku.api import times
from todoku.api.meta import Object
from todoku.kubelet.config import KubeletConfig
from todoku.kubelet.records import PodRecord
from todoku.kubelet.runner import pod_cgroup
from todoku.linux.cgroups import Cgroups


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one control group; None is not known."""

    cpu_nanoseconds: int | None = None
    memory_bytes: int | None = None
    working_set_bytes: int | None = None  # without what the kernel could drop at once
    started_at: float = 0.0
    name: str = ""  # of a container


@dataclass(frozen=True, slots=True)
class PodUsage:
    name: str
    namespace: str
    uid: str
    whole: Usage
    containers: Sequence[Usage]


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system.  Source: statvfs(3)."""

    capacity_bytes: int
    available_bytes: int
    used_bytes: int
    inodes: int
    inodes_free: int


@dataclass(frozen=True, slots=True)
class NodeUsage:
    name: str
    at: float
    memory_capacity_bytes: int
    whole: Usage
    disk: Disk
    pods: Sequence[PodUsage]


def measure(
    config: KubeletConfig,
    cgroups: Cgroups,
    records: Sequence[PodRecord],
    *,
    memory_bytes: int,
    now: float,
) -> NodeUsage:
    """Reads a handful of files per container."""
    found = []
    for record in records:
        group = pod_cgroup(config.cgroup_parent, record.pod)
        if not group:
            continue
        metadata = record.pod["metadata"]
        containers = [
            _usage(cgroups, f"{group}/{one.id}", one.started_at, one.name)
            for one in record.live() if one.name != ".pause"
        ]  # fmt: skip
        began = record.sandbox.created_at if record.sandbox else 0.0
        whole = _usage(cgroups, group, began)
        found.append(
            PodUsage(metadata["name"], metadata["namespace"], record.uid, whole, containers)
        )
    whole = _with_this_process(
        _usage(cgroups, config.cgroup_parent) if config.cgroup_parent else Usage()
    )
    return NodeUsage(config.node_name, now, memory_bytes, whole, _disk(config), found)


def _with_this_process(pods: Usage) -> Usage:
    """A node is its pods and its kubelet: one without pods still uses something."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return Usage(
        (pods.cpu_nanoseconds or 0) + time.process_time_ns(),
        (pods.memory_bytes or 0) + resident,
        (pods.working_set_bytes or 0) + resident,
    )


def _usage(cgroups: Cgroups, group: str, started_at: float = 0.0, name: str = "") -> Usage:
    memory, idle = cgroups.memory_bytes(group), cgroups.inactive_file_bytes(group)
    working = None if memory is None else max(memory - (idle or 0), 0)
    return Usage(cgroups.cpu_nanoseconds(group), memory, working, started_at, name)


def _disk(config: KubeletConfig) -> Disk:
    told = os.statvfs(config.host_root)
    size = told.f_frsize
    return Disk(
        capacity_bytes=told.f_blocks * size,
        available_bytes=told.f_bavail * size,
        used_bytes=(told.f_blocks - told.f_bfree) * size,
        inodes=told.f_files,
        inodes_free=told.f_ffree,
    )


# -- /stats/summary


def summary(node: NodeUsage) -> Object:
    stamp = times.text(node.at)
    own = _shown(node.whole, stamp)
    if node.whole.working_set_bytes is not None:
        left = node.memory_capacity_bytes - node.whole.working_set_bytes
        own["memory"]["availableBytes"] = max(left, 0)
    disk = node.disk
    own["fs"] = {
        "time": stamp,
        "availableBytes": disk.available_bytes,
        "capacityBytes": disk.capacity_bytes,
        "usedBytes": disk.used_bytes,
        "inodesFree": disk.inodes_free,
        "inodes": disk.inodes,
        "inodesUsed": disk.inodes - disk.inodes_free,
    }
    return {
        "node": {"nodeName": node.name, **own},
        "pods": [_pod(pod, stamp) for pod in node.pods],
    }


def _pod(pod: PodUsage, stamp: str) -> Object:
    reference = {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid}
    containers = [{"name": one.name, **_shown(one, stamp)} for one in pod.containers]
    return {"podRef": reference, "containers": containers, **_shown(pod.whole, stamp)}


def _shown(usage: Usage, stamp: str) -> Object:
    shown: Object = {}
    if usage.started_at:
        shown["startTime"] = times.text(usage.started_at)
    if usage.cpu_nanoseconds is not None:
        shown["cpu"] = {"time": stamp, "usageCoreNanoSeconds": usage.cpu_nanoseconds}
    if usage.memory_bytes is not None:
        shown["memory"] = {
            "time": stamp,
            "usageBytes": usage.memory_bytes,
            "workingSetBytes": usage.working_set_bytes,
        }
    return shown


# -- /metrics/resource

_FAMILIES = (
    ("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the container in core-seconds"),
    ("container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes"),
    ("container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds"),
    ("node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds"),
    ("node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes"),
    ("pod_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the pod in core-seconds"),
    ("pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes"),
)  # fmt: skip


def resource_page(node: NodeUsage) -> str:
    """What metrics-server reads; each value with the time of its measuring, in milliseconds."""
    values: dict[str, list[str]] = {name: [] for name, _, _ in _FAMILIES}
    stamp = int(node.at * 1000)
    for scope, labels, usage in _scopes(node):
        for family, value in (
            (f"{scope}_cpu_usage_seconds_total", _seconds(usage.cpu_nanoseconds)),
            (f"{scope}_memory_working_set_bytes", usage.working_set_bytes),
            (f"{scope}_start_time_seconds", usage.started_at or None),
        ):
            if value is not None and family in values:
                values[family].append(f"{family}{labels} {value!r} {stamp}\n")
    lines = []
    for name, kind, text in _FAMILIES:
        if values[name]:
            lines += [f"# HELP {name} [STABLE] {text}\n# TYPE {name} {kind}\n", *values[name]]
    error = "resource_scrape_error"
    lines.append(
        f"# HELP {error} [STABLE] 1 if there was an error while getting container metrics, 0 otherwise\n"
        f"# TYPE {error} gauge\n{error} 0\n"
    )
    return "".join(lines)


def _scopes(node: NodeUsage) -> Iterator[tuple[str, str, Usage]]:
    """Names of Kubernetes' objects need no escaping in labels."""
    yield "node", "", node.whole
    for pod in node.pods:
        where = f'namespace="{pod.namespace}",pod="{pod.name}"'
        yield "pod", f"{{{where}}}", pod.whole
        for one in pod.containers:
            yield "container", f'{{container="{one.name}",{where}}}', one


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9
