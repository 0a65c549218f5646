"""Which children a lab has, where each runs, and what each is told.  Pure: topology and paths to values."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from todoku.lab import lan
from todoku.lab.keeper import Child
from todoku.lab.paths import CACHE, CONTROLLER_MANAGER, SCHEDULER, Paths
from todoku.lab.places import PlaceSpec, Share
from todoku.lab.sweep import cgroup
from todoku.lab.topology import GATEWAY, LAN, Node, Topology

API_SERVER = "apiserver"
CONTROLLERS = "controllers"
IMAGES = "images"
API_PORT = 6443
READY_SECONDS = 180.0


def agent(node: str) -> str:
    """The name of a node agent among the children."""
    return f"node-{node}"


def children(paths: Paths, topology: Topology) -> list[Child]:
    """Every child, in the order of starting."""
    plane = topology.control_plane.name
    return [
        _child(API_SERVER, plane, _api_server(paths, topology)),
        _child(CONTROLLERS, plane, _controllers(paths, topology)),
        _child(IMAGES, "", _images(paths, topology)),
        *(
            Child(
                agent(node.name),
                "todoku.lab.children.node:main",
                node.name,
                _agent(paths, topology, node),
            )
            for node in topology.nodes
        ),
    ]


def place(paths: Paths, topology: Topology, name: str) -> PlaceSpec:
    """What a machine looks like from inside."""
    if name in (LAN, GATEWAY):
        return PlaceSpec(topology.name, name, name, bare=True)
    etc = paths.node(name) / "etc"
    files = tuple(
        (f"/etc/{file}", str(etc / file)) for file in ("hosts", "hostname", "resolv.conf")
    )
    root = paths.node(name)  # what a hostPath sees as the node's root
    shares = tuple(Share(one.path, f"{root}{one.at}", one.read_only) for one in topology.shares)
    is_node = any(node.name == name for node in topology.nodes)
    return PlaceSpec(
        topology.name,
        name,
        name,
        files=files,
        keep=(str(paths.run),) if is_node else (),
        shares=shares if is_node else (),
    )


# Folders that every machine has, with their modes: a hostPath of type Directory asks for them.
MACHINE_FOLDERS = {
    "home": 0o755, "mnt": 0o755, "opt": 0o755, "root": 0o700, "run": 0o755, "srv": 0o755, "tmp": 0o1777,
    "usr": 0o755, "var/lib": 0o755, "var/log": 0o755, "var/tmp": 0o1777,
}  # fmt: skip


def machine_files(topology: Topology, name: str) -> dict[str, str]:
    """The files of a machine's /etc: names of the lab, and no name server (there is none on the LAN)."""
    return {
        "hosts": lan.hosts_file(topology),
        "hostname": f"{name}\n",
        "resolv.conf": "# This LAN has no name server; names of its machines are in /etc/hosts.\n",
    }


def ready(
    paths: Paths, topology: Topology, nodes: Sequence[str], *, since: float
) -> dict[str, Any]:
    """What the one that waits for readiness is told: which nodes, and when the lab booted (Unix time)."""
    return {
        "kubeconfig": str(paths.kubeconfig),
        "nodes": list(nodes),
        "since": since,
        "labels": {node.name: given_labels(node) for node in topology.nodes},
        "dns_address": topology.dns_service,
        "domain": topology.domain,
        "timeout_seconds": READY_SECONDS,
    }


_KUBERNETES_DOMAINS = ("kubernetes.io", "k8s.io")
_OWN_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")


def given_labels(node: Node) -> dict[str, str]:
    """The labels that a node may not give itself (admission plugin NodeRestriction): kubeadm sets them."""
    return {key: value for key, value in node.labels.items() if not _may_set_itself(key)}


def _may_set_itself(label: str) -> bool:
    domain = label.rpartition("/")[0]
    if _within(domain, _OWN_DOMAINS):
        return True
    return not _within(domain, _KUBERNETES_DOMAINS)


def _within(domain: str, domains: Sequence[str]) -> bool:
    return any(domain == one or domain.endswith(f".{one}") for one in domains)


def _child(name: str, place: str, config: dict[str, Any]) -> Child:
    return Child(name, f"todoku.lab.children.{name}:main", place, config)


def _api_server(paths: Paths, topology: Topology) -> dict[str, Any]:
    return {
        "pki": str(paths.pki),
        "store": str(paths.store),
        "service_cidr": topology.service_cidr,
        "advertise_address": topology.control_plane.address,
        "domain": topology.domain,
        "timings": topology.timings,
    }


def _controllers(paths: Paths, topology: Topology) -> dict[str, Any]:
    return {
        "pki": str(paths.pki),
        "controller_manager": str(paths.component_kubeconfig(CONTROLLER_MANAGER)),
        "scheduler": str(paths.component_kubeconfig(SCHEDULER)),
        "pod_cidr": topology.pod_cidr,
        "service_cidr": topology.service_cidr,
        "timings": topology.timings,
    }


def _images(paths: Paths, topology: Topology) -> dict[str, Any]:
    return {
        "socket": str(paths.images_socket),
        "images": str(CACHE / "images"),
        "packages": str(CACHE / "packages"),
        "order": list(topology.image_order),
    }


def _agent(paths: Paths, topology: Topology, node: Node) -> dict[str, Any]:
    return {
        "node": node.name,
        "address": node.address,
        "labels": {key: value for key, value in node.labels.items() if _may_set_itself(key)},
        "taints": [dataclasses.asdict(taint) for taint in node.taints],
        "root": str(paths.node(node.name)),
        "pki": str(paths.pki),
        "kubeconfig": str(paths.component_kubeconfig(f"node-{node.name}")),
        "images_socket": str(paths.images_socket),
        "cgroup": cgroup(topology.name, node.name),
        "dns_address": topology.dns_service,
        "domain": topology.domain,
        "pod_cidr": topology.pod_cidr,
        "service_cidr": topology.service_cidr,
        "timings": topology.timings,
    }
