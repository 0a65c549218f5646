"""The private tables that make the kernel report one connection's packets.

Our own request is tagged by DSCP, which survives veth pairs, NAT and VXLAN; the mark of the connection carries the tag
to the replies, which do not bear it.  Somebody else's packets are never changed: they are told by their addresses,
before translation and after.  Each namespace gets one table, loaded in one transaction and removed in `finally`; tables
left by a killed trace are swept by `sweep`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from todoku.linux.nftables import Nft, NftError

TABLE = "todoku-trace"
REQUEST_OUTPUT = "request-output"
"""The chain that sees a request where it is made."""
DSCP = 0x2A
"""Not a registered code point (RFC 2474 pool 1 has even numbers by standards action; 42 is unassigned)."""
TYPE_OF_SERVICE = DSCP << 2
_CT_MARK = 0x70D0_4B00
# A transaction waits for a grace period of the kernel; waiting in parallel takes the time of one.
_AT_ONCE = 16

T = TypeVar("T")

_FIRST = "meta l4proto udp meta nftrace set 1"
_SYN = "tcp flags & (syn | ack) == syn meta nftrace set 1"
_REPLY = "tcp flags & (syn | ack) == (syn | ack) meta nftrace set 1"
_RESET = "tcp flags & rst == rst meta nftrace set 1"
_UNREACHABLE = "meta l4proto icmp ct state related meta nftrace set 1"
_ASKING = {"TCP": (_SYN,), "UDP": (_FIRST,)}
_REPLYING = {"TCP": (_REPLY, _RESET), "UDP": (_FIRST,)}


@dataclass(frozen=True, slots=True)
class Watch:
    """Which packets are meant: nft expressions for requests, and for connections whose replies count.

    `marking` is a statement that remembers the connection of a request, "" if the replies are told without.
    `protocols` are those that the expressions leave possible: nft refuses rules that contradict themselves.
    """

    requests: Sequence[str]
    replies: Sequence[str]
    marking: str = ""
    protocols: Sequence[str] = ("TCP", "UDP")


TAGGED = Watch(
    requests=(f"ip dscp {DSCP:#x}",),
    replies=(f"ct mark {_CT_MARK:#x}",),
    marking=f"ct mark set {_CT_MARK:#x}",
)
"""Our own connection."""


def passing(address: str, port: int, protocol: str, backends: Iterable[tuple[str, int]]) -> Watch:
    """Somebody else's connections to the address, or to what may answer for it after translation."""
    word = "udp" if protocol == "UDP" else "tcp"
    asked = list(dict.fromkeys([(address, port), *backends]))
    return Watch(
        [f"ip daddr {host} {word} dport {number}" for host, number in asked],
        [
            f"ct original ip daddr {host} ct protocol {word} ct original proto-dst {number}"
            for host, number in asked
        ],
        protocols=(protocol,),
    )


def text(watch: Watch = TAGGED) -> str:
    """The table: trace a request before anything else sees it, and its replies after conntrack knows them."""
    chains = "\n".join(_chains(hook, watch) for hook in ("prerouting", "output"))
    return f"table ip {TABLE} {{{chains}\n}}\n"


def _chains(hook: str, watch: Watch) -> str:
    requests = [f"{one} {kind}" for one in watch.requests for kind in _kinds(_ASKING, watch)]
    replies = [f"{one} {watch.marking}" for one in watch.requests if watch.marking]
    for one in watch.replies:
        replies += [f"ct direction reply {one} {kind}" for kind in _kinds(_REPLYING, watch)]
        replies.append(f"{one} {_UNREACHABLE}")
    return f"""
  chain request-{hook} {{
    type filter hook {hook} priority -350; policy accept;
    {_lines(requests)}
  }}
  chain reply-{hook} {{
    type filter hook {hook} priority -199; policy accept;
    {_lines(replies)}
  }}"""


def _kinds(packets: Mapping[str, Sequence[str]], watch: Watch) -> list[str]:
    return [kind for protocol in watch.protocols for kind in packets[protocol]]


def _lines(rules: Sequence[str]) -> str:
    return "\n    ".join(rules)


@contextlib.contextmanager
def armed(namespaces: Iterable[str], watch: Watch = TAGGED) -> Iterator[None]:
    """Load the table into every namespace for the block; removed whatever happens inside.

    Raises OSError if a namespace is gone, NftError if the kernel refuses the rules.
    """
    paths = list(namespaces)
    fresh = f"table ip {TABLE}\ndelete table ip {TABLE}\n{text(watch)}"
    try:
        _everywhere(lambda path: Nft(path).apply(fresh), paths)
        yield
    finally:
        sweep(paths)


def sweep(namespaces: Iterable[str]) -> list[str]:
    """Remove tables that a trace left behind; returns where there was one."""

    def remove(path: str) -> str:
        with contextlib.suppress(NftError, FileNotFoundError):
            Nft(path).apply(f"delete table ip {TABLE}")
            return path
        return ""

    return [path for path in _everywhere(remove, list(namespaces)) if path]


def _everywhere(act: Callable[[str], T], paths: Sequence[str]) -> list[T]:
    """`act` in every namespace at once.  Raises the first error, after all have ended."""
    if not paths:
        return []
    with ThreadPoolExecutor(min(_AT_ONCE, len(paths)), thread_name_prefix="trace") as pool:
        return [one.result() for one in [pool.submit(act, path) for path in paths]]
