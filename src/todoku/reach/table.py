"""The matrix as text: sources as rows and addresses as columns, turned over when the terminal is narrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from todoku.reach.outcome import Outcome
from todoku.reach.report import Cell, Report, closed_codes
from todoku.reach.targets import Address, Source, shown

_Shown: TypeAlias = tuple[str, Cell | None]

_COLOURS = {Outcome.OK: "32", Outcome.NOT_APPLICABLE: "2", Outcome.UNKNOWN: "33"}
_CLOSED_COLOUR = "31"


def render(report: Report, *, width: int = 80, colour: bool = False) -> str:
    """The report as lines of at most `width` columns where that is possible.

    Sources are rows; too wide, they become columns; still too wide, the columns are split into several tables.
    Colour repeats what the words say and is never the only signal.
    """
    grid = _grid(report, turned=False)
    if _width(grid) > width:
        grid = _grid(report, turned=True)
    lines = [report.title] if report.title else []
    for part in _split(grid, width):
        lines += _lines(part, colour)
    lines += _footer(report)
    return "\n".join(lines)


def _split(grid: Sequence[Sequence[_Shown]], width: int) -> Iterator[list[list[_Shown]]]:
    """The grid as tables that fit; each repeats the first column and has at least one more."""
    widths = _widths(grid)
    start = 1
    while start < len(widths):
        end = start + 1
        while (
            end < len(widths)
            and sum(w + 2 for w in (widths[0], *widths[start : end + 1])) - 2 <= width
        ):
            end += 1
        yield [[row[0], *row[start:end]] for row in grid]
        start = end


def cell_text(cell: Cell) -> str:
    """`ok 4/4/4`, `timeout`, `n/a`, with `!` where the prediction says otherwise and `~` where it is flaky."""
    text = str(cell.outcome)
    if cell.outcome is Outcome.OK:
        spread = "/".join(str(count) for count in sorted(cell.backends.values(), reverse=True))
        text += f" {spread}" if len(cell.backends) > 1 else ""
    if cell.flaky:
        good = sum(one.outcome is Outcome.OK for one in cell.attempts)
        text += f" ~{good} of {len(cell.attempts)}"
    return text + (" !" if cell.surprising else "")


def _grid(report: Report, *, turned: bool) -> list[list[_Shown]]:
    cells = {(cell.source, cell.address): cell for cell in report.cells}

    def at(source: Source, address: Address) -> _Shown:
        cell = cells.get((source, address))
        return (cell_text(cell), cell) if cell else ("", None)

    if turned:
        head = [("", None), *((shown(one), None) for one in report.sources)]
        rows = [
            [(to.label, None), *(at(source, to) for source in report.sources)]
            for to in report.addresses
        ]
    else:
        head = [("", None), *((one.label, None) for one in report.addresses)]
        rows = [
            [(shown(source), None), *(at(source, to) for to in report.addresses)]
            for source in report.sources
        ]
    return [list(head), *rows]


def _width(grid: Sequence[Sequence[_Shown]]) -> int:
    return sum(_widths(grid)) + 2 * (len(grid[0]) - 1)


def _widths(grid: Sequence[Sequence[_Shown]]) -> list[int]:
    return [max(len(row[column][0]) for row in grid) for column in range(len(grid[0]))]


def _lines(grid: Sequence[Sequence[_Shown]], colour: bool) -> list[str]:
    widths = _widths(grid)
    return [
        "  ".join(
            _painted(text, cell, colour) + " " * (width - len(text))
            for (text, cell), width in zip(row, widths, strict=True)
        ).rstrip()
        for row in grid
    ]


def _painted(text: str, cell: Cell | None, colour: bool) -> str:
    if not colour or cell is None:
        return text
    code = "1;35" if cell.surprising else _COLOURS.get(cell.outcome, _CLOSED_COLOUR)
    return f"\x1b[{code}m{text}\x1b[0m"


def _footer(report: Report) -> list[str]:
    lines = [f"{report.counts()} ({report.seconds:.2f} s)"]
    codes = closed_codes(report.cells)
    if codes:
        lines.append("closed: " + ", ".join(f"{code} {count}" for code, count in codes.items()))
    for cell in report.surprises:
        expected = " or ".join(sorted(str(one) for one in cell.predicted.outcomes))
        lines.append(
            f"! {shown(cell.source)} -> {cell.address.label}: {cell_text(cell)}, "
            f"but {expected} was predicted ({cell.predicted.code})"
        )
    for cell in report.cells:
        if cell.unprobed:
            lines.append(f"? {shown(cell.source)} -> {cell.address.label}: {cell.unprobed}")
    return lines
