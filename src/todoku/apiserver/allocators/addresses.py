"""Cluster addresses: each one is an IPAddress object, drawn from the ready ServiceCIDRs."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Sequence
from typing import TypeAlias

from todoku.api import errors
from todoku.api.meta import Object
from todoku.apiserver.allocators.bands import Network, address_range
from todoku.apiserver.config import Objects

ADDRESSES = "ipaddresses.networking.k8s.io"
CIDRS = "servicecidrs.networking.k8s.io"
FAMILY_LABEL = "ipaddress.kubernetes.io/ip-family"
MANAGED_LABEL = "ipaddress.kubernetes.io/managed-by"
MANAGER = "ipallocator.k8s.io"

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class Taken(Exception):
    """The wanted address belongs to somebody."""

    def __str__(self) -> str:
        return "provided IP is already allocated"


class OutOfRange(Exception):
    """No range has the address to give; `network` is the one whose first or last address it is."""

    def __init__(self, address: str, network: str | None = None) -> None:
        super().__init__(
            f"the provided IP ({address}) is not in the valid range. The range of valid IPs is {network}"
            if network
            else "the provided network does not match the current range"
        )


class Full(Exception):
    def __str__(self) -> str:
        return "range is full"


def family_of(address: str) -> str:
    """`IPv4` or `IPv6`.  Raises ValueError for anything else."""
    return f"IPv{ipaddress.ip_address(address).version}"


class Addresses:
    """Takes and frees addresses.  The IPAddress objects are the truth; `_pending` are those being written."""

    def __init__(
        self,
        objects: Objects,
        default_cidrs: Sequence[str],
        pick: Callable[[int], int] = random.randrange,
    ) -> None:
        self._objects = objects
        self._defaults = tuple(ipaddress.ip_network(cidr) for cidr in default_cidrs)
        self._pick = pick
        self._pending: set[str] = set()

    @property
    def families(self) -> tuple[str, ...]:
        """The families this cluster has, the default one first."""
        return tuple(dict.fromkeys(f"IPv{network.version}" for network in self._networks()))

    def base(self, family: str) -> str:
        """What a dry run shows instead of an address: the base of the family's first range."""
        return str(self._of_family(family)[0].network_address)

    async def take(self, address: str, service: Object) -> None:
        """Reserve one given address.  Raises Taken, OutOfRange."""
        self.check(address)
        await self._write(str(ipaddress.ip_address(address)), service)

    def check(self, address: str) -> None:
        """Raise what `take` would, reserve nothing."""
        parsed = ipaddress.ip_address(address)
        networks = self._of_family(f"IPv{parsed.version}")
        if not any(int(parsed) in address_range(network) for network in networks):
            around = (str(network) for network in networks if parsed in network)
            raise OutOfRange(address, next(around, None))
        if self._is_taken(str(parsed)):
            raise Taken

    async def take_any(self, family: str, service: Object) -> str:
        """Reserve some free address of a family.  Raises Full."""
        for network in self._of_family(family):
            for value in address_range(network).candidates(self._pick):
                text = str(_address(value, network))
                if self._is_taken(text):
                    continue
                try:
                    await self._write(text, service)
                except Taken:
                    continue
                return text
        raise Full

    async def free(self, address: str) -> None:
        """Give an address back; one that is not there is free already."""
        name = str(ipaddress.ip_address(address))
        found = self._objects.get(ADDRESSES, name)
        if found is None:
            return
        try:
            await self._objects.delete(ADDRESSES, name)
        except errors.NotFound:
            return

    def owner(self, address: str) -> tuple[str, str] | None:
        """Namespace and name of the Service an address belongs to."""
        found = self._objects.get(ADDRESSES, str(ipaddress.ip_address(address)))
        reference = (found or {}).get("spec", {}).get("parentRef")
        if not reference:
            return None
        return reference.get("namespace", ""), reference.get("name", "")

    def _is_taken(self, address: str) -> bool:
        return address in self._pending or self._objects.get(ADDRESSES, address) is not None

    async def _write(self, address: str, service: Object) -> None:
        self._pending.add(address)
        try:
            await self._objects.create(ADDRESSES, ip_address_object(address, service))
        except errors.AlreadyExists as error:
            raise Taken from error
        finally:
            self._pending.discard(address)

    def _networks(self) -> list[Network]:
        ready = [
            ipaddress.ip_network(cidr)
            for one in sorted(self._objects.list(CIDRS), key=_age)
            if _is_ready(one)
            for cidr in one.get("spec", {}).get("cidrs", ())
        ]
        # the order of the default range decides which family is the default
        known = {network for network in self._defaults if network in ready or not ready}
        defaults = [network for network in self._defaults if network in known]
        return [*defaults, *(network for network in ready if network not in known)]

    def _of_family(self, family: str) -> list[Network]:
        return [network for network in self._networks() if f"IPv{network.version}" == family]


def ip_address_object(address: str, service: Object) -> Object:
    metadata = service["metadata"]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": address,
            "labels": {FAMILY_LABEL: family_of(address), MANAGED_LABEL: MANAGER},
        },
        "spec": {
            "parentRef": {
                "group": "",
                "resource": "services",
                "namespace": metadata.get("namespace", ""),
                "name": metadata["name"],
            }
        },
    }


def service_cidr_object(cidrs: Sequence[str]) -> Object:
    """The ServiceCIDR that every cluster has."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": list(cidrs)},
    }


def _is_ready(cidr: Object) -> bool:
    """Only a ServiceCIDR that is being deleted, or is said not to be ready, gives no addresses."""
    if cidr["metadata"].get("deletionTimestamp"):
        return False
    conditions = cidr.get("status", {}).get("conditions") or ()
    return not any(one["type"] == "Ready" and one["status"] == "False" for one in conditions)


def _age(cidr: Object) -> tuple[str, str]:
    metadata = cidr["metadata"]
    return str(metadata.get("creationTimestamp", "")), str(metadata["name"])


def _address(value: int, network: Network) -> Address:
    return ipaddress.IPv4Address(value) if network.version == 4 else ipaddress.IPv6Address(value)
