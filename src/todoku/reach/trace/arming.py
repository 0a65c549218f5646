"""The private tables that make the kernel report one connection's packets.

The request is tagged by DSCP, which survives veth pairs, NAT and VXLAN; the mark of the connection carries the tag to
the replies, which do not bear it.  Each namespace gets one table, loaded in one transaction and removed in `finally`;
tables left by a killed trace are swept by `sweep`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from todoku.linux.nftables import Nft, NftError

TABLE = "todoku-trace"
DSCP = 0x2A
"""Not a registered code point (RFC 2474 pool 1 has even numbers by standards action; 42 is unassigned)."""
TYPE_OF_SERVICE = DSCP << 2
_CT_MARK = 0x70D0_4B00

_FIRST = "meta l4proto udp meta nftrace set 1"
_SYN = "tcp flags & (syn | ack) == syn meta nftrace set 1"
_REPLY = "tcp flags & (syn | ack) == (syn | ack) meta nftrace set 1"
_RESET = "tcp flags & rst == rst meta nftrace set 1"
_TAGGED = f"ip dscp {DSCP:#x}"
_ANSWER = f"ct direction reply ct mark {_CT_MARK:#x}"


def text() -> str:
    """The table: trace the tagged request before anything else sees it, and its replies after conntrack knows them."""
    chains = "\n".join(
        f"""
  chain request-{hook} {{
    type filter hook {hook} priority -350; policy accept;
    {_TAGGED} {_SYN}
    {_TAGGED} {_FIRST}
  }}
  chain reply-{hook} {{
    type filter hook {hook} priority -199; policy accept;
    {_TAGGED} ct mark set {_CT_MARK:#x}
    {_ANSWER} {_REPLY}
    {_ANSWER} {_RESET}
    {_ANSWER} {_FIRST}
  }}"""
        for hook in ("prerouting", "output")
    )
    return f"table ip {TABLE} {{{chains}\n}}\n"


@contextlib.contextmanager
def armed(namespaces: Iterable[str]) -> Iterator[None]:
    """Load the table into every namespace for the block; removed whatever happens inside."""
    loaded: list[str] = []
    try:
        for path in namespaces:
            loaded.append(path)
            Nft(path).apply(_fresh())
        yield
    finally:
        sweep(loaded)


def sweep(namespaces: Iterable[str]) -> list[str]:
    """Remove tables that a trace left behind; returns where there was one."""
    swept = []
    for path in namespaces:
        with contextlib.suppress(NftError, FileNotFoundError):
            Nft(path).apply(f"delete table ip {TABLE}")
            swept.append(path)
    return swept


def _fresh() -> str:
    return f"table ip {TABLE}\ndelete table ip {TABLE}\n{text()}"
