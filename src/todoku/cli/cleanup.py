"""todoku cleanup: the Jobs that an interrupted run left in another cluster."""

from __future__ import annotations

import click

from todoku.cli import DONE
from todoku.cli._foreign import Elsewhere, run_plainly


@click.command(epilog="\b\nExample:\n  todoku cleanup --context staging -A")
@click.option("--kubeconfig", default="", metavar="FILE", help="The cluster; default: kubectl's.")
@click.option("--context", default="", metavar="NAME", help="A context of the kubeconfig.")
@click.option("--namespace", "-n", default="default", help="Where the Jobs were made.")
@click.option("--all-namespaces", "-A", is_flag=True, help="Everywhere.")
def command(kubeconfig: str, context: str, namespace: str, all_namespaces: bool) -> int:
    """Delete the Jobs that `reach`, `check`, `graph` left in a cluster.

    In one that is not a lab, that is.  They also delete themselves within minutes; labs have their own `todoku down`.
    """
    from todoku.client import Client

    async def work(client: Client) -> list[str]:
        from todoku.reach.foreign import cleanup

        return await cleanup(client, None if all_namespaces else namespace)

    found = run_plainly(Elsewhere(kubeconfig=kubeconfig, context=context), work)
    for name in found:
        click.echo(f"deleted Job {name}")
    if not found:
        click.echo("nothing was left")
    return DONE
