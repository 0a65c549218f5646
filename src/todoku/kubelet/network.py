"""The pod network as the kubelet needs it; room `network` implements it and `lab` hands it in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


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


class PodNetwork(Protocol):
    """Gives a pod's network namespace its interface, addresses and routes.

    `netns` is a path that names the namespace (a bind mount of its nsfs file).  The kubelet has made it
    and brought `lo` up; it removes it after `detach`.
    """

    async def attach(self, pod: PodRef, netns: str) -> PodAddresses:
        """Attach the pod and return its addresses.  Idempotent: attached again, it answers the same.

        May wait until the node has a pod CIDR.  Raises OSError, or an exception whose text tells why.
        """
        ...

    async def detach(self, pod: PodRef, netns: str) -> None:
        """Release the pod's addresses and interface.  Idempotent; the namespace may be gone already."""
        ...
