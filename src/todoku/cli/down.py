"""todoku down: delete a lab."""

from __future__ import annotations

import click

from todoku.cli._lab import chosen, lab_option


@click.command()
@lab_option
@click.option("--all", "everything", is_flag=True, help="Every lab of this machine.")
def command(lab: str, everything: bool) -> None:
    """Delete a lab and everything it made; images stay.

    Processes, namespaces, mounts, control groups and state go; after a crash, too.

    \b
    todoku down
    todoku down --all
    """
    from todoku.lab import lifecycle, state

    names = state.names() if everything else [chosen(lab)]
    for name in names:
        there = lifecycle.down(name)
        click.echo(f"lab {name} is gone" if there else f"there was no lab {name}")
