"""Times and durations as the API writes them: RFC 3339 in UTC, Go durations, kubectl's ages."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)"
)
_DURATION = re.compile(r"([0-9]*\.?[0-9]+|[0-9]+\.)(ns|us|µs|μs|ms|s|m|h)")
_UNIT_SECONDS = {
    "ns": Decimal("1e-9"), "us": Decimal("1e-6"), "µs": Decimal("1e-6"), "μs": Decimal("1e-6"),
    "ms": Decimal("1e-3"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600),
}  # fmt: skip


def text(seconds: float) -> str:
    """meta/v1 Time: whole seconds since the epoch, `2026-11-23T10:00:00Z`."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_text(seconds: float) -> str:
    """meta/v1 MicroTime: `2026-11-23T10:00:00.000000Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse(value: str) -> float:
    """Seconds since the epoch of an RFC 3339 text.  Raises ValueError."""
    match = _RFC3339.fullmatch(value)
    if not match:
        raise ValueError(f'parsing time "{value}" as RFC 3339')
    fraction, zone = match.group(7) or "0", match.group(8).upper()
    moment = datetime(*(int(match.group(i)) for i in range(1, 7)), tzinfo=UTC)  # type: ignore[misc, arg-type]
    seconds = moment.timestamp() - _offset_seconds(zone)
    return seconds + float(f"0.{fraction}")


def canonical(value: str, *, micro: bool = False) -> str:
    """An RFC 3339 text as Time, or MicroTime, writes it: in UTC, in whole seconds or with six digits."""
    if value[-1:] == "Z" and len(value) == (27 if micro else 20):
        return value
    match = _RFC3339.fullmatch(value)
    if not match:
        raise ValueError(f'parsing time "{value}" as RFC 3339')
    fraction = (match.group(7) or "")[:6].ljust(6, "0")
    numbers = [int(match.group(i)) for i in range(1, 7)]
    moment = datetime(*numbers, int(fraction), tzinfo=UTC)  # type: ignore[misc, arg-type]
    moment -= timedelta(seconds=_offset_seconds(match.group(8).upper()))
    shown = f"{moment:%H:%M:%S}" + (f".{moment:%f}" if micro else "")
    return f"{moment.year:04d}-{moment:%m-%d}T{shown}Z"


def is_time(value: object) -> bool:
    """Whether the value is a text in RFC 3339."""
    try:
        return isinstance(value, str) and parse(value) is not None
    except ValueError:
        return False


def _offset_seconds(zone: str) -> int:
    if zone == "Z":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    return (1 if zone[0] == "+" else -1) * (hours * 3600 + minutes * 60)


def age(seconds: float) -> str:
    """A span as kubectl prints it (k8s.io/apimachinery util/duration HumanDuration): `5s`, `2m3s`, `26h`, `3d4h`."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes = whole // 60
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    hours = whole // 3600
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(hours // 24, "d", hours % 24, "h")
    if hours < 24 * 365 * 2:
        return f"{hours // 24}d"
    years = hours // (24 * 365)
    if hours < 24 * 365 * 8:
        return _two(years, "y", (hours // 24) % 365, "d")
    return f"{years}y"


def _two(big: int, big_unit: str, small: int, small_unit: str) -> str:
    return f"{big}{big_unit}{small}{small_unit}" if small else f"{big}{big_unit}"


def parse_duration(value: str) -> float:
    """Seconds of a Go duration: `1h30m`, `-1.5s`, `0`.  Raises ValueError."""
    sign, rest = (-1, value[1:]) if value.startswith("-") else (1, value.removeprefix("+"))
    if rest == "0":
        return 0.0
    total, position = Decimal(0), 0
    while position < len(rest):
        match = _DURATION.match(rest, position)
        if not match:
            raise ValueError(_bad_duration(value, rest[position:]))
        total += Decimal(match.group(1)) * _UNIT_SECONDS[match.group(2)]
        position = match.end()
    if not rest:
        raise ValueError(f'time: invalid duration "{value}"')
    return float(sign * total)


def _bad_duration(value: str, rest: str) -> str:
    """What Go's time.ParseDuration says of the part that is no number with a unit."""
    number = re.match(r"[0-9]+\.?[0-9]*|\.[0-9]+", rest)
    if not number:
        return f'time: invalid duration "{value}"'
    unit = re.match(r"[^.0-9]*", rest[number.end() :])
    if unit is None or not unit.group():
        return f'time: missing unit in duration "{value}"'
    return f'time: unknown unit "{unit.group()}" in duration "{value}"'


def duration_text(seconds: float) -> str:
    """A Go duration, as `time.Duration.String` prints it: `1h30m0s`, `1.5s`, `250ms`."""
    nanoseconds = round(seconds * 1e9)
    if nanoseconds == 0:
        return "0s"
    sign = "-" if nanoseconds < 0 else ""
    nanoseconds = abs(nanoseconds)
    if nanoseconds < 10**9:
        for unit, scale in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
            if nanoseconds < scale * 1000:
                return f"{sign}{_decimal(nanoseconds, scale)}{unit}"
    whole, fraction = divmod(nanoseconds, 60 * 10**9)
    out = f"{_decimal(fraction, 10**9)}s"
    if whole:
        out = f"{whole % 60}m{out}"
    if whole >= 60:
        out = f"{whole // 60}h{out}"
    return sign + out


def _decimal(value: int, scale: int) -> str:
    shown = Decimal(value) / Decimal(scale)
    return format(shown.normalize(), "f") if shown else "0"
