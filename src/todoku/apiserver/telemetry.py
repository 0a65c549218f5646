"""What the server tells about itself on /metrics, under the names of kube-apiserver.

A request costs one dictionary look-up; what can be read off the engine is read when somebody looks.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from todoku import KUBERNETES_VERSION
from todoku.aio import metrics
from todoku.aio.metrics import Buckets, Distribution, Family, Value
from todoku.apiserver.request import RequestInfo

if TYPE_CHECKING:
    from todoku.apiserver.context import Engine
    from todoku.apiserver.flowcontrol.control import FlowControl
    from todoku.apiserver.health import Health

_SECONDS = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60,
)  # fmt: skip
_WAITS = (0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30)
_STEP_SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10)
_SIZES = tuple(1000.0 * 10**power for power in range(7))
_REQUEST = ("verb", "group", "version", "resource", "subresource", "scope", "component")
# As metrics name them.  Anyone can send other methods: those are one.
_VERBS = {"create": "POST", "update": "PUT"} | {
    one: one.upper()
    for one in (
        "apply", "connect", "delete", "deletecollection", "get", "head", "list", "patch", "post", "proxy", "put", "watch",
    )
}  # fmt: skip
_OTHER = "other"
_COMPONENT = "apiserver"


class _Request:
    """The metrics of requests that are alike."""

    __slots__ = ("seconds", "sizes", "total")

    def __init__(self, total: Value, seconds: Buckets, sizes: Buckets | None) -> None:
        self.total, self.seconds, self.sizes = total, seconds, sizes


class Telemetry:
    """All families; `record` is on the way of every request."""

    def __init__(self) -> None:
        self._alike: dict[tuple[object, ...], _Request] = {}
        self._total = Family(
            "counter",
            "apiserver_request_total",
            "Requests by verb, dry run, resource, scope and code of the answer.",
            ("verb", "dry_run", *_REQUEST[1:], "code"),
        )
        self._seconds = Distribution(
            "apiserver_request_duration_seconds",
            "How long requests took, in seconds.",
            _SECONDS,
            ("verb", "dry_run", *_REQUEST[1:]),
        )
        self._sizes = Distribution(
            "apiserver_response_sizes", "Sizes of answers to reads, in bytes.", _SIZES, _REQUEST
        )
        self._long = Family(
            "gauge", "apiserver_longrunning_requests", "Watches and streams under way.", _REQUEST
        )
        self._inflight = Family(
            "gauge",
            "apiserver_current_inflight_requests",
            "Requests being served, by kind.",
            ("request_kind",),
        )
        self._dropped = Family(
            "counter",
            "apiserver_request_terminations_total",
            "Requests that the server turned away or gave up.",
            ("verb", "group", "version", "resource", "subresource", "scope", "component", "code"),
        )
        self._events = Family(
            "counter",
            "apiserver_watch_events_total",
            "Events sent to watchers.",
            ("group", "version", "resource"),
        )
        self.waits = Distribution(
            "apiserver_flowcontrol_request_wait_duration_seconds",
            "How long requests waited in a queue, in seconds.",
            _WAITS,
            ("priority_level", "flow_schema", "execute"),
        )
        self._store = Distribution(
            "etcd_request_duration_seconds",
            "How long commits to the store took, in seconds.",
            _SECONDS,
            ("operation", "type"),
        )
        self._steps = Distribution(
            "apiserver_admission_step_admission_duration_seconds",
            "How long the plugins of a step of admission took together, in seconds.",
            _STEP_SECONDS,
            ("type", "operation", "rejected"),
        )
        self.reading = self._inflight.child("readOnly")
        self.writing = self._inflight.child("mutating")

    def record(
        self, info: RequestInfo, verb: str, code: int, *, dry_run: bool, size: int, seconds: float
    ) -> None:
        """A request was answered; `verb` is the info's, or `apply`."""
        key = (
            verb, code, dry_run, info.resource, info.group, info.version, info.subresource,
            bool(info.namespace), bool(info.name),
        )  # fmt: skip
        alike = self._alike.get(key)
        if alike is None:
            alike = self._like(info, verb, code, dry_run)
            if verb in _VERBS:
                self._alike[key] = alike
        alike.total.value += 1
        alike.seconds.observe(seconds)
        if alike.sizes is not None:
            alike.sizes.observe(size)

    def _like(self, info: RequestInfo, verb: str, code: int, dry_run: bool) -> _Request:
        verb = _VERBS.get(verb, _OTHER)
        dry = "All" if dry_run else ""
        about = _about(info)
        sizes = self._sizes.child(verb, *about) if verb in ("GET", "LIST") else None
        return _Request(
            self._total.child(verb, dry, *about, str(code)),
            self._seconds.child(verb, dry, *about),
            sizes,
        )

    def long_running(self, info: RequestInfo) -> Value:
        """The gauge of a watch or stream."""
        verb = "WATCH" if info.verb == "watch" else "CONNECT"
        return self._long.child(verb, *_about(info))

    def terminated(self, info: RequestInfo, code: int) -> None:
        verb = _VERBS.get(info.verb, _OTHER)
        self._dropped.child(verb, *_about(info), str(code)).value += 1

    def watch_events(self, group: str, version: str, plural: str) -> Value:
        return self._events.child(group, version, plural)

    def store_seconds(self, operation: str, name: str) -> Buckets:
        return self._store.child(operation, name)

    def step(self, type_: str, operation: str, began: float, *, rejected: bool) -> None:
        """A step of admission (`admit`, `validate`) is over that began at this `perf_counter`."""
        child = self._steps.child(type_, operation, "true" if rejected else "false")
        child.observe(perf_counter() - began)

    def page(self, engine: Engine, control: FlowControl) -> str:
        """The text of /metrics."""
        return metrics.text(
            [
                self._total,
                self._seconds,
                self._sizes,
                self._long,
                self._inflight,
                self._dropped,
                self._events,
                self._store,
                self._steps,
                self.waits,
                *engine.components.metrics,
                *_flow_control(control),
                *_objects(engine),
                *_process(),
            ]
        )


