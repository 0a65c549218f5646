"""The queues of one priority level: seats, fair dispatch between queues, bounded waiting; pure.

Fair Queuing for Server Requests (KEP-1040).  Every queue has a virtual time at which its next request starts;
the request that would finish first in virtual time is dispatched first, so that a queue with a hundred requests
gets no more seats than one with a single request.  Virtual time advances by the seats that each busy queue has.

Nothing here waits or reads a clock: the caller says what time it is (seconds, never going back) and learns through
`Ticket.wake` that a waiting request may run.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# How long a request is taken to run until it has.
GUESS_SECONDS = 0.003


@dataclass(frozen=True, slots=True)
class Queuing:
    """`queues` 0: what finds no free seat is turned away.  A flow uses `hand_size` of the queues."""

    queues: int = 0
    hand_size: int = 1
    length_limit: int = 0


class Counts:
    """What became of the requests of one flow schema in one priority level."""

    __slots__ = ("dispatched", "executing", "rejected", "seats", "waiting", "waiting_seats")

    def __init__(self) -> None:
        self.executing = self.waiting = self.seats = self.waiting_seats = self.dispatched = 0
        self.rejected: dict[str, int] = {}

    def reject(self, reason: str) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + 1


class Queue:
    """`next_r` is when, in virtual time, its next request starts."""

    __slots__ = ("executing", "index", "next_r", "seats", "waiting", "waiting_seats")

    def __init__(self, index: int) -> None:
        self.index = index
        self.next_r = 0.0
        self.executing = self.seats = self.waiting_seats = 0
        self.waiting: deque[Ticket] = deque()


class Ticket:
    """One request: it runs once `executing`; `finish` or `leave` must follow.  `wake` is called when a wait ends.

    `note` is the caller's, for those who look at the queues.
    """

    __slots__ = (
        "arrived",
        "arrived_r",
        "counts",
        "executing",
        "note",
        "queue",
        "started",
        "wake",
        "width",
    )

    def __init__(
        self, queue: Queue | None, width: int, counts: Counts, now: float, r: float
    ) -> None:
        self.queue = queue
        self.width = width
        self.counts = counts
        self.arrived = self.started = now
        self.arrived_r = r
        self.executing = False
        self.note: object = None
        self.wake: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """Seats wanted (in use and waited for) over a period."""

    average: float
    deviation: float
    highest: int


class QueueSet:
    """`limit` is the number of seats (math.inf: exempt from limits)."""

    def __init__(self, queuing: Queuing, limit: float, now: float) -> None:
        self.queuing = queuing
        self.limit = limit
        self.queues = [Queue(index) for index in range(queuing.queues)]
        self.executing = self.waiting = self.seats = self.waiting_seats = 0
        self.dispatched = self.rejected = self.timed_out = self.cancelled = 0
        self.r = 0.0
        self._now = now
        self._busy = 0  # queues with a request, waiting or executing
        self._waited: set[Queue] = set()  # queues with a waiting request
        self._arrivals = 0
        self._last = 0  # index of the queue that was dispatched from last
        self._area = self._squares = 0.0
        self._since = now
        self._highest = 0

    # -- requests

    def start(self, hand: Sequence[Queue], width: int, counts: Counts, now: float) -> Ticket | None:
        """A request arrives that may use the queues of `hand`: None means it is turned away (and counted so)."""
        self._sync(now)
        if not self.queuing.queues:
            if not self._fits(width):
                self._turn_away(counts, "concurrency-limit")
                return None
            ticket = Ticket(None, width, counts, now, self.r)
            self._execute(ticket, now)
            return ticket
        queue = self._choose(hand)
        ticket = Ticket(queue, width, counts, now, self.r)
        if not self._waited and self.seats < self.limit and self._fits(width):
            self._arrive(queue)
            if queue.next_r < self.r:
                queue.next_r = self.r
            self._execute(ticket, now)
            return ticket
        if self.seats >= self.limit and len(queue.waiting) >= self.queuing.length_limit:
            self._turn_away(counts, "queue-full")
            return None
        self._enqueue(queue, ticket)
        self._dispatch(now)
        return ticket

    def finish(self, ticket: Ticket, now: float) -> None:
        """An executing request is done."""
        self._sync(now)
        width, queue, counts = ticket.width, ticket.queue, ticket.counts
        self.executing -= 1
        self.seats -= width
        counts.executing -= 1
        counts.seats -= width
        ticket.executing = False
        if queue is not None:
            queue.executing -= 1
            queue.seats -= width
            # The guess made at dispatch becomes the truth.
            queue.next_r -= (GUESS_SECONDS - (now - ticket.started)) * width
            if queue.waiting:
                _bound(queue)
            elif not queue.executing:
                self._busy -= 1
        if self._waited:
            self._dispatch(now)

    def leave(self, ticket: Ticket, now: float, reason: str) -> None:
        """A request that waits gives up: `time-out`, or `cancelled` by its client."""
        self._sync(now)
        queue = ticket.queue
        assert queue is not None, "only requests in a queue wait"
        queue.waiting.remove(ticket)
        self._unwait(queue, ticket)
        if not queue.waiting and not queue.executing:
            self._busy -= 1
        self._turn_away(ticket.counts, reason)
        if reason == "time-out":
            self.timed_out += 1
        else:
            self.cancelled += 1
        self._dispatch(now)  # it may have been too wide for the seats that are free

    def configure(self, queuing: Queuing, limit: float, now: float) -> None:
        """New settings act at once; queues there are too many of run empty."""
        self._sync(now)
        for index in range(len(self.queues), queuing.queues):
            self.queues.append(Queue(index))
        del self.queues[max(queuing.queues, 0) :]
        self.queuing = queuing
        self.limit = limit
        self._dispatch(now)

    @property
    def idle(self) -> bool:
        return not self.executing and not self.waiting

    def hand(self, flow: int) -> tuple[Queue, ...]:
        """The queues of a flow by its hash (shuffle sharding): two flows seldom share all of them."""
        return tuple(
            self.queues[index]
            for index in deal(
                flow, self.queuing.queues, min(self.queuing.hand_size, len(self.queues))
            )
        )

    def demand(self, now: float) -> Demand:
        """The seats wanted since the last time this was asked."""
        self._sync(now)
        current = self.seats + self.waiting_seats
        seconds = now - self._since
        found = Demand(float(current), 0.0, max(self._highest, current))
        if seconds > 0:
            average = self._area / seconds
            variance = self._squares / seconds - average * average
            found = Demand(average, math.sqrt(max(variance, 0.0)), found.highest)
        self._area = self._squares = 0.0
        self._since, self._highest = now, current
        return found

    # -- the inside

    def _sync(self, now: float) -> None:
        """Let the time pass since the last change."""
        seconds = now - self._now
        if seconds <= 0:
            return
        self._now = now
        wanted = self.seats + self.waiting_seats
        if wanted:
            self._area += wanted * seconds
            self._squares += wanted * wanted * seconds
            if self._busy:
                self.r += (wanted if wanted < self.limit else self.limit) / self._busy * seconds

    def _fits(self, width: int) -> bool:
        """Whether there are seats; a request wider than all of them runs alone."""
        return self.seats + width <= self.limit or (width > self.limit and not self.executing)

    def _choose(self, hand: Sequence[Queue]) -> Queue:
        """The queue of the hand with the least work waiting."""
        count = len(hand)
        first = self._arrivals % count
        self._arrivals += 1
        if not self._waited:
            return hand[first]
        return min(
            (hand[(first + step) % count] for step in range(count)),
            key=lambda queue: queue.waiting_seats,
        )

    def _turn_away(self, counts: Counts, reason: str) -> None:
        self.rejected += 1
        counts.reject(reason)

    def _arrive(self, queue: Queue) -> None:
        if not queue.waiting and not queue.executing:
            queue.next_r = self.r
            self._busy += 1

    def _enqueue(self, queue: Queue, ticket: Ticket) -> None:
        self._arrive(queue)
        queue.waiting.append(ticket)
        queue.waiting_seats += ticket.width
        self._waited.add(queue)
        self.waiting += 1
        self.waiting_seats += ticket.width
        ticket.counts.waiting += 1
        ticket.counts.waiting_seats += ticket.width
        self._note_demand()
        _bound(queue)

    def _unwait(self, queue: Queue, ticket: Ticket) -> None:
        """The ticket is no longer in its queue."""
        queue.waiting_seats -= ticket.width
        self.waiting -= 1
        self.waiting_seats -= ticket.width
        ticket.counts.waiting -= 1
        ticket.counts.waiting_seats -= ticket.width
        if queue.waiting:
            _bound(queue)
        else:
            self._waited.discard(queue)

    def _dispatch(self, now: float) -> None:
        """Start what may start, in fair order."""
        while self._waited and self.seats < self.limit:
            queue = self._next()
            ticket = queue.waiting[0]
            if not self._fits(ticket.width):
                return
            self._last = queue.index
            queue.waiting.popleft()
            self._execute(ticket, now)
            self._unwait(queue, ticket)
            if ticket.wake:
                ticket.wake()

    def _next(self) -> Queue:
        """The queue whose oldest request finishes first in virtual time; among equals the next in turn."""
        count = max(len(self.queues), max(queue.index for queue in self._waited) + 1)
        return min(
            self._waited,
            key=lambda queue: (
                queue.next_r + queue.waiting[0].width * GUESS_SECONDS,
                (queue.index - self._last - 1) % count,
            ),
        )

    def _execute(self, ticket: Ticket, now: float) -> None:
        width, queue, counts = ticket.width, ticket.queue, ticket.counts
        ticket.executing = True
        ticket.started = now
        self.executing += 1
        self.dispatched += 1
        self.seats += width
        counts.executing += 1
        counts.dispatched += 1
        counts.seats += width
        if queue is not None:
            queue.executing += 1
            queue.seats += width
            queue.next_r += GUESS_SECONDS * width
        self._note_demand()

    def _note_demand(self) -> None:
        wanted = self.seats + self.waiting_seats
        if wanted > self._highest:
            self._highest = wanted


def _bound(queue: Queue) -> None:
    """No request starts, in virtual time, before it arrived: a queue saves no unused share for later."""
    oldest = queue.waiting[0].arrived_r
    if queue.next_r < oldest:
        queue.next_r = oldest


def deal(entropy: int, deck_size: int, hand_size: int) -> list[int]:
    """`hand_size` different cards of the deck, the same ones for the same entropy."""
    deck = list(range(deck_size))
    hand = []
    for _ in range(hand_size):
        entropy, card = divmod(entropy, len(deck))
        hand.append(deck.pop(card))
    return hand
