"""`FlowControl`: the priority levels and flow schemas as the server's objects say, and the way of a request through them.

A change of the objects acts when the cache has seen it.  What a request is classified as depends on few of its
attributes and is remembered by them.
"""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from multidict import istr

from todoku.aio import log as logs
from todoku.aio.metrics import Distribution
from todoku.api import errors
from todoku.api.meta import Object
from todoku.apiserver.flowcontrol import defaults, schemas, seats
from todoku.apiserver.flowcontrol.queueset import Counts, Queue, QueueSet, Queuing, Ticket
from todoku.apiserver.request import RequestInfo, User

log = logs.get(__name__)

_SCHEMA_UID = istr("X-Kubernetes-Pf-Flowschema-Uid")
_LEVEL_UID = istr("X-Kubernetes-Pf-Prioritylevel-Uid")
_REMEMBERED = 10_000
_LONGEST_PATH = 300  # of those that are remembered: anyone can send long ones
_WIDEST = 100
TOO_MANY = "Too many requests, please try again later."


class NoSeat(errors.TooManyRequests):
    """Turned away for want of a seat."""


class Level:
    """One priority level.  `quiescing`: its object is gone, its last requests are not."""

    __slots__ = (
        "current",
        "exempt",
        "limits",
        "name",
        "queues",
        "queuing",
        "quiescing",
        "shares",
        "uid",
        "wanted",
        "widest",
    )

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.uid = ""
        self.exempt = False
        self.quiescing = False
        self.shares = seats.Shares(0)
        self.limits = seats.Limits(0, 0, 0)
        self.current = 0
        self.wanted = seats.Wanted()
        self.widest = _WIDEST
        self.queuing = Queuing()
        self.queues = QueueSet(self.queuing, 0, now)

    def read(self, level: Object) -> None:
        """Take over what the object says."""
        spec = level["spec"]
        self.uid = level["metadata"].get("uid", "")
        self.exempt = spec.get("type") == "Exempt"
        part: Object = spec.get("exempt" if self.exempt else "limited") or {}
        self.shares = seats.Shares(
            nominal=part.get("nominalConcurrencyShares") or 0,
            lendable_percent=part.get("lendablePercent") or 0,
            borrowing_percent=part.get("borrowingLimitPercent"),
        )
        queuing = (part.get("limitResponse") or {}).get("queuing")
        self.queuing = Queuing()
        if queuing:
            self.queuing = Queuing(
                queues=queuing["queues"],
                hand_size=queuing["handSize"],
                length_limit=queuing["queueLengthLimit"],
            )

    def settle(self, limits: seats.Limits) -> None:
        self.limits = limits
        self.widest = _WIDEST
        if self.queuing.queues:
            self.widest = min(_WIDEST, seats.widest(limits.nominal, self.queuing.hand_size))

    def apply(self, now: float) -> None:
        limit = math.inf if self.exempt else self.current
        self.queues.configure(self.queuing, limit, now)


@dataclass(frozen=True, slots=True)
class Flow:
    """What a request was classified as; `headers` tell its sender."""

    level: Level
    schema: str
    distinguisher: str
    hand: tuple[Queue, ...]
    counts: Counts
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Note:
    """About a request, for those who look at the queues."""

    flow: Flow
    user: User
    info: RequestInfo