def _about(info: RequestInfo) -> tuple[str, ...]:
    scope = ""
    if info.namespace:
        scope = "namespace"
    elif info.name:
        scope = "resource"
    elif info.is_resource:
        scope = "cluster"
    subresource = info.subresource if info.is_resource else info.path
    return info.group, info.version, info.resource, subresource, scope, _COMPONENT


_FLOW = ("priority_level", "flow_schema")


def _flow_control(control: FlowControl) -> Iterator[Family]:
    prefix = "apiserver_flowcontrol_"
    gauges = {
        name: Family("gauge", prefix + name, text, ("priority_level",))
        for name, text in (
            ("nominal_limit_seats", "Seats of a level by its shares."),
            ("lower_limit_seats", "The least seats a level may be left with."),
            ("upper_limit_seats", "The most seats a level may come to by borrowing."),
            ("current_limit_seats", "Seats of a level now."),
            ("demand_seats_average", "Seats wanted over the last period, on average."),
            ("demand_seats_stdev", "Deviation of the seats wanted over the last period."),
            ("demand_seats_high_watermark", "The most seats wanted over the last period."),
            ("demand_seats_smoothed", "Seats wanted, smoothed."),
        )
    }
    for level in control.levels():
        demand = level.wanted.demand
        for name, value in (
            ("nominal_limit_seats", level.limits.nominal),
            ("lower_limit_seats", level.limits.lowest),
            ("upper_limit_seats", level.limits.highest),
            ("current_limit_seats", level.current),
            ("demand_seats_average", demand.average),
            ("demand_seats_stdev", demand.deviation),
            ("demand_seats_high_watermark", demand.highest),
            ("demand_seats_smoothed", level.wanted.smoothed),
        ):
            gauges[name].child(level.name).value = value
    yield from gauges.values()
    yield from _flows(control, prefix)
    fraction = Family("gauge", prefix + "seat_fair_frac", "Seats given per seat wanted.")
    fraction.child().value = control.fair_fraction
    yield fraction


