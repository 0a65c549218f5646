"""What verbs write: tables, JSON, YAML, and progress on a terminal or in a pipe."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
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


def program() -> str:
    """What the user types to run this program, for commands that are there to be copied."""
    typed = os.environ.get("TODOKU_COMMAND", "todoku")
    found = shutil.which("todoku")
    on_path = found is not None and os.path.realpath(found) == os.path.realpath(typed)
    return "todoku" if on_path else typed


class Progress:
    """Long work, told on stderr: one changing line on a terminal, plain lines in a pipe."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._terminal = sys.stderr.isatty()
        self._quiet = quiet
        self._shown = False
        self._last = ""
        self._since = 0.0

    def __call__(self, text: str) -> None:
        if self._quiet:
            return
        changed = text != self._last
        if changed:
            self._last, self._since = text, time.monotonic()
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{text} ...{_passed(time.monotonic() - self._since)}")
            self._shown = True
        elif changed:
            sys.stderr.write(text + "\n")
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


def _passed(seconds: float) -> str:
    """How long a line has stood there, once that is worth telling."""
    return f" {seconds:.0f} s" if seconds >= 1 else ""
