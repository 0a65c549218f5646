"""What the kubelet tells about itself: its configuration, its own metrics, and the logs of its node.

Source: kubelet.config.k8s.io/v1beta1 KubeletConfiguration; Kubernetes docs, Kubernetes Metrics Reference; net/http
FileServer for the form of a folder.
"""

from __future__ import annotations

import html
import os
import resource
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from todoku import KUBERNETES_VERSION
from todoku.aio import metrics
from todoku.api import times
from todoku.api.meta import Object
from todoku.kubelet.config import KubeletConfig
from todoku.kubelet.records import PodRecord


def configz(config: KubeletConfig) -> Object:
    """The running configuration under the names of KubeletConfiguration; what has no meaning here is left out."""
    periods = config.timings
    return {
        "kubeletconfig": {
            "kind": "KubeletConfiguration",
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "enableServer": True,
            "address": config.bind_address or config.node_ips[0],
            "port": config.port,
            "tlsCertFile": config.server_cert,
            "tlsPrivateKeyFile": config.server_key,
            "authentication": {
                "x509": {"clientCAFile": config.client_ca},
                "webhook": {"enabled": False},
                "anonymous": {"enabled": False},
            },
            "clusterDomain": config.cluster_domain,
            "clusterDNS": list(config.cluster_dns),
            "nodeStatusUpdateFrequency": times.duration_text(periods.node_status),
            "nodeStatusReportFrequency": times.duration_text(periods.node_status),
            "nodeLeaseDurationSeconds": periods.lease_duration,
            "cgroupRoot": config.cgroup_parent,
            "cgroupDriver": "cgroupfs",
            "maxPods": config.max_pods,
            "resolvConf": str(config.host_resolv_conf),
            "containerLogMaxSize": str(config.log_limit_bytes),
            "containerLogMaxFiles": config.log_files,
            "podLogsDir": "/var/log/pods",
            "registerNode": config.register,
            "registerWithTaints": [dict(one) for one in config.taints],
        }
    }


def kubelet_page(config: KubeletConfig, records: Sequence[PodRecord]) -> str:
    """The text of /metrics."""
    return metrics.text(_families(config, records))


def _families(config: KubeletConfig, records: Sequence[PodRecord]) -> Iterator[metrics.Family]:
    states = {"created": 0, "exited": 0, "running": 0}
    for record in records:
        for attempts in record.containers.values():
            for one in attempts:
                states[one.state.value] += 1
    yield _family("gauge", "kubelet_node_name", "The node's name. The count is always 1.", (("node", config.node_name),), 1)  # fmt: skip
    active = sum(1 for record in records if record.sandbox and not record.terminated)
    yield _family("gauge", "kubelet_running_pods", "Number of pods that have a running pod sandbox", (), active)  # fmt: skip
    containers = metrics.Family("gauge", "kubelet_running_containers", "Number of containers currently running", ("container_state",))  # fmt: skip
    for state, count in states.items():
        containers.child(state).value = count
    yield containers
    usage = resource.getrusage(resource.RUSAGE_SELF)
    pages = Path("/proc/self/statm").read_text().split()
    size = resource.getpagesize()
    yield _family("counter", "process_cpu_seconds_total", "Processor time, in seconds.", (), usage.ru_utime + usage.ru_stime)  # fmt: skip
    yield _family("gauge", "process_resident_memory_bytes", "Resident memory, in bytes.", (), int(pages[1]) * size)  # fmt: skip
    yield _family("gauge", "process_open_fds", "Open file descriptors.", (), len(os.listdir("/proc/self/fd")))  # fmt: skip
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    python = "python" + ".".join(map(str, sys.version_info[:3]))
    build = (("compiler", "cpython"), ("git_version", KUBERNETES_VERSION), ("go_version", python), ("major", major), ("minor", minor))  # fmt: skip
    yield _family("gauge", "kubernetes_build_info", "The version served; its value is 1.", build, 1)


def _family(
    kind: str, name: str, text: str, labels: Sequence[tuple[str, str]], value: float
) -> metrics.Family:
    family = metrics.Family(kind, name, text, [label for label, _ in labels])
    family.child(*(one for _, one in labels)).value = value
    return family


def node_log(config: KubeletConfig, path: str) -> Path | None:
    """The file or folder below the node's /var/log that `path` names; None for what is not there or leads out."""
    root = (config.host_root / "var/log").resolve()
    found = (root / path.lstrip("/")).resolve()
    return found if found.is_relative_to(root) and found.exists() else None


def folder_page(folder: Path) -> str:
    """A folder's entries as links."""
    names = sorted(f"{one.name}/" if one.is_dir() else one.name for one in folder.iterdir())
    links = "".join(f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in names)
    return f'<!doctype html>\n<meta name="viewport" content="width=device-width">\n<pre>\n{links}</pre>\n'
