"""The layout of `describe`: `Name:   value` lines whose values line up, nested by two blanks (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

_PADDING = 2


class Document:
    """Lines of tab-separated cells; cells of neighbouring lines line up, as text/tabwriter does it.

    A column is as wide as its widest cell in the run of consecutive lines that have it.
    """

    def __init__(self) -> None:
        self._lines: list[tuple[str, ...]] = []
        self._indent = 0

    def line(self, *cells: object) -> None:
        """One line; the first cell is indented."""
        first, *rest = [str(cell) for cell in cells] or [""]
        self._lines.append(("  " * self._indent + first, *rest))

    def field(self, name: str, value: object) -> None:
        self.line(f"{name}:", "" if value is None else value)

    def lines(self, name: str, values: Sequence[str], *, none: str = "<none>") -> None:
        """A field with several values below each other."""
        for index, value in enumerate(values or [none]):
            self.line(f"{name}:" if index == 0 else "", value)

    def mapping(self, name: str, values: Mapping[str, str] | None, *, joint: str = "=") -> None:
        """Labels (`=`) or annotations (`: `), sorted by key."""
        shown = [f"{key}{joint}{value}" for key, value in sorted((values or {}).items())]
        self.lines(name, shown)

    @contextmanager
    def nested(self, title: str = "", *, levels: int = 1) -> Iterator[None]:
        """Lines inside are indented below `title`."""
        if title:
            self.line(title)
        self._indent += levels
        try:
            yield
        finally:
            self._indent -= levels

    def table(self, rows: Sequence[Sequence[str]], *, shortest_rule: int = 0) -> None:
        """Rows under a heading row, with the rule that kubectl draws below it."""
        head, *body = rows
        self.line(*head)
        self.line(*("-" * max(len(cell), shortest_rule) if cell else "" for cell in head))
        for row in body:
            self.line(*row)

    def text(self) -> str:
        widths = _widths(self._lines)
        rendered = []
        for line, sizes in zip(self._lines, widths, strict=True):
            *padded, last = line
            cells = [cell.ljust(size) for cell, size in zip(padded, sizes, strict=False)]
            rendered.append("".join([*cells, last]))
        return "\n".join(rendered) + "\n"


def _widths(lines: Sequence[Sequence[str]]) -> list[list[int]]:
    """For every line the widths of its cells but the last, which no column follows."""
    widths: list[list[int]] = [[] for _ in lines]

    def fill(start: int, end: int, column: int) -> None:
        at = start
        while at < end:
            if len(lines[at]) - 1 <= column:
                at += 1
                continue
            stop = at
            while stop < end and len(lines[stop]) - 1 > column:
                stop += 1
            width = max(len(lines[one][column]) for one in range(at, stop)) + _PADDING
            for one in range(at, stop):
                widths[one].append(width)
            fill(at, stop, column + 1)
            at = stop

    fill(0, len(lines), 0)
    return widths
