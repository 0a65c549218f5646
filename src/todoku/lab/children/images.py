"""The image service, in the network of the real machine: the only one that pulls."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from todoku import __version__
from todoku.aio import log as logs
from todoku.api.images import ImageError
from todoku.images import Config, ImageStore, Server
from todoku.lab.children.running import run

log = logs.get(__name__)

_STORE = "store"  # always asked first
_SYSTEM_IMAGE = f"todoku.internal/system:{__version__}"


def main(config: dict[str, Any]) -> None:
    run(_serve(config))


async def _serve(config: dict[str, Any]) -> None:
    store = ImageStore(_settings(config))
    async with Server(store, Path(config["socket"])):
        await _prepare_system_image(store)
        await asyncio.Event().wait()


async def _prepare_system_image(store: ImageStore) -> None:
    """DNS will ask for it within a second: put it together while the API server starts."""
    try:
        await store.ensure(_SYSTEM_IMAGE, "IfNotPresent")
    except (ImageError, OSError) as error:
        log.warning("System image not prepared", image=_SYSTEM_IMAGE, error=error)


def _settings(config: dict[str, Any]) -> Config:
    images, packages = Path(config["images"]), Path(config["packages"])
    order = tuple(source for source in config["order"] if source != _STORE)
    if not order:
        return Config(root=images, packages=packages)
    return Config(root=images, packages=packages, order=order)
