"""Which speakers live: a failure detector by authenticated heartbeat (pure; time comes in as arguments).

Every speaker sends each peer a `Beat` a few times a second, and echoes in it the last beat that it has from
each of them.  From that follow the rules against two nodes answering for one address:

- a speaker stays silent after its start, after its own loop stood still for so long that others must think
  it dead, and when it learns that a peer took it for dead (a mended cable); it speaks again once every living
  peer has echoed a beat sent since then (and so has given way), and the others have had their grace;
- a speaker whose loop merely ran late gives its peers that much longer.

All times are seconds of one monotonic clock.
"""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

_MAGIC = b"TDK1"
_DIGEST_BYTES = 32
_LATE_SHARE = 0.75
"""This share of `silence_seconds` without a beat of ours, and the others may already think us dead."""


class PeerAddress(NamedTuple):
    """Where a peer listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Timings:
    """`silence_seconds` without a beat means dead; `grace_seconds` is how long a newcomer waits for peers."""

    beat_seconds: float = 0.2
    tick_seconds: float = 0.1
    silence_seconds: float = 0.65
    grace_seconds: float = 0.9


class Mark(NamedTuple):
    """One beat of one speaker: `life` is its start (each later than the last), `number` counts within it."""

    life: int
    number: int


@dataclass(frozen=True, slots=True)
class Beat:
    """One heartbeat; `echoes` holds the last beat heard from each living peer."""

    node: str
    mark: Mark
    echoes: Mapping[str, Mark] = field(default_factory=dict)
    leaving: bool = False


def encode(beat: Beat, key: bytes) -> bytes:
    """The datagram: magic, HMAC-SHA256 over the rest, JSON."""
    body = json.dumps(
        [beat.node, beat.mark, beat.echoes, beat.leaving], separators=(",", ":")
    ).encode()
    return _MAGIC + hmac.digest(key, body, "sha256") + body


def decode(datagram: bytes, key: bytes) -> Beat | None:
    """The beat in a datagram; None unless a holder of the key made it."""
    body = datagram[len(_MAGIC) + _DIGEST_BYTES :]
    head = _MAGIC + hmac.digest(key, body, "sha256")
    if not hmac.compare_digest(datagram[: len(head)], head):
        return None
    node, mark, echoes, leaving = json.loads(body)
    return Beat(node, Mark(*mark), {name: Mark(*one) for name, one in echoes.items()}, leaving)


def heartbeat_key(secret: bytes) -> bytes:
    """The key for our datagrams, apart from whatever else is made from the same secret."""
    return hmac.digest(secret, b"todoku speaker heartbeat", "sha256")


@dataclass(slots=True)
class _Peer:
    address: PeerAddress
    expected_since: float
    heard_at: float | None = None
    mark: Mark = field(default_factory=lambda: Mark(0, -1))
    echo: Mark | None = None
    knew_me: bool = False  # in its present life


@dataclass(frozen=True, slots=True)
class View:
    """What the rest of the speaker needs: who lives, and whether this node may speak at all."""

    alive: frozenset[str]
    may_announce: bool


class Membership:
    """The detector of one speaker.  Feed it every valid beat, and `tick` it often."""

    def __init__(self, node: str, timings: Timings, *, life: int, now: float) -> None:
        self.node, self.timings = node, timings
        self._mark = Mark(life, 0)
        self._peers: dict[str, _Peer] = {}
        self._ticked_at = now
        self._beaten_at = now - timings.beat_seconds
        self._quiet_since: float | None = now
        self._needed = Mark(life, 1)
        self._listed = False

    def expect(self, peers: Mapping[str, PeerAddress], now: float) -> None:
        """Take the list of speakers; those no longer on it are forgotten once they fall silent.

        Before the first list nobody knows whom to wait for, so this speaker stays silent.
        """
        self._listed = True
        for name, address in peers.items():
            known = self._peers.get(name)
            if known is not None:
                known.address = address
            elif name != self.node:
                self._peers[name] = _Peer(address, now)
        for name in [one for one in self._peers if one not in peers and not self._lives(one)]:
            del self._peers[name]

    def heard(self, beat: Beat, sender: PeerAddress, now: float) -> bool:
        """Take a beat; whether to answer it at once, so that nobody waits for the next one to be due."""
        if beat.node == self.node:
            return False
        peer = self._peers.setdefault(beat.node, _Peer(sender, now))
        if beat.mark <= peer.mark:
            return False  # replayed, or overtaken by a later one
        if beat.mark.life != peer.mark.life:
            peer.knew_me = False
        peer.mark = beat.mark
        if beat.leaving:
            self._bury(peer)
            peer.expected_since = now - self.timings.grace_seconds
            return False
        echo = beat.echoes.get(self.node)
        echo = echo if echo is not None and echo.life == self._mark.life else None
        if peer.knew_me and echo is None:
            self._fall_silent(now)  # it thinks us dead, and somebody may be answering in our place
        peer.knew_me = echo is not None
        is_news = peer.heard_at is None or echo is None
        peer.address, peer.heard_at, peer.echo = sender, now, echo
        self._speak_again(now)
        return is_news

    def tick(self, now: float) -> bool:
        """Let time pass; whether a beat is due."""
        late = now - self._ticked_at - self.timings.tick_seconds
        self._ticked_at = now
        if late > 0:
            self._forgive(late)
        if now - self._beaten_at > self.timings.silence_seconds * _LATE_SHARE:
            self._fall_silent(now)
        for peer in self._peers.values():
            if peer.heard_at is not None and now - peer.heard_at > self.timings.silence_seconds:
                self._bury(peer)
        self._speak_again(now)
        return now - self._beaten_at >= self.timings.beat_seconds - self.timings.tick_seconds / 2

    def stale(self, now: float) -> bool:
        """Whether the last beat is so long ago that nothing may be answered before the next tick."""
        return now - self._beaten_at > self.timings.silence_seconds * _LATE_SHARE

    def beat(self, now: float, *, leaving: bool = False) -> Beat:
        """The beat to send to every peer now."""
        self._beaten_at = now
        self._mark = Mark(self._mark.life, self._mark.number + 1)
        echoes = {name: peer.mark for name, peer in self._peers.items() if self._lives(name)}
        return Beat(self.node, self._mark, echoes, leaving)

    def addresses(self) -> list[PeerAddress]:
        return [peer.address for peer in self._peers.values()]

    def view(self) -> View:
        alive = {self.node, *(name for name in self._peers if self._lives(name))}
        return View(frozenset(alive), self._quiet_since is None)

    def _lives(self, name: str) -> bool:
        return self._peers[name].heard_at is not None

    def _bury(self, peer: _Peer) -> None:
        peer.heard_at = peer.echo = None

    def _forgive(self, seconds: float) -> None:
        """Our own loop was late: nobody else is to blame for what it did not read meanwhile."""
        for peer in self._peers.values():
            if peer.heard_at is not None:
                peer.heard_at += seconds

    def _fall_silent(self, now: float) -> None:
        self._quiet_since = now
        self._needed = Mark(self._mark.life, self._mark.number + 1)

    def _speak_again(self, now: float) -> None:
        if self._quiet_since is None or not self._listed:
            return
        for peer in self._peers.values():
            if peer.heard_at is not None:
                if peer.echo is None or peer.echo < self._needed:
                    return
            elif now - max(peer.expected_since, self._quiet_since) < self.timings.grace_seconds:
                return
        self._quiet_since = None
