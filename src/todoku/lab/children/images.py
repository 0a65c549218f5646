"""The image service, in the network of the real machine: the only one that pulls."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from todoku.images import Config, ImageStore, Server
from todoku.lab.children.running import run

_STORE = "store"  # always asked first


def main(config: dict[str, Any]) -> None:
    run(_serve(config))


async def _serve(config: dict[str, Any]) -> None:
    async with Server(ImageStore(_settings(config)), Path(config["socket"])):
        await asyncio.Event().wait()


def _settings(config: dict[str, Any]) -> Config:
    images, packages = Path(config["images"]), Path(config["packages"])
    order = tuple(source for source in config["order"] if source != _STORE)
    if not order:
        return Config(root=images, packages=packages)
    return Config(root=images, packages=packages, order=order)
