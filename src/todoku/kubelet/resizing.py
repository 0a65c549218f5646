"""Acting on an in-place resize: grant it, tell the control groups, name the containers that must start anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from todoku.api.meta import Object
from todoku.kubelet.context import Context
from todoku.kubelet.records import (
    INIT,
    REGULAR,
    Container,
    PodRecord,
    State,
    restartable,
    specs,
)
from todoku.kubelet.resize import as_granted, needs_restart, pending, requests, resources_of
from todoku.kubelet.resources import container_limits, pod_limits
from todoku.kubelet.runner import pod_cgroup
from todoku.linux.cgroups import Limits


class ResizeFailed(Exception):
    """Why a container cannot have its new resources now."""


class Resizer:
    """Keeps `record.pod` at what the pod was granted here, whatever the API's object wants."""

    def __init__(self, context: Context, record: PodRecord, wake: Callable[[], None]) -> None:
        self._context = context
        self._record = record
        self._wake = wake
        self._wanted = record.pod
        self._restarting: dict[str, str] = {}  # container ids by name
        if not record.allocated:
            record.allocated = resources_of(record.pod)
        record.pod = as_granted(record.pod, record.allocated)
        self._group_limits = pod_limits(record.pod)
        context.ledger.grant(record.uid, requests(record.pod))

    def wish(self, pod: Object) -> Object:
        """The API's newest object, with the resources that were granted."""
        self._wanted = pod
        return as_granted(pod, self._record.allocated)

    def release(self) -> None:
        """The pod runs nothing any more."""
        self._context.ledger.release(self._record.uid)

    def step(self) -> list[Container]:
        """Bring a resize forward; returns containers to end, whose successors have the new resources."""
        self._grant()
        record = self._record
        changed = list(self._changed())
        if not changed:
            self._complete()
            return []
        record.resizing, record.resize_error = True, ""
        self._limit_group(_larger(self._group_limits, pod_limits(record.pod)))
        restarts: list[Container] = []
        for container, spec in changed:
            if needs_restart(spec, container.resources or {}):
                self._restarting[container.name] = container.id
                restarts.append(container)
                continue
            try:
                self._resize(container, spec)
            except ResizeFailed as failure:
                record.resize_error = str(failure)
        if not restarts and not record.resize_error:
            self._complete()
        self._context.store.save(record)
        return restarts

    def _grant(self) -> None:
        record, context, wanted = self._record, self._context, self._wanted
        if as_granted(wanted, record.allocated) is wanted:
            record.resize_pending = None
            return
        held = pending(requests(wanted), context.ledger.beside(record.uid), context.allocatable)
        if held is not None:
            if held.reason == "Deferred":
                context.ledger.wait(record.uid, self._wake)
            if record.resize_pending != (held.reason, held.message):
                record.resize_pending = (held.reason, held.message)
                self._tell("Warning", held.reason, f": {held.message}")
            return
        record.allocated = resources_of(wanted)
        record.pod = wanted
        record.resize_pending = None
        record.resizing = True
        context.ledger.grant(record.uid, requests(wanted))
        context.store.save(record)
        self._tell("Normal", "Started")

    def _changed(self) -> Iterator[tuple[Container, Object]]:
        """Running containers that were told of other resources than they have been granted."""
        for kind in (INIT, REGULAR):
            for spec in specs(self._record.pod, kind):
                last = self._record.last(spec["name"])
                if last is None or not last.running or (kind == INIT and not restartable(spec)):
                    continue
                if last.resources is not None and last.resources != (spec.get("resources") or {}):
                    yield last, spec

    def _resize(self, container: Container, spec: Object) -> None:
        """Tell the container's control group.  Raises ResizeFailed."""
        group = pod_cgroup(self._context.config.cgroup_parent, self._record.pod)
        wanted = container_limits(spec)
        if group:
            own = f"{group}/{container.id}"
            used = self._context.cgroups.memory_bytes(own) or 0
            if wanted.memory_bytes and used > wanted.memory_bytes:
                raise ResizeFailed(
                    f"attempting to set container {json.dumps(container.name)} memory limit "
                    f"({wanted.memory_bytes}) below current usage ({used})"
                )
            refused = self._context.cgroups.relimit(own, wanted)
            if refused:
                raise ResizeFailed(f"{', '.join(refused)} of container {container.name} refused")
        container.resources = dict(spec.get("resources") or {})

    def _complete(self) -> None:
        record = self._record
        for name, old in list(self._restarting.items()):
            last = record.last(name)
            if last is not None and last.state is not State.EXITED and last.id != old:
                del self._restarting[name]
        if not record.resizing or self._restarting:
            return
        record.resizing, record.resize_error = False, ""
        self._limit_group(pod_limits(record.pod))
        self._tell("Normal", "Completed")

    def _limit_group(self, limits: Limits) -> None:
        group = pod_cgroup(self._context.config.cgroup_parent, self._record.pod)
        if group and limits != self._group_limits:
            self._context.cgroups.limit(group, limits)
            self._group_limits = limits

    def _tell(self, type: str, what: str, why: str = "") -> None:
        pod = self._wanted
        resources = [
            {"name": name, "resources": one} for name, one in resources_of(pod).items() if name
        ]
        about = {"containers": resources, "generation": pod["metadata"].get("generation", 0)}
        text = f"Pod resize {what.lower()}: {json.dumps(about, separators=(',', ':'))}{why}"
        self._context.events.event(pod, type, f"Resize{what}", text)


def _larger(one: Limits, other: Limits) -> Limits:
    """Limits that hold both; 0 is none."""
    return Limits(
        cpu_shares=max(one.cpu_shares, other.cpu_shares),
        cpu_quota_microseconds=max(one.cpu_quota_microseconds, other.cpu_quota_microseconds),
        cpu_period_microseconds=one.cpu_period_microseconds,
        memory_bytes=max(one.memory_bytes, other.memory_bytes),
    )
