"""Subresources that are more than the parent's status, and resources that are answered without being stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from todoku.api import errors
from todoku.apiserver import bodies
from todoku.apiserver.config import Call, Handler
from todoku.apiserver.context import Context, Engine
from todoku.apiserver.encoding import dumps

if TYPE_CHECKING:
    from todoku.api.meta import Object
    from todoku.apiserver.dispatch import Answer


async def answer(
    engine: Engine, context: Context, request: web.BaseRequest
) -> Answer | web.StreamResponse:
    raise errors.NotFound("the server could not find the requested resource")


async def handled(
    engine: Engine, context: Context, handler: Handler, parent: Object | None
) -> Answer:
    """Let a handler answer; what it returns is shown as it is."""
    from todoku.apiserver.dispatch import Answer

    body = bodies.read_object(context)
    call = Call(
        user=context.user,
        info=context.info,
        resource=context.served.resource,
        body=body,
        parent=parent,
        query=context.query,
        dry_run=context.dry_run,
    )
    result = await handler(call)
    return Answer(dumps(result), code=201 if context.info.verb == "create" else 200)
