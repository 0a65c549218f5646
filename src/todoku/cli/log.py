"""todoku log: what a process of the lab has written."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from todoku.cli._lab import chosen, lab_option
from todoku.cli._output import table

_FOLLOW_SECONDS = 0.2


@click.command()
@lab_option
@click.argument("child", default="")
@click.option("--follow", "-f", is_flag=True, help="Go on as it grows.")
@click.option("--tail", "-n", type=int, default=-1, help="Only the last lines.")
def command(lab: str, child: str, follow: bool, tail: int) -> None:
    """Print the log of a process of the lab; without a name, list.

    CHILD is apiserver, controllers, images, node-NAME or NAME, supervisor, fork-server.

    \b
    todoku log
    todoku log -f apiserver
    todoku log -n 20 worker1
    """
    from todoku.lab import lifecycle

    files = {path.stem: path for path in lifecycle.log_files(chosen(lab))}
    if not child:
        rows = [("LOG", "FILE"), *((name, str(path)) for name, path in files.items())]
        click.echo(table(rows))
        return
    found = _find(files, child)
    if found is None:
        raise click.UsageError(f"no log of {child!r}; there are {', '.join(files)}")
    _print(found, tail=tail, follow=follow)


def _find(files: dict[str, Path], child: str) -> Path | None:
    """By name, or a node agent by its node's full or short name."""
    for name, path in files.items():
        node = name.removeprefix("node-")
        if child == name or (name != node and child in (node, node.partition(".")[0])):
            return path
    return None


def _print(path: Path, *, tail: int, follow: bool) -> None:
    with open(path, "rb") as file:
        if tail >= 0:
            lines = file.readlines()
            click.echo(b"".join(lines[len(lines) - tail :] if tail else []), nl=False)
        else:
            while block := file.read(1 << 16):
                click.echo(block, nl=False)
        while follow:
            block = file.read(1 << 16)
            if block:
                click.echo(block, nl=False)
                continue
            if os.fstat(file.fileno()).st_nlink == 0:
                return  # the lab is gone
            time.sleep(_FOLLOW_SECONDS)
