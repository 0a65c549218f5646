"""Pods and nodes in few words, for tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from todoku.api.meta import Object
from todoku.scheduler.framework import Node, Pod, World

_counter = 0


def pod(
    name: str = "",
    *,
    labels: Mapping[str, str] | None = None,
    requests: Mapping[str, str] | None = None,
    priority: int = 0,
    namespace: str = "default",
    ports: Iterable[Mapping[str, Any]] = (),
    owner: Object | None = None,
    **spec: Any,
) -> Pod:
    global _counter
    _counter += 1
    name = name or f"p{_counter}"
    container: Object = {"name": "c", "image": "i", "ports": [dict(port) for port in ports]}
    if requests:
        container["resources"] = {"requests": dict(requests)}
    meta: Object = {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-{name}-{_counter}",
        "labels": dict(labels or {}),
    }
    if owner:
        meta["ownerReferences"] = [owner]
    return Pod.of(
        {"metadata": meta, "spec": {"containers": [container], "priority": priority} | spec}
    )


def node(
    name: str,
    *pods: Pod,
    labels: Mapping[str, str] | None = None,
    taints: Iterable[Object] = (),
    cpu: str = "4",
    memory: str = "8Gi",
    max_pods: int = 110,
    unschedulable: bool = False,
    **extended: str,
) -> Node:
    allocatable = {"cpu": cpu, "memory": memory, "pods": str(max_pods)} | extended
    spec: Object = {"taints": list(taints)}
    if unschedulable:
        spec["unschedulable"] = True
    made = Node({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name} | dict(labels or {})},
        "spec": spec,
        "status": {"allocatable": allocatable},
    })  # fmt: skip
    for one in pods:
        made.add(one)
    return made


def world(*nodes: Node, **more: Any) -> World:
    return World(nodes=nodes, **more)


CONTROL_PLANE = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


def lab(*, on1: Iterable[Pod] = (), on2: Iterable[Pod] = (), **more: Any) -> World:
    """The article's three nodes."""
    return world(
        node("master1", taints=[CONTROL_PLANE]),
        node("worker1", *on1),
        node("worker2", *on2),
        **more,
    )
