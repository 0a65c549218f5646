"""todoku exec: a command on a machine of the lab."""

from __future__ import annotations

import os

import click

from todoku.cli._lab import chosen, lab_option


@click.command(
    "exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@lab_option
@click.argument("host")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND...")
def command(lab: str, host: str, words: tuple[str, ...]) -> int:
    """Run a command on a node or an outside host.

    Its exit status is passed on.

    \b
    todoku exec rhel8host -- curl -s 192.168.11.131:30080
    todoku exec master1 -- ip addr
    """
    argv = list(words[1:] if words[:1] == ("--",) else words)
    if not argv:
        raise click.UsageError(
            "which command? `todoku exec HOST -- COMMAND...`; `todoku shell` opens a shell"
        )
    import todoku.lab
    from todoku.lab import inside

    found = todoku.lab.open(chosen(lab))
    return inside.run(found.paths, found.topology, host, argv, cwd=os.getcwd())
