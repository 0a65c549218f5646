"""todoku kubectl: stock kubectl on the lab, or a small one of our own where there is none."""

from __future__ import annotations

import os
import shutil

import click

from todoku.cli import DONE
from todoku.cli._lab import chosen, lab_option

OWN = "TODOKU_OWN_KUBECTL"


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    add_help_option=False,
)
@lab_option
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="ARGUMENTS...")
def command(lab: str, words: tuple[str, ...]) -> int:
    """Run kubectl on the lab.

    Its exit status is passed on.
    Stock kubectl if it is installed ($TODOKU_KUBECTL, else the one on PATH), else a small one;
    TODOKU_OWN_KUBECTL=1 uses the small one anyway.  `todoku kubectl help` is kubectl's own help.

    \b
    todoku kubectl get all -n service-test -o wide
    todoku kubectl apply -f httpd-deployment.yaml
    """
    if words in (("--help",), ("-h",)):  # kubectl's own is `todoku kubectl help`
        click.echo(click.get_current_context().get_help())
        return DONE
    import todoku.lab

    kubeconfig = todoku.lab.open(chosen(lab)).kubeconfig
    stock = stock_kubectl()
    if stock is not None:
        os.execve(stock, [stock, *words], os.environ | {"KUBECONFIG": str(kubeconfig)})
    from todoku.cli.kubectl_lib.main import run

    return run(words, kubeconfig=kubeconfig)


def stock_kubectl() -> str | None:
    """The kubectl to use: TODOKU_KUBECTL's first, else the one on PATH, or None."""
    if os.environ.get(OWN) == "1":
        return None
    named = os.environ.get("TODOKU_KUBECTL", "").partition(":")[0]
    return named or shutil.which("kubectl")
