"""todoku fault: the cable, pulled or bad."""

from __future__ import annotations

from collections.abc import Callable

import click

from todoku.cli._lab import chosen, lab_option


@click.group("fault")
def command() -> None:
    """Faults: a cable cut or bad, an agent killed, and the healing.

    \b
    todoku fault cut worker1
    todoku fault heal worker1
    """


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
    """Put it back, and end loss and delay."""
    from todoku.lab import faults

    name, switch = _at_the_switch(lab, machine)
    faults.mend(switch, name)
    _cable(lab, machine, "heal", "in")


@command.command(epilog="Example:  todoku fault loss worker1 20")
@lab_option
@click.argument("machine")
@click.argument("percent", type=click.FloatRange(0.01, 100))
def loss(lab: str, machine: str, percent: float) -> None:
    """Lose PERCENT of the frames from a machine, and of those to it."""
    from todoku.lab import faults

    name, switch = _at_the_switch(lab, machine)
    _do(lambda: faults.lose(switch, name, percent))
    click.echo(
        f"{percent:g} % of the frames from and to {name} are lost; `todoku fault heal` ends it"
    )


@command.command(epilog="Example:  todoku fault delay worker1 50")
@lab_option
@click.argument("machine")
@click.argument("milliseconds", type=click.FloatRange(0.01, 60_000))
def delay(lab: str, machine: str, milliseconds: float) -> None:
    """Hold every frame to a machine for MILLISECONDS, where the kernel can (netem)."""
    from todoku.lab import faults

    name, switch = _at_the_switch(lab, machine)
    _do(lambda: faults.delay(switch, name, milliseconds))
    click.echo(f"frames to {name} come {milliseconds:g} ms late; `todoku fault heal` ends it")


@command.command(epilog="Example:  todoku fault kill worker1")
@lab_option
@click.argument("child", metavar="MACHINE|CHILD")
def kill(lab: str, child: str) -> None:
    """End a node's agent, or another child of the lab (apiserver, controllers, images); it is started anew."""
    import todoku.lab
    from todoku.lab import lifecycle
    from todoku.lab.composition import agent

    found = todoku.lab.open(chosen(lab))
    children: dict[str, object] = lifecycle.ask(found.name, "status")["children"]
    machine = found.topology.find(child)
    name = agent(machine.name) if machine is not None else child
    if name not in children:
        raise click.UsageError(f"there is no child {child}; there are {', '.join(children)}")
    lifecycle.ask(found.name, "restart", child=name)
    click.echo(f"{name} was ended and is started anew")


def _at_the_switch(lab: str, machine: str) -> tuple[str, str]:
    """The machine's full name and the switch's network namespace.  Raises LabError."""
    import todoku.lab
    from todoku.lab import state
    from todoku.lab.topology import LAN

    found = todoku.lab.open(chosen(lab))
    name = found.host(machine).name
    run = state.read_run(found.paths) if found.running else None
    if run is None:
        raise todoku.lab.LabError(f"lab {found.name} is stopped; `todoku start` starts it")
    return name, f"/proc/{run.processes[f'place/{LAN}'].pid}/ns/net"


def _do(work: Callable[[], None]) -> None:
    from todoku.cli import CouldNotTell
    from todoku.lab.faults import KernelLacks

    try:
        work()
    except KernelLacks as error:
        raise CouldNotTell(str(error)) from error
