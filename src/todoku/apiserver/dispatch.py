"""One resource request to its verb, and the verb's result to a response."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from todoku.api import errors
from todoku.api.meta import Object
from todoku.apiserver import (
    answers,
    component_status,
    deletes,
    patching,
    reads,
    subresources,
    watches,
    writes,
)
from todoku.apiserver.answer import Answer, shown
from todoku.apiserver.context import Context, Engine
from todoku.apiserver.encoding import Cached, dumps
from todoku.apiserver.http import (
    HttpSink,
    MessageSink,
    is_websocket,
    open_messages,
    open_stream,
)

_PARENT_ONLY = frozenset({"", "status"})


async def answer(
    engine: Engine, context: Context, request: web.BaseRequest
) -> Answer | web.StreamResponse:
    """Serve an authorized resource request.  Raises ApiError."""
    info, served = context.info, context.served
    _check_verb(context)
    if info.subresource not in _PARENT_ONLY:
        return await subresources.answer(engine, context, request)
    handler = engine.components.handlers.get(served.name)
    if handler is not None and info.verb == "create":
        return await subresources.handled(engine, context, handler, None)
    special = _SPECIAL.get(served.name)
    if special is not None:
        return await special(engine, context)
    return await _VERBS[info.verb](engine, context, request)


def _check_verb(context: Context) -> None:
    served, info = context.served, context.info
    verbs: tuple[str, ...] = served.resource.verbs
    if info.subresource:
        sub = served.subresources.get(info.subresource)
        if sub is None:
            raise errors.no_resource()
        verbs = (*sub.verbs, "options") if info.subresource == "proxy" else sub.verbs
    misplaced = info.verb == "create" and bool(info.name) != bool(info.subresource)
    if context.served.resource.namespaced and not info.namespace:
        misplaced = info.verb not in ("list", "watch")  # all that the path of all namespaces has
    if info.verb in ("update", "patch") and not info.name:
        misplaced = True
    if info.verb not in verbs or misplaced:
        if info.verb == "create" and _terminating(context.served.crd):
            raise errors.MethodNotAllowed(
                "create not allowed while custom resource definition is terminating"
            )
        raise errors.no_method()


def _terminating(crd: Object | None) -> bool:
    return crd is not None and "deletionTimestamp" in crd["metadata"]


async def _get(engine: Engine, context: Context, _: web.BaseRequest) -> Answer:
    cached = await reads.get(engine, context)
    return shown(context, cached)


async def _component_status(engine: Engine, context: Context) -> Answer:
    if context.info.verb == "get":
        return shown(context, component_status.get(engine, context))
    return _listed(context, component_status.list_(engine, context))


async def _list(engine: Engine, context: Context, _: web.BaseRequest) -> Answer:
    return _listed(context, await reads.list_(engine, context))


def _listed(context: Context, listing: reads.Listing) -> Answer:
    data = answers.many(
        context.served,
        listing.objects,
        context.form,
        revision=listing.revision,
        continue_=listing.continue_,
        remaining=listing.remaining,
    )
    return Answer(data, form=context.form)


async def _watch(engine: Engine, context: Context, request: web.BaseRequest) -> web.StreamResponse:
    wanted = watches.read(engine, context)
    if is_websocket(request):
        return await _watch_messages(engine, context, request, wanted)
    response = await open_stream(request, answers.content_type(context.form), context.headers)
    sink = HttpSink(request)
    await watches.serve(engine, context, wanted, sink)
    await response.write_eof()
    return response


async def _watch_messages(
    engine: Engine, context: Context, request: web.BaseRequest, wanted: watches.Wanted
) -> web.StreamResponse:
    """A watch whose events are messages; ends when either side has had enough."""
    socket = await open_messages(request, context.headers)
    sink = MessageSink(request)
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(_ignore(socket), name="watch-messages")
        serving = tasks.create_task(
            watches.serve(engine, context, wanted, sink), name="watch-events"
        )
        await asyncio.wait((reading, serving), return_when=asyncio.FIRST_COMPLETED)
        reading.cancel()
        serving.cancel()
    await socket.close()
    return socket


async def _ignore(socket: web.WebSocketResponse) -> None:
    """Read until the client closes: a watch is told nothing."""
    async for _ in socket:
        pass


async def _create(engine: Engine, context: Context, _: web.BaseRequest) -> Answer:
    written = await writes.create(engine, context)
    return shown(context, written.cached, code=201)


async def _update(engine: Engine, context: Context, _: web.BaseRequest) -> Answer:
    written = await writes.update(engine, context)
    return shown(context, written.cached, code=201 if written.created else 200)


async def _patch(engine: Engine, context: Context, _: web.BaseRequest) -> Answer:
    written = await patching.patch(engine, context)
    return shown(context, written.cached, code=201 if written.created else 200)


async def _delete(engine: Engine, context: Context, _: web.BaseRequest) -> Answer:
    options = deletes.read_options(context)
    deleted = await deletes.delete(engine, context, options)
    if not deleted.gone or context.served.resource.strategy.delete_returns_object:
        return shown(context, deleted.cached)
    return Answer(dumps(success(context, deleted.cached)))


async def _delete_collection(engine: Engine, context: Context, _: web.BaseRequest) -> Answer:
    options = deletes.read_options(context)
    gone = await deletes.delete_collection(engine, context, options)
    data = answers.many(context.served, gone, context.form, revision=engine.store.revision)
    return Answer(data, form=context.form)


_Verb = Callable[[Engine, Context, web.BaseRequest], Awaitable[Answer | web.StreamResponse]]

_VERBS: dict[str, _Verb] = {
    "get": _get,
    "list": _list,
    "watch": _watch,
    "create": _create,
    "update": _update,
    "patch": _patch,
    "delete": _delete,
    "deletecollection": _delete_collection,
}


# Resources of which nothing is stored.
_SPECIAL: Mapping[str, Callable[[Engine, Context], Awaitable[Answer]]] = {
    "bindings": subresources.bind,
    component_status.RESOURCE: _component_status,
}


def success(context: Context, cached: Cached) -> Object:
    """The Status of a delete that is done."""
    resource = context.served.resource
    details: Object = {"name": cached.name}
    if resource.group:
        details["group"] = resource.group
    details["kind"] = resource.plural
    details["uid"] = cached.object()["metadata"].get("uid", "")
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }
