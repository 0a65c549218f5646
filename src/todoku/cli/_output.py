"""What verbs write: tables, JSON, YAML, and progress on a terminal or in a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., object])

output_option: Callable[[Function], Function] = click.option(
    "--output",
    "-o",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    help="How to print it.",
)


def show(document: Any, rows: Sequence[Sequence[str]], output: str) -> None:
    """Print `rows` (the first are the headings) as a table, or `document` as JSON or YAML."""
    if output == "json":
        click.echo(json.dumps(document, indent=2))
    elif output == "yaml":
        import yaml

        click.echo(yaml.safe_dump(document, sort_keys=False), nl=False)
    else:
        click.echo(table(rows))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as kubectl prints them: three blanks apart, the last one not padded."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("   ".join(cells).rstrip())
    return "\n".join(lines)


class Progress:
    """Long work, told on stderr: one changing line on a terminal, plain lines in a pipe."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._terminal = sys.stderr.isatty()
        self._quiet = quiet
        self._shown = False
        self._last = ""

    def __call__(self, text: str) -> None:
        if self._quiet:
            return
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{text} ...")
            self._shown = True
        elif text != self._last:
            sys.stderr.write(text + "\n")
            self._last = text
        sys.stderr.flush()

    def close(self) -> None:
        """Take the changing line away."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
