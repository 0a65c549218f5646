"""Addresses as pools name them: CIDR prefixes and ranges, families, canonical text (pure)."""

import ipaddress
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Family(Enum):
    """What a set of addresses is made of; the value is the word upstream's messages use."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"
    DUAL = "dual"


def parse_address(text: str) -> Address | None:
    """The address that `text` names, or None.  IPv4-mapped IPv6 means the IPv4 address, as in Go."""
    if "%" in text:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def parse_entry(text: str) -> tuple[Network, ...]:
    """One entry of `spec.addresses`, `10.0.0.0/24` or `10.0.0.5-10.0.0.9`, as its smallest list of prefixes.

    Host bits of a prefix are masked away.  Raises ValueError with the wording clients see.
    """
    if "-" not in text:
        return (_prefix(text),)
    first_text, _, last_text = text.partition("-")
    first, last = parse_address(first_text.strip()), parse_address(last_text.strip())
    if first is None:
        raise ValueError(f'invalid IP range "{text}": invalid start IP "{first_text}"')
    if last is None:
        raise ValueError(f'invalid IP range "{text}": invalid end IP "{last_text}"')
    if first.version != last.version:
        raise ValueError(f'invalid IP range "{text}": start and end are of different families')
    if int(first) > int(last):
        raise ValueError(
            f'invalid IP range "{text}": start IP "{first}" is after the end IP "{last}"'
        )
    return tuple(ipaddress.summarize_address_range(first, last))


def overlap(one: Network, other: Network) -> bool:
    """Whether two prefixes share an address; prefixes of different families never do."""
    return one.version == other.version and one.overlaps(other)


def family_of(addresses: Iterable[Address]) -> Family:
    """The family of one address, or of one of each.  Raises ValueError for anything else."""
    versions = sorted(address.version for address in addresses)
    if versions == [4]:
        return Family.IPV4
    if versions == [6]:
        return Family.IPV6
    if versions == [4, 6]:
        return Family.DUAL
    raise ValueError(
        f"invalid address list of families {versions}: want one address, or one of each family"
    )


def is_buggy(address: Address) -> bool:
    """Whether old firmware mistakes the address for a network or broadcast one: IPv4 ending .0 or .255."""
    return address.version == 4 and int(address) & 0xFF in (0, 255)


def quoted(addresses: Sequence[Address]) -> str:
    """`["10.0.0.1" "fc00::1"]`: how upstream's Events print a list."""
    return "[" + " ".join(f'"{address}"' for address in addresses) + "]"


def _prefix(text: str) -> Network:
    address_text, slash, length = text.partition("/")
    address = parse_address(address_text)
    if address is None or not slash or not (length.isascii() and length.isdigit()):
        raise ValueError(f'invalid CIDR "{text}"')
    try:
        return ipaddress.ip_network(f"{address_text}/{int(length)}", strict=False)
    except ValueError:
        raise ValueError(f'invalid CIDR "{text}"') from None