class FlowControl:
    """`total` is how many seats the server has; who waits longer than `wait_seconds` is turned away.

    `waits` observes how long requests waited, by level, schema and whether they ran in the end.
    """

    def __init__(
        self,
        total: int,
        *,
        wait_seconds: float,
        waits: Distribution,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._wait_seconds = wait_seconds
        self._waits = waits
        self._clock = clock
        self._levels: dict[str, Level] = {}
        self._schemas: list[Object] = []
        self._flows: dict[tuple[object, ...], Flow] = {}
        self._counts: dict[tuple[str, str], Counts] = {}
        self._nominal = 0
        self.fair_fraction = 0.0
        self.digest((), ())

    # -- requests

    def flow(self, user: User, info: RequestInfo) -> Flow:
        """Classify a request."""
        key: tuple[object, ...]
        if info.resource:
            key = (
                user.name, user.groups, info.verb, info.group, info.resource, info.subresource,
                info.namespace,
            )  # fmt: skip
        else:
            key = (user.name, user.groups, info.verb, info.path)
        found = self._flows.get(key)
        if found is None:
            if len(self._flows) >= _REMEMBERED:
                self._flows.clear()
            found = self._classify(user, info)
            if len(info.path) <= _LONGEST_PATH:
                self._flows[key] = found
        return found

    def enter(self, flow: Flow, width: int) -> Ticket:
        """A request begins, or waits if its ticket is not `executing`.  Raises NoSeat."""
        ticket = flow.level.queues.start(flow.hand, width, flow.counts, self._clock())
        if ticket is None:
            raise NoSeat(TOO_MANY)
        return ticket

    async def wait(self, flow: Flow, ticket: Ticket, user: User, info: RequestInfo) -> None:
        """Wait for a seat; `leave` must follow if the ticket is then `executing`, whatever was raised.

        Raises NoSeat when it takes too long.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ticket.note = Note(flow, user, info)
        ticket.wake = functools.partial(_settle, done)
        reason = "cancelled"
        try:
            async with asyncio.timeout(self._wait_seconds):
                await done
        except TimeoutError:
            reason = "time-out"
        finally:
            ticket.wake = None
            executing = "true" if ticket.executing else "false"
            seconds = self._clock() - ticket.arrived
            self._waits.child(flow.level.name, flow.schema, executing).observe(seconds)
            if not ticket.executing:
                flow.level.queues.leave(ticket, self._clock(), reason)
        if not ticket.executing:
            raise NoSeat(TOO_MANY)

    def leave(self, flow: Flow, ticket: Ticket) -> None:
        """The request is done."""
        flow.level.queues.finish(ticket, self._clock())

    def _classify(self, user: User, info: RequestInfo) -> Flow:
        schema = schemas.match(self._schemas, user, info)
        name = schema["metadata"]["name"]
        level = self._levels[schema["spec"]["priorityLevelConfiguration"]["name"]]
        teller, hand = "", tuple[Queue, ...]()
        if level.queuing.queues:
            teller = schemas.distinguisher(schema, user, info)
            digest = sha256(f"{len(name)}:{name}/{teller}".encode()).digest()
            hand = level.queues.hand(int.from_bytes(digest[:16], "big"))
        headers: dict[str, str] = {
            _SCHEMA_UID: schema["metadata"].get("uid", ""),
            _LEVEL_UID: level.uid,
        }
        counts = self._counts.setdefault((level.name, name), Counts())
        return Flow(level, name, teller, hand, counts, headers)

    # -- configuration

    def digest(self, levels: Iterable[Object], found: Iterable[Object]) -> None:
        """Take over the objects; what must always be there is imagined if it is not."""
        now = self._clock()
        wanted = {one["metadata"]["name"]: one for one in defaults.mandatory_levels()}
        wanted |= {one["metadata"]["name"]: one for one in levels if _sound(one)}
        named = {one["metadata"]["name"]: one for one in defaults.mandatory_schemas()}
        named |= {one["metadata"]["name"]: one for one in found}
        self._schemas = schemas.in_order(one for one in named.values() if level_of(one) in wanted)
        self._levels = self._kept(wanted, now)
        every = list(self._levels.values())
        for level, limits in zip(
            every, seats.limits([one.shares for one in every], self._total), strict=True
        ):
            level.settle(limits)
        self._nominal = sum(level.limits.nominal for level in every)
        self.adjust()
        self._flows.clear()

    def _kept(self, wanted: Mapping[str, Object], now: float) -> dict[str, Level]:
        """The levels of the objects, and those that still have requests."""
        kept: dict[str, Level] = {}
        for name, obj in wanted.items():
            level = kept[name] = self._levels.get(name) or Level(name, now)
            level.quiescing = False
            level.read(obj)
        for name, level in self._levels.items():
            if name not in kept and not level.queues.idle:
                level.quiescing = True
                kept[name] = level
        return kept

    def adjust(self) -> None:
        """Move the limits towards what was wanted since the last time."""
        now = self._clock()
        for level in [one for one in self._levels.values() if one.quiescing and one.queues.idle]:
            del self._levels[level.name]
        levels = list(self._levels.values())
        for level in levels:
            level.wanted = level.wanted.after(level.queues.demand(now))
        claims = [seats.claim(level.limits, level.wanted) for level in levels]
        division = seats.divide(self._nominal, claims)
        for index, level in enumerate(levels):
            if division is not None:
                level.current = round(division[0][index])
            elif not level.current:
                level.current = seats.initial(level.limits)
            level.apply(now)
        if division is not None:
            self.fair_fraction = division[1]

    def levels(self) -> list[Level]:
        return sorted(self._levels.values(), key=lambda level: level.name)

    def counts(self) -> Mapping[tuple[str, str], Counts]:
        """By level and schema."""
        return self._counts


def level_of(schema: Object) -> str:
    name = (schema["spec"].get("priorityLevelConfiguration") or {}).get("name", "")
    return str(name)


def _sound(level: Object) -> bool:
    """Whether the level can be used: only `exempt` is exempt."""
    return bool((level["spec"].get("type") == "Exempt") == (level["metadata"]["name"] == "exempt"))


def _settle(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
