"""When a cron schedule is due (the five fields of robfig/cron's standard parser, and @hourly and its kin).  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

_NAMED = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_MONTHS = {
    name: i + 1
    for i, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
    )
}
_DAYS = {name: i for i, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_RANGES: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, _MONTHS),
    (0, 6, _DAYS),
)
MAX_YEARS = 5


@dataclass(frozen=True, slots=True)
class Schedule:
    """Allowed values per field; `any_day` and `any_weekday` tell that a field was `*`."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    def next(self, after: datetime) -> datetime | None:
        """The first due minute after a moment; None if there is none for years (February 30th)."""
        moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
        limit = moment + timedelta(days=366 * MAX_YEARS)
        while moment < limit:
            if moment.month not in self.months or not self._day(moment):
                moment = moment.replace(hour=0, minute=0) + timedelta(days=1)
            elif moment.hour not in self.hours:
                moment = moment.replace(minute=0) + timedelta(hours=1)
            elif moment.minute not in self.minutes:
                moment += timedelta(minutes=1)
            else:
                return moment
        return None

    def _day(self, moment: datetime) -> bool:
        """A day fits by its number or its weekday; if one of the fields is `*`, the other decides."""
        by_number = moment.day in self.days
        by_weekday = (moment.weekday() + 1) % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return by_number and by_weekday
        return by_number or by_weekday


def parse(text: str) -> Schedule:
    """Read a schedule.  Raises ValueError."""
    fields = _NAMED.get(text.strip(), text).split()
    if len(fields) != 5:
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{text}]")
    minutes, hours, days, months, weekdays = (
        _field(field, *bounds) for field, bounds in zip(fields, _RANGES, strict=True)
    )
    any_day, any_weekday = (fields[i].startswith(("*", "?")) for i in (2, 4))
    return Schedule(minutes, hours, days, months, weekdays, any_day, any_weekday)


def _field(text: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        if span in ("*", "?"):
            first, last = low, high
        else:
            start, dash, end = span.partition("-")
            first = _number(start, names)
            last = _number(end, names) if dash else (high if slash else first)
        every = int(step) if slash else 1
        if not low <= first <= last <= high or every < 1:
            raise ValueError(f"{part} is outside {low}-{high}")
        found.update(range(first, last + 1, every))
    return frozenset(found)


def _number(text: str, names: dict[str, int]) -> int:
    return names[text.lower()] if text.lower() in names else int(text)


def due_times(
    schedule: Schedule, after: float, now: float, zone: tzinfo, *, limit: int = 100
) -> list[float]:
    """The due moments in (after, now], at most `limit` of them, the newest last."""
    found: list[float] = []
    moment = datetime.fromtimestamp(after, UTC).astimezone(zone).replace(tzinfo=None)
    while len(found) < limit:
        following = schedule.next(moment)
        if following is None:
            break
        seconds = following.replace(tzinfo=zone).timestamp()
        if seconds > now:
            break
        found.append(seconds)
        moment = following
    return found


def next_time(schedule: Schedule, after: float, zone: tzinfo) -> float | None:
    moment = datetime.fromtimestamp(after, UTC).astimezone(zone).replace(tzinfo=None)
    following = schedule.next(moment)
    return following.replace(tzinfo=zone).timestamp() if following else None
