"""Schedules of CronJobs: five fields or a macro, as robfig/cron reads them; time zones by their IANA names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from zoneinfo import ZoneInfo

from todoku.api.errors import FieldError, Path, invalid
from todoku.api.times import parse_duration

_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WORDS: tuple[Mapping[str, int], ...] = (
    {}, {}, {},
    {name: number for number, name in enumerate(_MONTHS, 1)},
    {name: number for number, name in enumerate(_DAYS)},
)  # fmt: skip
_MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")


def schedule_problems(schedule: str, path: Path) -> list[FieldError]:
    """What the parser says of the first mistake."""
    try:
        _parse(schedule)
    except ValueError as error:
        return [invalid(path, schedule, str(error))]
    return []


def _parse(schedule: str) -> None:
    if schedule.startswith(("TZ=", "CRON_TZ=")):
        zone, _, schedule = schedule.partition("=")[2].partition(" ")
        if not _known_zone(zone):
            raise ValueError(f"provided bad location {zone}: unknown time zone {zone}")
        schedule = schedule.strip()
    if schedule.startswith("@"):
        return _parse_macro(schedule)
    fields = schedule.split()
    if len(fields) != len(_RANGES):
        listed = " ".join(fields)
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{listed}]")
    for text, bounds, words in zip(fields, _RANGES, _WORDS, strict=True):
        for part in filter(None, text.split(",")):
            _parse_range(part, bounds, words)
    return None


def _parse_macro(text: str) -> None:
    if text in _MACROS:
        return
    if not text.startswith("@every "):
        raise ValueError(f"unrecognized descriptor: {text}")
    try:
        parse_duration(text.removeprefix("@every "))
    except ValueError as error:
        raise ValueError(f"failed to parse duration {text}: {error}") from None


def _parse_range(part: str, bounds: tuple[int, int], words: Mapping[str, int]) -> None:
    low, high = bounds
    span, *steps = part.split("/")
    first, *rest = span.split("-")
    if first in ("*", "?"):
        start, end = low, high
    else:
        start = end = _number(first, words)
        if len(rest) > 1:
            raise ValueError(f"too many hyphens: {part}")
        if rest:
            end = _number(rest[0], words)
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {part}")
    step = _number(steps[0], {}) if steps else 1
    if steps and not rest:
        end = high
    if start < low:
        raise ValueError(f"beginning of range ({start}) below minimum ({low}): {part}")
    if end > high:
        raise ValueError(f"end of range ({end}) above maximum ({high}): {part}")
    if start > end:
        raise ValueError(f"beginning of range ({start}) beyond end of range ({end}): {part}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {part}")


def _number(text: str, words: Mapping[str, int]) -> int:
    if text.lower() in words:
        return words[text.lower()]
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError(
            f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'
        )
    if int(text) < 0:
        raise ValueError(f"negative number ({int(text)}) not allowed: {text}")
    return int(text)


_ZONE_PART = re.compile(r"[A-Za-z.\-_0-9+]{1,14}")


def time_zone_problems(zone: str | None, path: Path) -> list[FieldError]:
    if zone is None:
        return []
    if not zone:
        return [invalid(path, zone, "timeZone must be nil or non-empty string")]
    for part in zone.split("/"):
        if part in (".", "..") or part.startswith("-") or not _ZONE_PART.fullmatch(part):
            return [invalid(path, zone, f"unknown time zone {zone}")]
    problems: list[FieldError] = []
    if zone.lower() == "local":
        text = (
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        )
        problems.append(invalid(path, zone, text))
    elif not _known_zone(zone):
        problems.append(invalid(path, zone, f"unknown time zone {zone}"))
    return problems


def _known_zone(zone: str) -> bool:
    if zone in ("", "UTC", "Local"):
        return True
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return False
    return True
