"""todoku image: the images of this machine, shared by all labs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from todoku.cli import CouldNotTell
from todoku.cli._output import Progress, output_option, show

if TYPE_CHECKING:
    from todoku.images import ImageStore

T = TypeVar("T")


@click.group()
def command() -> None:
    """The images of this machine: list, load, pull, remove, prune.

    An image comes from the store, then its registry, then a recipe that assembles it from the
    distribution's packages.

    \b
    todoku image ls
    todoku image pull nginx
    todoku image load app.tar --name example.com/app:1
    """


@command.command()
@output_option
def ls(output: str) -> None:
    """List the images, and where each came from."""
    images = _run(_store().list())
    rows = [("IMAGE", "IMAGE ID", "SIZE", "FROM")]
    rows += [(one.reference, _short(one.id), _size(one.size_bytes), one.origin) for one in images]
    document = [
        {"reference": i.reference, "id": i.id, "digest": i.digest, "sizeBytes": i.size_bytes, "origin": i.origin}
        for i in images
    ]  # fmt: skip
    show(document, rows, output)


@command.command()
@click.argument("name")
def pull(name: str) -> None:
    """Bring an image here anew, from its registry or by its recipe."""
    with Progress() as progress:
        image = _run(_store().pull(name, progress=progress))
    click.echo(f"{image.reference} {_short(image.id)} from {image.origin}")


@command.command()
@click.argument("archive", type=click.Path(exists=True, path_type=Path))
@click.option("--name", default="", help="The name of an image that its archive does not name.")
def load(archive: Path, name: str) -> None:
    """Take the images of a Docker or OCI archive, or of an OCI layout folder."""
    with Progress() as progress:
        images = _run(_store().load(archive, name=name, progress=progress))
    for image in images:
        click.echo(f"{image.reference} {_short(image.id)}")


@command.command()
@click.argument("names", nargs=-1, required=True)
def rm(names: tuple[str, ...]) -> None:
    """Forget images; `prune` frees what nothing uses any more."""
    store = _store()
    for name in names:
        _run(store.remove(name))
        click.echo(f"{name} removed")


@command.command()
@click.option(
    "--all", "everything", is_flag=True, help="Also named images that no container runs from."
)
def prune(everything: bool) -> None:
    """Free the layers that nothing uses."""
    freed = _run(_store().prune(everything=everything))
    click.echo(f"freed {_size(freed)}")


def _store() -> ImageStore:
    from todoku.images import Config, ImageStore
    from todoku.lab.paths import CACHE

    try:
        return ImageStore(Config(root=CACHE / "images", packages=CACHE / "packages"))
    except PermissionError as error:
        raise click.UsageError(f"{error}; images belong to root") from error


def _run(work: Awaitable[T]) -> T:
    from todoku.api.images import ImageError

    async def inside() -> T:
        return await work

    try:
        return asyncio.run(inside())
    except ImageError as error:
        if error.reason in ("InvalidImageName", "NotFound"):
            raise click.UsageError(error.message) from error
        raise CouldNotTell(error.message) from error


def _short(identifier: str) -> str:
    return identifier.removeprefix("sha256:")[:12]


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
