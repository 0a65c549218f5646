"""Counters, gauges and histograms in the Prometheus text format, under kube-proxy's names."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

SYNC_BUCKETS = tuple(0.001 * 2**power for power in range(15))
PROGRAMMING_BUCKETS = (
    *(0.25 * step for step in range(1, 5)), *range(2, 60), *range(60, 120, 5), *range(120, 301, 30),
)  # fmt: skip

Labels = tuple[tuple[str, str], ...]


class Metric:
    """One family; every value is told apart by its labels."""

    kind = "counter"

    def __init__(self, name: str, text: str) -> None:
        self.name, self._text = name, text
        self._values: dict[Labels, float] = {}

    def add(self, amount: float = 1, **labels: str) -> None:
        key = tuple(labels.items())
        self._values[key] = self._values.get(key, 0) + amount

    def set(self, value: float, **labels: str) -> None:
        self._values[tuple(labels.items())] = value

    def value(self, **labels: str) -> float:
        return self._values.get(tuple(labels.items()), 0)

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self._text}"
        yield f"# TYPE {self.name} {self.kind}"
        for labels, value in self._values.items() or [((), 0.0)]:
            yield f"{self.name}{_labels(labels)} {value:g}"


class Gauge(Metric):
    kind = "gauge"


class Histogram(Metric):
    kind = "histogram"

    def __init__(self, name: str, text: str, buckets: Sequence[float]) -> None:
        super().__init__(name, text)
        self._buckets = tuple(buckets)
        self._counts = [0] * (len(self._buckets) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._buckets, value)] += 1
        self._sum += value

    @property
    def count(self) -> int:
        return sum(self._counts)

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self._text}"
        yield f"# TYPE {self.name} {self.kind}"
        total = 0
        for bound, count in zip(self._buckets, self._counts, strict=False):
            total += count
            yield f'{self.name}_bucket{{le="{bound:g}"}} {total}'
        yield f'{self.name}_bucket{{le="+Inf"}} {self.count}'
        yield f"{self.name}_sum {self._sum:g}"
        yield f"{self.name}_count {self.count}"


class Metrics:
    """What the proxy tells about itself on 127.0.0.1:10249/metrics."""

    def __init__(self) -> None:
        self.sync = Histogram(
            "kubeproxy_sync_proxy_rules_duration_seconds",
            "Time from a batch of changes to the kernel having taken it.",
            SYNC_BUCKETS,
        )
        self.programming = Histogram(
            "kubeproxy_network_programming_duration_seconds",
            "Time from an endpoint's change to the rules for it.",
            PROGRAMMING_BUCKETS,
        )
        self.last_sync = Gauge(
            "kubeproxy_sync_proxy_rules_last_timestamp_seconds", "When rules were last programmed."
        )
        self.last_queued = Gauge(
            "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
            "When a change was last queued.",
        )
        self.service_changes = Metric(
            "kubeproxy_sync_proxy_rules_service_changes_total", "Changes of Services heard of."
        )
        self.endpoint_changes = Metric(
            "kubeproxy_sync_proxy_rules_endpoint_changes_total",
            "Changes of EndpointSlices heard of.",
        )
        self.pending = Gauge(
            "kubeproxy_sync_proxy_rules_service_changes_pending",
            "Services whose rules wait to be programmed.",
        )
        self.no_local_endpoints = Gauge(
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
            "Service ports with a Local policy and no endpoint on this node.",
        )
        self.failures = Metric(
            "kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
            "Batches that the kernel refused.",
        )
        self.flows_deleted = Metric(
            "kubeproxy_conntrack_reconciler_deleted_entries_total",
            "Stale connection-tracking entries deleted.",
        )
        self.healthz = Metric("kubeproxy_proxy_healthz_total", "Answers on /healthz by code.")
        self.livez = Metric("kubeproxy_proxy_livez_total", "Answers on /livez by code.")

    def text(self) -> str:
        families: Iterable[Metric] = vars(self).values()
        return "".join(f"{line}\n" for family in families for line in family.lines())


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}"
