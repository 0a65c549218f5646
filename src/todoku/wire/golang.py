"""Texts as Go writes them, where clients compare them: times and durations."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(seconds: int) -> str | None:
    """`2026-11-23T09:59:01Z`, or None outside the years 1 to 9999."""
    moment = _moment(seconds)
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)


def rfc3339_micro(seconds: int, nanos: int) -> str | None:
    """`2026-11-23T09:59:01.000123Z`: meta/v1 MicroTime always writes six digits."""
    whole = rfc3339(seconds)
    if whole is None or not 0 <= nanos < 1_000_000_000:
        return None
    return f"{whole[:-1]}.{nanos // 1000:06d}Z"


def _moment(seconds: int) -> datetime | None:
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return None
