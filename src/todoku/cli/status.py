"""todoku status: the machines and processes of a lab."""

from __future__ import annotations

from typing import Any

import click

from todoku.cli import DONE, FAILED
from todoku.cli._lab import chosen, lab_option
from todoku.cli._output import output_option, show


@click.command()
@lab_option
@output_option
def command(lab: str, output: str) -> int:
    """Show a lab's machines and processes.

    Exit 1 if the lab is not running, or a process that should run does not.

    \b
    todoku status
    todoku status --lab second -o json
    """
    import todoku.lab
    from todoku.lab import lifecycle

    found = todoku.lab.open(chosen(lab))
    if not lifecycle.running(found.name):
        show(
            {"name": found.name, "state": "stopped"},
            [("LAB", "STATE"), (found.name, "stopped")],
            output,
        )
        return FAILED
    answer: dict[str, Any] = lifecycle.ask(found.name, "status")
    document = {"name": found.name, "state": "running", **answer}
    machines, children = answer["machines"], answer["children"]
    by_place: dict[str, list[str]] = {}
    for name, child in children.items():
        by_place.setdefault(child["place"], []).append(_child(name, child))
    rows = [("MACHINE", "KIND", "ADDRESS", "POWER", "CABLE", "PROCESSES")]
    for machine in found.topology.machines:
        told = machines[machine.name]
        rows.append(
            (
                machine.name,
                machine.kind if machine.kind == "host" else getattr(machine, "role", "node"),
                machine.address,
                told["power"],
                "in" if told["cable"] else "out",
                ", ".join(by_place.get(machine.name, [])) or "-",
            )
        )
    show(document, rows, output)
    if output == "table" and "" in by_place:
        click.echo(f"on this machine: {', '.join(by_place[''])}")
    on = {name for name, told in machines.items() if told["power"] == "on"}
    missing = [
        n for n, c in children.items() if c["pid"] is None and (c["place"] in on or not c["place"])
    ]
    return FAILED if missing else DONE


def _child(name: str, child: dict[str, Any]) -> str:
    state = str(child["pid"]) if child["pid"] else "down"
    restarts = f", restarted {child['restarts']}x" if child["restarts"] else ""
    return f"{name} ({state}{restarts})"
