"""Pod addresses of one node, kept in files as host-local IPAM does: one file per address.

A file appears before its address is used and disappears after it is free, so a crash at any moment leaks
at most an address whose owner is written in the file.
"""

import json
import os
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network, ip_address
from pathlib import Path

from todoku.api.podnetwork import HostPort

_LAST = "last_reserved_ip.0"


class Exhausted(OSError):
    """Every address of the node's range is in use."""


@dataclass(frozen=True, slots=True)
class Lease:
    """An address and the pod that holds it."""

    address: str
    uid: str
    namespace: str = ""
    name: str = ""
    host_ports: tuple[HostPort, ...] = ()


class Ipam:
    """Leases of one /24 (or other range); the folder is the truth, this a cache of it.

    The network, the gateway (.1) and the broadcast address are never given out.  The next address is the
    one after the last, so that an address rests before somebody else gets it.
    """

    def __init__(self, folder: Path, subnet: IPv4Network) -> None:
        self._folder, self.subnet = folder, subnet
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        self._leases = {lease.uid: lease for lease in self._stored()}

    @property
    def gateway(self) -> str:
        return str(self.subnet.network_address + 1)

    def leases(self) -> Collection[Lease]:
        return self._leases.values()

    def find(self, uid: str) -> Lease | None:
        return self._leases.get(uid)

    def reserve(
        self,
        uid: str,
        *,
        namespace: str = "",
        name: str = "",
        host_ports: tuple[HostPort, ...] = (),
    ) -> Lease:
        """The pod's lease, the one that it has or a new one.  Raises Exhausted."""
        known = self._leases.get(uid)
        if known is not None:
            return known
        for address in self._candidates():
            lease = Lease(address, uid, namespace, name, host_ports)
            if self._create(lease):
                self._leases[uid] = lease
                self._remember(address)
                return lease
        raise Exhausted(
            f"no address is free in {self.subnet}: {len(self._leases)} pods hold them all"
        )

    def release(self, uid: str) -> Lease | None:
        """Give the pod's address back; what it was."""
        lease = self._leases.pop(uid, None)
        if lease is not None:
            (self._folder / lease.address).unlink(missing_ok=True)
        return lease

    def _candidates(self) -> Iterator[str]:
        taken = {lease.address for lease in self._leases.values()}
        first = int(self.subnet.network_address) + 2
        count = self.subnet.num_addresses - 3
        start = self._last() - first + 1
        for step in range(count):
            address = str(ip_address(first + (start + step) % count))
            if address not in taken:
                yield address

    def _create(self, lease: Lease) -> bool:
        """Write the file of a lease; False if another process was faster."""
        target = self._folder / lease.address
        draft = self._folder / f".{lease.address}.{os.getpid()}"
        draft.write_text(json.dumps(asdict(lease)), encoding="utf-8")
        try:
            os.link(draft, target)  # a link appears complete or not at all
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        return True

    def _stored(self) -> Iterator[Lease]:
        for path in self._folder.iterdir():
            if path.name.startswith("."):
                path.unlink(missing_ok=True)  # a draft of a process that died
            elif path.name != _LAST:
                lease = _parse(path)
                if lease is not None and ip_address(lease.address) in self.subnet:
                    yield lease
                else:
                    path.unlink(missing_ok=True)  # torn by a power cut, or of an older range

    def _last(self) -> int:
        try:
            address = ip_address((self._folder / _LAST).read_text(encoding="ascii").strip())
        except (FileNotFoundError, ValueError):
            return int(self.subnet.network_address) + 1
        return int(address) if address in self.subnet else int(self.subnet.network_address) + 1

    def _remember(self, address: str) -> None:
        (self._folder / _LAST).write_text(address, encoding="ascii")


def _parse(path: Path) -> Lease | None:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        ports = tuple(HostPort(**port) for port in fields.pop("host_ports", ()))
        lease = Lease(**fields, host_ports=ports)
    except (ValueError, TypeError):
        return None
    return lease if lease.address == path.name else None
