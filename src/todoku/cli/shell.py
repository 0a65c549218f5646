"""todoku shell: log in on a machine of the lab."""

from __future__ import annotations

import os

import click

from todoku.cli._lab import chosen, lab_option


@click.command()
@lab_option
@click.argument("host")
def command(lab: str, host: str) -> int:
    """Open a shell on a node or an outside host.

    As if logged in there: its name, its /etc/hosts, and a KUBECONFIG.

    \b
    todoku shell worker1
    echo 'ip route' | todoku shell rhel8host
    """
    import todoku.lab
    from todoku.lab import inside

    found = todoku.lab.open(chosen(lab))
    shell = os.environ.get("SHELL") or "/bin/sh"
    home = os.environ.get("HOME", "/")
    login = "-" + os.path.basename(shell)  # how login(1) starts one
    return inside.run(found.paths, found.topology, host, [shell], cwd=home, argv0=login)
