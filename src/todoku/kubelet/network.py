"""The pod network as the kubelet needs it; room `network` implements it and `lab` hands it in."""

from __future__ import annotations

from typing import Protocol

from todoku.api.podnetwork import HostPort, PodAddresses, PodRef

__all__ = ["HostPort", "PodAddresses", "PodNetwork", "PodRef"]


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
