"""todoku list: the labs of this machine."""

from __future__ import annotations

import click

from todoku.cli._output import output_option, show


@click.command()
@output_option
def command(output: str) -> None:
    """List the labs of this machine.

    \b
    todoku list
    todoku list -o json
    """
    from todoku.lab import lifecycle, state
    from todoku.lab.paths import Paths

    labs = []
    for name in state.names():
        lasting = state.read_state(Paths(name))
        whole = lasting is not None and lasting.ready
        labs.append(
            {
                "name": name,
                "state": "running" if lifecycle.running(name) else "stopped" if whole else "broken",
                "nodes": len(lasting.parsed(name).nodes) if lasting else 0,
                "port": lasting.port if lasting else 0,
                "created": lasting.created if lasting else "",
            }
        )
    rows = [("NAME", "STATE", "NODES", "API SERVER", "CREATED")] + [
        (
            str(one["name"]),
            str(one["state"]),
            str(one["nodes"]),
            f"127.0.0.1:{one['port']}",
            str(one["created"]),
        )
        for one in labs
    ]
    if output == "table" and not labs:
        click.echo("there is no lab; `todoku up` makes one")
        return
    show(labs, rows, output)
