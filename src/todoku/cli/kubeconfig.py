"""todoku kubeconfig: where the admin's kubeconfig is."""

from __future__ import annotations

import os
from pathlib import Path

import click

from todoku.cli._lab import chosen, lab_option


@click.command()
@lab_option
@click.option(
    "--merge", is_flag=True, help="Put it into $KUBECONFIG (or ~/.kube/config) as a context."
)
def command(lab: str, merge: bool) -> None:
    """Print the path of the lab's kubeconfig, or merge it into yours.

    \b
    export KUBECONFIG=$(todoku kubeconfig)
    todoku kubeconfig --merge              kubectl finds the lab by itself from then on
    """
    import todoku.lab

    found = todoku.lab.open(chosen(lab))
    if not merge:
        click.echo(found.kubeconfig)
        return
    from todoku.lab import kubeconfigs

    first = os.environ.get("KUBECONFIG", "").split(":")[0]
    target = Path(first) if first else Path.home() / ".kube" / "config"
    context = kubeconfigs.merge(found.kubeconfig, target)
    click.echo(f"{target} has the context {context} and uses it")
