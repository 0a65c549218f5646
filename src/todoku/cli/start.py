"""todoku start: a stopped lab runs again."""

from __future__ import annotations

import click

from todoku.cli._lab import chosen, lab_option
from todoku.cli.up import start


@click.command()
@lab_option
@click.option(
    "--wait/--no-wait", default=True, help="Return when nodes and DNS are Ready (default)."
)
def command(lab: str, wait: bool) -> None:
    """Start a stopped lab again, with everything it had stored.

    \b
    todoku stop && todoku start
    """
    import todoku.lab

    name = todoku.lab.open(chosen(lab)).name
    start(name, None, wait=wait)
