"""What a pod is to the network it is attached to: the values that kubelet and pod network exchange."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HostPort:
    """One `hostPort` of a pod: traffic to it on the node goes to `container_port` of the pod."""

    protocol: str
    host_port: int
    container_port: int
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class PodRef:
    """Which pod is attached; `uid` tells two pods of one name apart."""

    namespace: str
    name: str
    uid: str
    host_ports: tuple[HostPort, ...] = ()


@dataclass(frozen=True, slots=True)
class PodAddresses:
    """The addresses of a pod, primary first."""

    ips: tuple[str, ...]
