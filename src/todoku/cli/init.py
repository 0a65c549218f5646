"""todoku init: write a lab file."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("lab.yaml"))
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def command(file: Path, force: bool) -> None:
    """Write the article's lab as a file to change.

    FILE is lab.yaml unless named; - is standard output.

    \b
    todoku init
    todoku init big.yaml && $EDITOR big.yaml && todoku up -f big.yaml
    """
    from todoku.lab import labfile

    if str(file) == "-":
        click.echo(labfile.DEFAULT, nl=False)
        return
    if file.exists() and not force:
        raise click.UsageError(f"{file} exists; --force replaces it")
    file.write_text(labfile.DEFAULT)
    click.echo(f"wrote {file}; `todoku up -f {file}` starts it")
