"""todoku stop: shut a lab down and keep its state."""

from __future__ import annotations

import click

from todoku.cli._lab import chosen, lab_option
from todoku.cli._output import Progress


@click.command()
@lab_option
def command(lab: str) -> None:
    """Shut a lab down; `todoku start` brings it back as it was.

    \b
    todoku stop
    todoku stop --lab second
    """
    from todoku.lab import lifecycle

    name = chosen(lab)
    with Progress() as progress:
        stopped = lifecycle.stop(name, progress=progress)
    click.echo(f"lab {name} is stopped" if stopped else f"lab {name} was stopped already")