def _flows(control: FlowControl, prefix: str) -> Iterator[Family]:
    rejected = Family(
        "counter",
        prefix + "rejected_requests_total",
        "Requests turned away.",
        (*_FLOW, "reason"),
    )
    dispatched = Family(
        "counter", prefix + "dispatched_requests_total", "Requests that ran.", _FLOW
    )
    now = {
        name: Family("gauge", prefix + name, text, _FLOW)
        for name, text in (
            ("current_inqueue_requests", "Requests waiting."),
            ("current_inqueue_seats", "Seats waited for."),
            ("current_executing_requests", "Requests being served."),
            ("current_executing_seats", "Seats in use."),
        )
    }
    for (level, schema), counts in control.counts().items():
        dispatched.child(level, schema).value = counts.dispatched
        now["current_inqueue_requests"].child(level, schema).value = counts.waiting
        now["current_inqueue_seats"].child(level, schema).value = counts.waiting_seats
        now["current_executing_requests"].child(level, schema).value = counts.executing
        now["current_executing_seats"].child(level, schema).value = counts.seats
        for reason, count in counts.rejected.items():
            rejected.child(level, schema, reason).value = count
    yield rejected
    yield dispatched
    yield from now.values()


def _objects(engine: Engine) -> Iterator[Family]:
    stored = Family("gauge", "apiserver_storage_objects", "Stored objects.", ("resource",))
    objects = Family(
        "gauge", "apiserver_resource_objects", "Stored objects.", ("group", "resource")
    )
    watched = Family(
        "gauge", "apiserver_registered_watchers", "Watchers.", ("group", "version", "resource")
    )
    for served in engine.catalog:
        one = served.resource
        if "list" not in one.verbs:
            continue
        collection = engine.collection(served)
        stored.child(served.name).value = len(collection.items)
        objects.child(one.group, one.plural).value = len(collection.items)
        if collection.followers:
            watched.child(one.group, one.version, one.plural).value = len(collection.followers)
    yield from (stored, objects, watched)


def _process() -> Iterator[Family]:
    """client_golang's process collector, and the build."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    pages = Path("/proc/self/statm").read_text().split()
    size = resource.getpagesize()
    for kind, name, text, value in (
        ("counter", "cpu_seconds_total", "Processor time, in seconds.", usage.ru_utime + usage.ru_stime),
        ("gauge", "resident_memory_bytes", "Resident memory, in bytes.", int(pages[1]) * size),
        ("gauge", "virtual_memory_bytes", "Virtual memory, in bytes.", int(pages[0]) * size),
        ("gauge", "open_fds", "Open file descriptors.", len(os.listdir("/proc/self/fd"))),
        ("gauge", "max_fds", "The most file descriptors.", resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        ("gauge", "start_time_seconds", "When the process began, in seconds since 1970.", _began()),
    ):  # fmt: skip
        family = Family(kind, f"process_{name}", text)
        family.child().value = value
        yield family
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    python = "python" + ".".join(map(str, sys.version_info[:3]))
    build = Family(
        "gauge",
        "kubernetes_build_info",
        "The version served; its value is 1.",
        ("compiler", "git_version", "go_version", "major", "minor", "platform"),
    )
    child = build.child("cpython", KUBERNETES_VERSION, python, major, minor, "linux/amd64")
    child.value = 1
    yield build


def _began() -> float:
    """From the process' start in clock ticks since boot (proc_pid_stat(5), field 22)."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    since_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + since_boot


def slis(health: Health) -> str:
    """The text of /metrics/slis: which health checks pass now."""
    checks = Family(
        "gauge", "kubernetes_healthcheck", "Whether a health check passes.", ("name", "type")
    )
    for type_ in ("healthz", "livez", "readyz"):
        for name, fails in health.failing(type_).items():
            checks.child(name, type_).value = 0 if fails else 1
    return metrics.text([checks])
