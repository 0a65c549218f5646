"""todoku fault: the cable."""

from __future__ import annotations

import click

from todoku.cli._lab import chosen, lab_option


@click.group("fault")
def command() -> None:
    """Faults of a machine's cable: cut and heal."""


def _cable(lab: str, machine: str, op: str, done: str) -> None:
    import todoku.lab
    from todoku.lab import lifecycle

    found = todoku.lab.open(chosen(lab))
    name = found.host(machine).name
    lifecycle.ask(found.name, op, machine=name)
    click.echo(f"the cable of {name} is {done}")


@command.command()
@lab_option
@click.argument("machine")
def cut(lab: str, machine: str) -> None:
    """Pull the cable of a machine out of the switch."""
    _cable(lab, machine, "cut", "out")


@command.command()
@lab_option
@click.argument("machine")
def heal(lab: str, machine: str) -> None:
    """Put it back."""
    _cable(lab, machine, "heal", "in")
