"""todoku node: power."""

from __future__ import annotations

import click

from todoku.cli._lab import chosen, lab_option
from todoku.cli._output import Progress


@click.group("node")
def command() -> None:
    """The power of a machine: stop (a power cut), start, pause.

    \b
    todoku node stop worker2
    todoku node start worker2
    """


def _change(lab: str, machine: str, op: str, done: str, already: str) -> None:
    import todoku.lab
    from todoku.lab import lifecycle

    found = todoku.lab.open(chosen(lab))
    name = found.host(machine).name
    with Progress() as progress:
        answer = lifecycle.ask(found.name, op, machine=name, progress=progress)
    click.echo(f"{name} {done if answer['changed'] else already}")


@command.command()
@lab_option
@click.argument("machine", metavar="NODE")
def stop(lab: str, machine: str) -> None:
    """Cut the power: no last write, no goodbye."""
    _change(lab, machine, "power-off", "is off", "was off already")


@command.command()
@lab_option
@click.argument("machine", metavar="NODE")
def start(lab: str, machine: str) -> None:
    """Boot a machine that is off, or let one go on that is paused."""
    _change(lab, machine, "power-on", "is on", "was on already")


@command.command()
@lab_option
@click.argument("machine", metavar="NODE")
def pause(lab: str, machine: str) -> None:
    """Freeze a machine; `start` lets it go on.

    Its processes stand still, and nothing it is sent is answered.
    """
    _change(lab, machine, "pause", "is paused", "was paused already")
