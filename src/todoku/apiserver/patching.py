"""The four patches."""

from __future__ import annotations

from todoku.api import errors
from todoku.apiserver.context import Context, Engine
from todoku.apiserver.writes import Make, Written


async def patch(engine: Engine, context: Context) -> Written:
    raise errors.UnsupportedMediaType("patches are not there yet")


def maker(context: Context, *, schema: str = "") -> Make:
    raise errors.UnsupportedMediaType("patches are not there yet")
