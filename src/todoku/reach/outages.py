"""When each cell failed and recovered, and what the recovery waited for (pure: times in, outages out)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from todoku.reach.outcome import Outcome

C = TypeVar("C", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened in the cluster: `node worker1 NotReady`, `endpoints withdrawn`."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Outage(Generic[C]):
    """A cell that failed: `began` is its last success, `ended` its first success after; times in seconds.

    `waited_for` is the last mark between the two, the likeliest thing that the recovery waited for.
    """

    cell: C
    began: float
    ended: float
    failures: int
    outcome: Outcome
    waited_for: str = ""

    @property
    def milliseconds(self) -> float:
        return (self.ended - self.began) * 1000


@dataclass(slots=True)
class _Line:
    last_ok: float | None = None
    failures: int = 0
    outcome: Outcome = Outcome.OK


@dataclass(slots=True)
class Tracker(Generic[C]):
    """Feed it attempts and marks in the order of time; it returns outages as they end."""

    lines: dict[C, _Line] = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)

    def mark(self, at: float, text: str) -> None:
        self.marks.append(Mark(at, text))

    def feed(self, cell: C, at: float, outcome: Outcome) -> Outage[C] | None:
        """Note one attempt that ended at `at`; an outage if this success ends one.

        A cell that has never been open has no outage: closed is not broken.
        """
        line = self.lines.setdefault(cell, _Line())
        if outcome is not Outcome.OK:
            line.failures += 1
            line.outcome = outcome
            return None
        began, failures = line.last_ok, line.failures
        line.last_ok, line.failures = at, 0
        if began is None or not failures:
            return None
        waited_for = self._last_mark(began, at)
        return Outage(cell, began, at, failures, line.outcome, waited_for)

    def failing(self) -> list[tuple[C, float]]:
        """Cells that are failing now after they were open, with the time of their last success."""
        return [
            (cell, line.last_ok)
            for cell, line in self.lines.items()
            if line.failures and line.last_ok is not None
        ]

    def _last_mark(self, began: float, ended: float) -> str:
        inside = [mark.text for mark in self.marks if began <= mark.at <= ended]
        return inside[-1] if inside else ""


def longest(outages: Iterable[Outage[C]]) -> dict[C, Outage[C]]:
    """The longest outage of each cell."""
    found: dict[C, Outage[C]] = {}
    for outage in outages:
        known = found.get(outage.cell)
        if known is None or outage.milliseconds > known.milliseconds:
            found[outage.cell] = outage
    return found
