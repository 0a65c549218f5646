"""todoku up: a lab, from nothing to Ready nodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from todoku.cli import ExpectationFailed
from todoku.cli._lab import lab_option, named
from todoku.cli._output import Progress, program

if TYPE_CHECKING:
    from todoku.lab.lifecycle import Up
    from todoku.lab.topology import Topology


@click.command()
@lab_option
@click.option(
    "--file",
    "-f",
    type=click.Path(path_type=Path),
    help="The lab file; default: the article's lab.",
)
@click.option(
    "--wait/--no-wait", default=True, help="Return when nodes and DNS are Ready (default)."
)
def command(lab: str, file: Path | None, wait: bool) -> None:
    """Start a lab: the article's, or what a lab file says.

    The article's has three nodes, and two hosts outside on the same LAN.

    \b
    todoku up
    todoku up -f lab.yaml          (todoku init writes one)
    todoku up --lab second         another lab beside the first
    """
    name, topology = _topology(lab, file)
    start(name, topology, wait=wait)


def start(name: str, topology: Topology | None, *, wait: bool) -> None:
    """Bring a lab up and tell how to use it."""
    from todoku.lab import lifecycle

    with Progress() as progress:
        done = lifecycle.up(name, topology, wait=wait, progress=progress, check=_check_machine)
    option = "" if name == "default" else f" --lab {name}"
    if done.late:
        raise ExpectationFailed(
            f"lab {name} runs, but after {done.seconds:.0f} s not everything is Ready: {done.late};"
            f" `{program()} log{option}` lists the logs, `{program()} down{option}` deletes the lab"
        )
    click.echo(f"lab {name} is up: {_summary(name)} ({_times(done)})")
    click.echo(f"  export KUBECONFIG=$({program()} kubeconfig{option})")


def _topology(lab: str, file: Path | None) -> tuple[str, Topology | None]:
    from todoku.lab import labfile

    if file is None:
        return named(lab) or labfile.DEFAULT_NAME, None
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"cannot read {file}: {error}") from error
    topology = labfile.parse(text, str(file), name=named(lab))
    return topology.name, topology


def _check_machine() -> None:
    from todoku.lab import checks
    from todoku.lab.lifecycle import LabError

    found = checks.blocking()
    if found:
        lines = [f"{one.subject}: {one.message}; {one.remedy}" for one in found]
        raise LabError(
            "this machine cannot carry a lab; nothing was changed\n  " + "\n  ".join(lines)
        )


def _summary(name: str) -> str:
    import todoku.lab

    topology = todoku.lab.open(name).topology
    nodes, hosts = len(topology.nodes), len(topology.hosts)
    return f"{nodes} node{'s' if nodes != 1 else ''} and {hosts} outside host{'s' if hosts != 1 else ''}"


def _times(done: Up) -> str:
    phases = ", ".join(f"{name} {seconds:.2f}" for name, seconds in done.phases.items())
    return f"{done.seconds:.2f} s" + (f": {phases}" if phases else "")
