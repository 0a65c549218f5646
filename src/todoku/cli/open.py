"""todoku open: a Service in the browser, by the widest address that answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import click

from todoku.cli import DONE, ExpectationFailed
from todoku.cli._lab import chosen, lab_option
from todoku.cli._reaching import Bench, run, services

if TYPE_CHECKING:
    from todoku.api.meta import Object
    from todoku.lab.forwarding import Way


@click.command(epilog="Example:  todoku open svc/web -n shop")
@lab_option
@click.argument("name", metavar="svc/NAME")
@click.option("--namespace", "-n", default="default", help="The Service's namespace.")
@click.option(
    "--port",
    default=0,
    type=click.IntRange(0, 65535),
    help="The local port; a free one by default.",
)
def command(lab: str, name: str, namespace: str, port: int) -> int:
    """Serve a local URL that leads to a Service, until Ctrl-C.

    The way is the load-balancer address from outside if it answers, else a node port, else the ClusterIP from a node.
    On a terminal with a desktop the browser is opened, too.
    """
    import todoku.lab
    from todoku.cli._forwarding import local, serve
    from todoku.lab.forwarding import url

    async def work(bench: Bench) -> tuple[Object, Way]:
        (service,) = services(bench.world, [name], namespace, False)
        return service, _way(bench, service)

    service, way = run(lab, work)
    address = way.address
    with local(port) as listener:
        shown = url(service, way, listener.getsockname()[1])
        click.echo(shown)
        click.echo(
            f"{way.source.name} -> {address.host}:{address.port} ({address.at}); Ctrl-C ends it",
            err=True,
        )
        _browse(shown)
        serve(
            listener, todoku.lab.open(chosen(lab)), way.source.machine, address.host, address.port
        )
    return DONE


def _way(bench: Bench, service: Object) -> Way:
    """Raises ExpectationFailed with the reason why there is none."""
    from todoku.lab.forwarding import choose
    from todoku.reach.outcome import EXPLANATIONS, Code

    found = choose(bench.world, service)
    if isinstance(found, Code):
        why = EXPLANATIONS[found]
        text = f"svc/{service['metadata']['name']} answers nowhere now. {found}: {why.meaning} {why.remedy}"
        raise ExpectationFailed(text)
    return found


def _browse(url: str) -> None:
    """Open a browser if somebody sits in front of one; the URL is printed in any case."""
    program = os.environ.get("BROWSER") or shutil.which("xdg-open")
    desktop = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.stdout.isatty() and program and desktop:
        subprocess.Popen(
            [program, url], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
