"""Everything that decides how a kubelet behaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from todoku.api.meta import Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Periods in seconds; the defaults are a lab's, `KUBERNETES` those of a real kubelet."""

    lease_renew: float = 1.0
    lease_duration: int = 3
    node_status: float = 10.0  # at most this old, even if nothing changed: 5 minutes upstream
    backoff_initial: float = 10.0
    backoff_maximum: float = 300.0
    backoff_reset: float = 600.0
    retry: float = 1.0  # a failed sandbox or volume
    housekeeping: float = 2.0


KUBERNETES = Timings(lease_renew=10.0, lease_duration=40, node_status=300.0, retry=10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeletConfig:
    """One node.

    `host_root` is what pods see as the node's root directory in hostPath volumes; logs lie in its
    `var/log/pods`.  `root_dir` keeps the kubelet's own files across restarts; `run_dir` what is true only
    until the node goes down: namespaces, sockets, exit files.  `cgroup_parent` is a path from the root of
    every hierarchy ("" leaves limits out).  `server_*` are PEM files; clients of :10250 need a certificate
    of `client_ca` with one of `server_groups` as organization.
    """

    node_name: str
    node_ips: tuple[str, ...]
    root_dir: Path
    host_root: Path
    run_dir: Path
    cgroup_parent: str = ""
    runtime: str = ""  # "crun", "runc" or "" to choose
    own_mounts: bool | None = (
        None  # whether this mount namespace is ours to change; None asks the kernel
    )
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Object, ...] = ()
    cluster_dns: tuple[str, ...] = ("10.96.0.10",)
    cluster_domain: str = "cluster.local"
    host_resolv_conf: Path = Path("/etc/resolv.conf")
    host_hosts: Path = Path("/etc/hosts")
    max_pods: int = 110
    cpus: int = 0  # 0: those of the machine
    memory_bytes: int = 0  # 0: that of the machine
    port: int = 10250
    bind_address: str = ""  # "": the first node IP
    server_cert: str = ""
    server_key: str = ""
    client_ca: str = ""
    server_groups: frozenset[str] = frozenset({"system:masters", "kubeadm:cluster-admins"})
    server_users: frozenset[str] = frozenset({"kube-apiserver-kubelet-client"})
    log_limit_bytes: int = 10 * 1024 * 1024
    log_files: int = 5
    seccomp_profile: Path = Path("/usr/share/containers/seccomp.json")
    register: bool = True
    timings: Timings = Timings()

    @property
    def pod_logs(self) -> Path:
        return self.host_root / "var/log/pods"
