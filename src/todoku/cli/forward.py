"""todoku forward: a local port whose connections start inside the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from todoku.cli import DONE
from todoku.cli._lab import chosen, lab_option

if TYPE_CHECKING:
    from todoku.lab import Lab


@click.command(
    epilog="Examples:  todoku forward --from rhel8host 192.168.11.136:8080   todoku forward worker1:30080 --port 8080"
)
@lab_option
@click.option(
    "--from", "via", metavar="HOST", default="", help="The machine that connects; the first node."
)
@click.option(
    "--port",
    default=0,
    type=click.IntRange(0, 65535),
    help="The local port; a free one by default.",
)
@click.argument("target", metavar="ADDR:PORT")
def command(lab: str, via: str, port: int, target: str) -> int:
    """Open a local port that leads to ADDR:PORT from inside the lab.

    ADDR is an IPv4 address or a machine of the lab.  Runs until Ctrl-C.
    """
    import todoku.lab
    from todoku.cli._forwarding import local, serve

    found = todoku.lab.open(chosen(lab))
    if not found.running:
        raise todoku.lab.LabError(f"lab {found.name} is stopped; `todoku start` starts it")
    machine = found.host(via) if via else found.hosts()[0]
    host, number = _target(found, target)
    with local(port) as listener:
        here = listener.getsockname()[1]
        click.echo(f"127.0.0.1:{here} -> {host}:{number} from {machine.short}; Ctrl-C ends it")
        serve(listener, found, machine.name, host, number)
    return DONE


def _target(lab: Lab, text: str) -> tuple[str, int]:
    """Raises UsageError."""
    from ipaddress import IPv4Address

    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise click.UsageError(f"{text!r} is no ADDR:PORT, for example 192.168.11.136:8080")
    for machine in lab.hosts():
        if host in (machine.name, machine.short):
            return machine.address, int(port)
    try:
        return str(IPv4Address(host)), int(port)
    except ValueError:
        names = ", ".join(machine.short for machine in lab.hosts())
        raise click.UsageError(
            f"{host!r} is neither an IPv4 address nor a machine ({names}); for a Service use `todoku open svc/NAME`"
        ) from None
