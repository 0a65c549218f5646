"""Completed and failed indexes of a Job, as text: `0-2,5`.  Pure."""

from __future__ import annotations

from collections.abc import Iterable


def parse(text: str | None) -> set[int]:
    """The numbers of `1,3-5`; what is no number is left out."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, dash, last = part.partition("-")
        if first.isdigit() and (not dash or last.isdigit()):
            found.update(range(int(first), int(last if dash else first) + 1))
    return found


def text(numbers: Iterable[int]) -> str:
    """Runs of three and more as ranges, pairs as two numbers, as upstream writes them."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(_run(first, last) for first, last in runs)


def _run(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first},{last}" if last == first + 1 else f"{first}-{last}"
