"""todoku doctor: can this machine carry a lab?"""

from __future__ import annotations

import dataclasses

import click

from todoku.cli import DONE, FAILED
from todoku.cli._output import output_option, show


@click.command()
@output_option
def command(output: str) -> int:
    """Tell whether this machine can carry a lab; exit 1 if not.

    Looks at privileges, tools, kernel features, limits and ports, and changes nothing.

    \b
    todoku doctor
    todoku doctor -o json
    """
    from todoku.lab import checks

    found = checks.all_findings()
    rows = [("", "WHAT", "FOUND")]
    mark = {"ok": "ok", "warning": "note", "error": "NO"}
    for one in found:
        rows.append((mark[one.level], one.subject, _text(one.message, one.remedy)))
    show([dataclasses.asdict(one) for one in found], rows, output)
    return FAILED if any(one.level == "error" for one in found) else DONE


def _text(message: str, remedy: str) -> str:
    return f"{message.splitlines()[0]}; {remedy}" if remedy else message
