"""What the proxy counts, under kube-proxy's names."""

from todoku.aio.metrics import Gauge, Histogram, Metric, text

SYNC_BUCKETS = tuple(0.001 * 2**power for power in range(15))
PROGRAMMING_BUCKETS = (
    *(0.25 * step for step in range(1, 5)), *range(2, 60), *range(60, 120, 5), *range(120, 301, 30),
)  # fmt: skip


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
        return text(vars(self).values())
