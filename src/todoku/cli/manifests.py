"""todoku manifests: the scenario's manifests and the load balancer's, as files."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite files that differ.")
def command(folder: Path, force: bool) -> None:
    """Write the tutorial's manifests, MetalLB's too, into FOLDER.

    \b
    todoku manifests .
    kubectl apply -f metallb.yaml
    """
    differing = [
        name
        for name in names()
        if (folder / name).exists() and (folder / name).read_text() != text(name)
    ]
    if differing and not force:
        listed = ", ".join(differing)
        raise click.UsageError(
            f"{folder} has another {listed}; --force overwrites; nothing written"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in names():
        (folder / name).write_text(text(name))
        click.echo(folder / name)


def names() -> list[str]:
    """The shipped files' names."""
    return sorted(one.name for one in _folder().iterdir() if one.name.endswith(".yaml"))


def text(name: str) -> str:
    """One shipped manifest."""
    return (_folder() / name).read_text()


def path(name: str) -> Path:
    """Where one shipped manifest lies."""
    return Path(str(_folder() / name))


def _folder() -> Traversable:
    return files("todoku") / "manifests"
