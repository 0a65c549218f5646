"""Gauges and counters in the Prometheus text format, small enough for a pod of 22 MiB.

Source: Prometheus exposition format 0.0.4; names are MetalLB's (v0.14.9).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from todoku.loadbalancer.http import Handler, Reply, Request

Labels = tuple[tuple[str, str], ...]
_PAGE_BYTES, _TICKS = 4096, 100


@dataclass(slots=True)
class Metric:
    """One family.  Values are kept per label set and removed when their subject goes."""

    name: str
    kind: str
    help: str
    values: dict[Labels, float] = field(default_factory=dict)

    def set(self, value: float, **labels: str) -> None:
        self.values[_labels(labels)] = value

    def add(self, amount: float = 1, **labels: str) -> None:
        key = _labels(labels)
        self.values[key] = self.values.get(key, 0) + amount

    def remove(self, **labels: str) -> None:
        """Drop every value that carries these labels."""
        wanted = set(labels.items())
        self.values = {key: value for key, value in self.values.items() if not wanted <= set(key)}

    def replace(self, values: Mapping[Labels, float]) -> None:
        self.values = dict(values)

    def text(self) -> str:
        lines = [f"# HELP {self.name} {self.help}", f"# TYPE {self.name} {self.kind}"]
        lines += [
            f"{self.name}{_shown(key)} {value:.17g}" for key, value in sorted(self.values.items())
        ]
        return "\n".join(lines) + "\n"


class Registry:
    """The metrics of one process, with those about the process itself."""

    def __init__(self) -> None:
        self._metrics: list[Metric] = []
        self._refreshers: list[Callable[[], None]] = []
        self._started = time.time()

    def before_reading(self, refresh: Callable[[], None]) -> None:
        """Call `refresh` before each reading, for gauges that are cheaper to count then."""
        self._refreshers.append(refresh)

    def gauge(self, name: str, help: str) -> Metric:
        return self._add(Metric(name, "gauge", help))

    def counter(self, name: str, help: str) -> Metric:
        return self._add(Metric(name, "counter", help))

    def text(self) -> str:
        for refresh in self._refreshers:
            refresh()
        return "".join(metric.text() for metric in [*self._metrics, *_process(self._started)])

    def _add(self, metric: Metric) -> Metric:
        self._metrics.append(metric)
        return metric


def metrics_handler(registry: Registry) -> Handler:
    """Serves `/metrics`, which is also what the probes ask for."""

    async def handle(request: Request) -> Reply:
        if request.path != "/metrics":
            return Reply(b"only /metrics is here\n", 404)
        if request.method not in ("GET", "HEAD"):
            return Reply(b"read only\n", 405)
        body = registry.text().encode() if request.method == "GET" else b""
        return Reply(body, content_type="text/plain; version=0.0.4; charset=utf-8")

    return handle


class ClientMetrics:
    """What both processes tell of their configuration."""

    def __init__(self, registry: Registry) -> None:
        prefix = "metallb_k8s_client"
        self.updates = registry.counter(
            f"{prefix}_updates_total", "Number of k8s object updates that have been processed."
        )
        self.update_errors = registry.counter(
            f"{prefix}_update_errors_total", "Number of k8s object updates that failed."
        )
        self.loaded = registry.gauge(
            f"{prefix}_config_loaded_bool",
            "1 if the MetalLB configuration was successfully loaded at least once.",
        )
        self.stale = registry.gauge(
            f"{prefix}_config_stale_bool",
            "1 if running on a stale configuration, because the latest config failed to load.",
        )
        for metric in (self.updates, self.update_errors, self.loaded, self.stale):
            metric.set(0)

    def configured(self, valid: bool) -> None:
        self.stale.set(0 if valid else 1)
        if valid:
            self.loaded.set(1)


def _process(started: float) -> list[Metric]:
    usage = time.process_time()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    found = []
    for name, kind, value in (
        ("process_cpu_seconds_total", "counter", usage),
        ("process_resident_memory_bytes", "gauge", resident),
        ("process_start_time_seconds", "gauge", started),
    ):
        found.append(Metric(name, kind, "Of this process.", {(): value}))
    return found


def _labels(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _shown(key: Labels) -> str:
    if not key:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in key) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
