"""Ranges in two bands: a value picked for somebody comes from the upper band first, so that values which people
write down (the lower band) are seldom taken.  Source: KEP-3070 (addresses), KEP-3668 (node ports).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# An IPv6 range is larger than anyone can use; upstream stops counting here too.
_MAX_SIZE = 1 << 62


@dataclass(frozen=True, slots=True)
class Range:
    """`size` values from `first`; the lowest `static` ones form the lower band."""

    first: int
    size: int
    static: int

    def __contains__(self, value: int) -> bool:
        return self.first <= value < self.first + self.size

    def candidates(self, pick: Callable[[int], int]) -> Iterator[int]:
        """Every value once, in the order to try: the upper band from a random point on, then the lower band."""
        for start, count in ((self.static, self.size - self.static), (0, self.static)):
            if count <= 0:
                continue
            offset = pick(count)
            for step in range(count):
                yield self.first + start + (offset + step) % count


def address_range(network: Network) -> Range:
    """The usable addresses of a service CIDR: without network address and, for IPv4, broadcast."""
    size = min(network.num_addresses - 1, _MAX_SIZE)
    if network.version == 4:
        size = max(0, size - 1)
    return Range(int(network.network_address) + 1, size, _band(size, divisor=16, largest=256))


def port_range(first: int, last: int) -> Range:
    """The node ports `first` to `last`, both included."""
    size = last - first + 1
    return Range(first, size, _band(size, divisor=32, largest=128))


def _band(size: int, *, divisor: int, largest: int) -> int:
    if size <= 16:
        return 0
    return min(max(16, size // divisor), largest)
