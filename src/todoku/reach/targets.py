"""Which sources ask and which addresses they ask: read off the API objects, purely."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import ip_address
from typing import Literal

from todoku.api.meta import Key, Object, key_of
from todoku.reach.outcome import Code
from todoku.reach.probe import Transport
from todoku.reach.world import Endpoint, World, usable


class At(StrEnum):
    """The kinds of addresses, in the order in which a table shows them (`--at`)."""

    POD = "pod"
    CLUSTERIP = "clusterip"
    NODEPORT = "nodeport"
    LOADBALANCER = "lb"
    EXTERNAL = "external"
    DNS = "dns"


@dataclass(frozen=True, slots=True)
class Source:
    """Where packets start: a node itself, a host outside the cluster, or a pod (`machine` is its node)."""

    name: str
    kind: Literal["node", "outside", "pod"]
    machine: str
    address: str
    pod: Key | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """One thing to dial.  `missing` says why there is no such address; then host is ""."""

    at: At
    label: str
    host: str
    port: int
    protocol: Transport
    service: Key | None = None
    port_name: str = ""
    node: str = ""
    pod: Key | None = None
    missing: Code | None = None
    service_port: int = 0  # the Service's own port number, which node port and pod may differ from


def addresses(world: World, service: Object, kinds: Iterable[At] = tuple(At)) -> list[Address]:
    """Every address of a Service: its pods', ClusterIP, node ports, load-balancer and external IPs, DNS name."""
    wanted = frozenset(kinds)
    found = [one for port in ports(service) for one in _of_port(world, service, port)]
    order = list(At)
    return sorted((one for one in found if one.at in wanted), key=lambda one: order.index(one.at))


def _numerically(endpoint: Endpoint) -> tuple[int, bytes, int]:
    ip = ip_address(endpoint.address)
    return ip.version, ip.packed, endpoint.port


def ports(service: Object) -> list[Object]:
    """The TCP and UDP ports of a Service; SCTP is not probed."""
    return [
        port
        for port in service["spec"].get("ports") or ()
        if port.get("protocol", "TCP") in ("TCP", "UDP")
    ]


def _of_port(world: World, service: Object, port: Object) -> Iterable[Address]:
    spec, key = service["spec"], key_of(service)
    protocol: Transport = "UDP" if port.get("protocol") == "UDP" else "TCP"
    number = int(port["port"])
    suffix = f"{number}/udp" if protocol == "UDP" else f"{number}"
    base = Address(
        At.CLUSTERIP, "", "", number, protocol, key, port.get("name", ""), service_port=number
    )

    for end in sorted(usable(world.endpoints(service, port)), key=_numerically):
        yield replace(
            base, at=At.POD, label=f"{end.address}:{end.port}{'/udp' * (protocol == 'UDP')}", host=end.address, port=end.port,
            node=end.node, pod=end.pod,
        )  # fmt: skip
    for cluster_ip in _cluster_ips(spec):
        yield replace(base, label=f"ClusterIP:{suffix}", host=cluster_ip)
    if spec.get("type") in ("NodePort", "LoadBalancer"):
        yield from _node_ports(world, replace(base, at=At.NODEPORT), int(port.get("nodePort") or 0))
    if spec.get("type") == "LoadBalancer":
        yield from _balanced(service, replace(base, at=At.LOADBALANCER), suffix)
    for external in spec.get("externalIPs") or ():
        yield replace(base, at=At.EXTERNAL, label=f"{external}:{suffix}", host=external)
    if spec.get("type") != "ExternalName":
        name = f"{key.name}.{key.namespace}.svc.{world.domain}"
        label = f"DNS:{suffix}" if len(ports(service)) > 1 else "DNS"
        yield replace(base, at=At.DNS, label=label, host=name)


def _node_ports(world: World, base: Address, node_port: int) -> Iterable[Address]:
    missing = None if node_port else Code.NO_NODE_PORT
    for machine in world.node_machines():
        yield replace(
            base, label=f"{machine.short}:{node_port or '-'}", port=node_port, missing=missing,
            host=machine.address if node_port else "", node=machine.name,
        )  # fmt: skip


def _balanced(service: Object, base: Address, suffix: str) -> Iterable[Address]:
    given = [
        one.get("ip") or one["hostname"]
        for one in ingress(service)
        if "ip" in one or "hostname" in one
    ]
    for ip in given:
        yield replace(base, label=f"{ip}:{suffix}", host=ip)
    if not given:
        yield replace(base, label=f"<pending>:{suffix}", missing=Code.LB_PENDING)


def ingress(service: Object) -> Sequence[Object]:
    """`status.loadBalancer.ingress`, empty when there is none."""
    return ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()


def _cluster_ips(spec: Object) -> list[str]:
    listed = spec.get("clusterIPs") or [spec.get("clusterIP", "")]
    return [ip for ip in listed if ip and ip != "None"]


def pod_addresses(world: World, selector: Sequence[Object] = ()) -> list[Address]:
    """The addresses of pods that no Service publishes: their declared TCP and UDP container ports."""
    found = []
    for pod in selector:
        ip = (pod.get("status") or {}).get("podIP", "")
        for container in pod["spec"].get("containers", ()):
            for port in container.get("ports") or ():
                protocol: Transport = "UDP" if port.get("protocol") == "UDP" else "TCP"
                number = int(port["containerPort"])
                missing = None if ip else Code.POD_NOT_RUNNING
                found.append(
                    Address(At.POD, f"{ip or pod['metadata']['name']}:{number}", ip, number, protocol,
                            node=pod["spec"].get("nodeName", ""), pod=key_of(pod), missing=missing)
                )  # fmt: skip
    return found


def machine_sources(world: World) -> list[Source]:
    """Nodes first, then the hosts outside, each in the lab's order."""
    ordered = sorted(world.machines, key=lambda machine: machine.kind != "node")
    return [Source(m.short, m.kind, m.name, m.address) for m in ordered]


def pod_sources(pods: Iterable[Object]) -> list[Source]:
    """Running pods with an address of their own, as sources."""
    return [
        Source(
            f"pod/{pod['metadata']['name']}", "pod", pod["spec"]["nodeName"],
            pod["status"]["podIP"], key_of(pod),
        )
        for pod in pods
        if (pod.get("status") or {}).get("podIP") and not pod["spec"].get("hostNetwork")
        and pod["status"].get("phase") == "Running"
    ]  # fmt: skip


def shown(source: Source) -> str:
    """A source's name as tables and drawings show it: long pod names are shortened."""
    return f"pod/{short(source.pod.name)}" if source.pod else source.name


def short(pod: str) -> str:
    """`httpd-deployment-5d4c8-x7w5c` as `httpd-…-x7w5c`: the part that tells replicas apart."""
    parts = pod.split("-")
    return f"{parts[0]}-…-{parts[-1]}" if len(parts) > 2 else pod
