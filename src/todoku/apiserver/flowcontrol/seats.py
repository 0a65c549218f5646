"""How the server's seats are shared among priority levels: nominal limits from shares, then borrowing; pure.

KEP-1040: a level's nominal limit is its part of all shares.  It may lend what it does not use, down to its lower
limit, and borrow up to its upper one; every ten seconds the limits move towards what is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from todoku.apiserver.flowcontrol.queueset import Demand

ADJUST_SECONDS = 10.0
# So that what was wanted counts half after five minutes of such periods.
_DECAY = 0.977
_LEAST_TARGET = 0.001
# A request may be as wide as this part of its level's nominal limit.
_WIDEST_PART = 0.15


@dataclass(frozen=True, slots=True)
class Shares:
    """What a PriorityLevelConfiguration says.  `borrowing_percent` None: no limit."""

    nominal: int
    lendable_percent: int = 0
    borrowing_percent: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Seats: by shares, at least (the rest may be lent), at most (with what may be borrowed)."""

    nominal: int
    lowest: int
    highest: int


def limits(shares: Sequence[Shares], seats: int) -> list[Limits]:
    """The limits of levels that share `seats`; rounding up may make their sum a little more."""
    total = sum(one.nominal for one in shares)
    return [_limits(one, seats, total) for one in shares]


def _limits(one: Shares, seats: int, total: int) -> Limits:
    nominal = math.ceil(seats * one.nominal / total) if total else 0
    lendable = _round(nominal * one.lendable_percent / 100)
    percent = one.borrowing_percent
    borrowing = seats if percent is None else _round(nominal * percent / 100)
    return Limits(nominal, nominal - lendable, nominal + borrowing)


def initial(limit: Limits) -> int:
    """The limit of a level that is new: half of what it may lend is lent."""
    return limit.nominal - (limit.nominal - limit.lowest) // 2


def widest(nominal: int, hand_size: int) -> int:
    """The most seats one request of a level with queues may take."""
    return max(1, min(math.ceil(nominal * _WIDEST_PART), nominal // max(hand_size, 1)))


@dataclass(frozen=True, slots=True)
class Wanted:
    """The seats a level wants, smoothed over the last minutes."""

    demand: Demand = field(default_factory=lambda: Demand(0.0, 0.0, 0))
    smoothed: float = 0.0

    def after(self, demand: Demand) -> Wanted:
        """Rises at once with average plus deviation, falls slowly."""
        envelope = demand.average + demand.deviation
        slow = _DECAY * self.smoothed + (1 - _DECAY) * envelope
        return Wanted(demand, max(envelope, slow))


@dataclass(frozen=True, slots=True)
class Claim:
    """What a level may get: between `lowest` and `highest`, in proportion to `target`."""

    lowest: float
    highest: float
    target: float


def claim(limit: Limits, wanted: Wanted) -> Claim:
    lowest = max(limit.lowest, min(limit.nominal, wanted.demand.highest))
    return Claim(lowest, limit.highest, max(lowest, wanted.smoothed))


def divide(seats: int, claims: Sequence[Claim]) -> tuple[list[float], float] | None:
    """Each claim's part of `seats`, and the fair fraction: target times fraction, within the claim's bounds.

    None if the bounds allow no such division.
    """
    lowest, highest = sum(one.lowest for one in claims), sum(one.highest for one in claims)
    if not claims or not lowest - 1e-6 <= seats <= highest + 1e-6:
        return None
    targets = [max(one.target, _LEAST_TARGET) for one in claims]

    def parts(fraction: float) -> list[float]:
        return [
            max(one.lowest, min(one.highest, fraction * target))
            for one, target in zip(claims, targets, strict=True)
        ]

    # The sum of the parts grows with the fraction, in straight pieces between the fractions at which a bound is met.
    bounds = [one.lowest / target for one, target in zip(claims, targets, strict=True)]
    bounds += [one.highest / target for one, target in zip(claims, targets, strict=True)]
    bounds.sort()
    below = bounds[0]
    for above in bounds:
        enough = sum(parts(above))
        if enough >= seats:
            fewer = sum(parts(below))
            steep = (enough - fewer) / (above - below) if above > below else 0.0
            fraction = below + (seats - fewer) / steep if steep else above
            return parts(fraction), fraction
        below = above
    return parts(bounds[-1]), bounds[-1]


def _round(value: float) -> int:
    """Half away from zero, as Go's math.Round."""
    return math.floor(value + 0.5)
