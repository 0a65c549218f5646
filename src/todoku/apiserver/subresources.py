"""Subresources that are more than the parent's status, and resources that are answered without being stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from aiohttp import web

from todoku.api import errors, times
from todoku.api.meta import GroupVersionKind, Object
from todoku.apiserver import (
    admitting,
    answers,
    bodies,
    conversion,
    deletes,
    evictions,
    patching,
    reads,
    scales,
    subresource_rules,
    writes,
)
from todoku.apiserver.answer import Answer, shown
from todoku.apiserver.config import Attributes, Call, Connector, Handler
from todoku.apiserver.context import Context, Engine
from todoku.apiserver.encoding import dumps
from todoku.apiserver.negotiation import PLAIN
from todoku.apiserver.objects import EngineObjects
from todoku.apiserver.proxy import Named
from todoku.apiserver.writes import Change

Reply = Answer | web.StreamResponse
Action = Callable[[Engine, Context], Awaitable[Answer]]

_EVICTIONS = GroupVersionKind("policy", "v1", "Eviction")
_SCALE = GroupVersionKind("autoscaling", "v1", "Scale")
_BINDING = GroupVersionKind("", "v1", "Binding")


async def answer(engine: Engine, context: Context, request: web.BaseRequest) -> Reply:
    """Serve `resource/subresource`; the verb is one that the subresource has."""
    info = context.info
    path = f"{context.served.name}/{info.subresource}"
    connector = engine.components.connectors.get(path)
    if connector is not None:
        return await _connect(engine, context, request, connector)
    handler = engine.components.handlers.get(path)
    if handler is not None:
        parent = await reads.get(engine, context)
        return await handled(engine, context, handler, context.served.view(parent))
    if info.subresource == "scale":
        return await _scale(engine, context)
    if path in subresource_rules.PREPARE:
        return await _own_kind(engine, context, path)
    action = _ACTIONS.get(path)
    if action is None:
        raise errors.no_resource()
    return await action(engine, context)


async def _connect(
    engine: Engine, context: Context, request: web.BaseRequest, connector: Connector
) -> web.StreamResponse:
    about = context
    if context.info.subresource == "proxy":  # named `scheme:NAME:port`
        named = Named.of(context.info.name, context.info.resource.removesuffix("s"))
        about = replace(context, info=replace(context.info, name=named.name))
    cached = await reads.get(engine, about)
    parent = context.served.view(cached)
    if context.info.subresource != "log":
        options = _connect_options(context, request)
        attributes = admitting.attributes_of(context, "CONNECT", options, None)
        await _admit(engine, attributes)
    return await connector.connect(request, user=context.user, info=context.info, parent=parent)


async def _admit_creation(engine: Engine, context: Context, obj: Object) -> Object:
    """What is created but not stored, as mutating admission leaves it."""
    attributes = admitting.attributes_of(context, "CREATE", obj, None)
    await _admit(engine, attributes)
    return attributes.object or obj


async def _admit(engine: Engine, attributes: Attributes) -> None:
    """Admission of what is not stored."""
    await admitting.mutate(engine.components.admission, attributes, engine.telemetry)
    for plugin in engine.components.admission:
        await plugin.validate(attributes)


def _connect_options(context: Context, request: web.BaseRequest) -> Object:
    """PodExecOptions and its like: the query as an object."""
    kind = context.served.subresources[context.info.subresource].kind
    assert kind is not None
    options: Object = {"kind": kind.kind, "apiVersion": kind.api_version}
    for key in request.query:
        values = request.query.getall(key)
        if key in ("stdin", "stdout", "stderr", "tty"):
            options[key] = values[0] in ("true", "1", "")
        elif key == "command":
            options[key] = values
        else:
            options[key] = values[0]
    return options


async def handled(
    engine: Engine, context: Context, handler: Handler, parent: Object | None
) -> Answer:
    """Let a handler answer; what it returns is shown as it is."""
    sub = context.served.subresources.get(context.info.subresource)
    body: Object = {}
    if context.info.verb != "get":
        body = bodies.read_object(context, sub.kind if sub else None)
    if context.info.verb == "create":
        body = await _admit_creation(engine, context, body)
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


async def _own_kind(engine: Engine, context: Context, path: str) -> Answer:
    """get, update and patch of a subresource whose objects are the parent's."""
    if context.info.verb == "get":
        return shown(context, await reads.get(engine, context))
    if context.info.verb == "patch":
        change = patching.change(engine, context)
    else:
        make = writes.replacement(context, bodies.read_object(context))
        change = writes.main_change(context.served, make)
    prepare = subresource_rules.PREPARE[path]
    problems = subresource_rules.PROBLEMS.get(path, change.problems)
    change = replace(change, prepare=prepare, problems=problems)
    written = await writes.modify(engine, context, change)
    return shown(context, written.cached)


async def _scale(engine: Engine, context: Context) -> Answer:
    paths = context.served.scale_paths
    served = context.served
    form, context.form = context.form, PLAIN
    if context.info.verb == "get":
        cached = await reads.get(engine, context)
        scale = scales.read(served.view(cached), paths)
        if form.as_ == "Table":
            return Answer(
                dumps(answers.table_of(scales.COLUMNS, scales.row, scale, form)), form=form
            )
        return Answer(dumps(scale))
    applies = context.info.verb == "patch" and patching.is_apply(context)
    if applies:
        applied = patching.applier(engine, context, _SCALE)

        def make(old: Object) -> Object:
            return scales.apply(old, paths, applied)
    elif context.info.verb == "patch":
        patch = patching.maker(context, _SCALE)

        def make(old: Object) -> Object:
            return scales.write(old, patch(scales.read(old, paths)), paths)
    else:
        body = bodies.read_object(context, _SCALE)

        def make(old: Object) -> Object:
            return scales.write(old, body, paths)

    seen = admitting.Seen(
        lambda obj: scales.read(obj, paths), lambda obj, scale: scales.write(obj, scale, paths)
    )
    change = replace(writes.main_change(served, make), seen=seen, track=not applies)
    written = await writes.modify(engine, context, change)
    await conversion.prepare(engine.components.converter, served, [written.cached])
    return Answer(dumps(scales.read(served.view(written.cached), paths)))


async def bind(engine: Engine, context: Context) -> Answer:
    """POST pods/NAME/binding, and the same through /bindings."""
    binding = bodies.read_object(context, _BINDING)
    name = context.info.name or binding["metadata"].get("name", "")
    pods = engine.catalog.by_name("pods")
    assert pods is not None
    info = replace(context.info, resource="pods", subresource="binding", name=name)
    inner = replace(context, served=pods, info=info)

    def make(old: Object) -> Object:
        for key in ("uid", "resourceVersion"):
            expected = binding["metadata"].get(key)
            if expected and expected != old["metadata"].get(key):
                raise errors.Conflict.of("pods/binding", name, f"{key} does not match")
        return subresource_rules.bind(old, binding, times.text(engine.clock()))

    def keep(new: Object, old: Object) -> None:
        return None

    change = Change(make=make, prepare=keep, problems=lambda new, old: [], admission=False)
    binding = await _admit_creation(engine, inner, binding)
    await writes.modify(engine, inner, change)
    return Answer(dumps(_success()), code=201)


async def _evict(engine: Engine, context: Context) -> Answer:
    """POST pods/NAME/eviction: charge the budget, then delete."""
    eviction = bodies.read_object(context, _EVICTIONS)
    options = deletes.options_of(eviction.get("deleteOptions") or {})
    context.dry_run = context.dry_run or options.dry_run
    if eviction["metadata"].get("name") != context.info.name:
        raise errors.BadRequest("name in URL does not match name in Eviction object")
    cached = await reads.get(engine, context)
    pod = cached.object()
    await _admit_creation(engine, context, eviction)
    objects = EngineObjects.of(engine)
    for _ in range(10):
        budgets = objects.list("poddisruptionbudgets.policy", context.info.namespace)
        verdict = evictions.decide(pod, budgets, engine.clock())
        if verdict.charge is None or context.dry_run:
            break
        try:
            await objects.update(
                "poddisruptionbudgets.policy", verdict.charge, subresource="status"
            )
            break
        except errors.Conflict:
            continue
    if not context.dry_run:
        await _note_disruption(engine, objects, context)
    info = replace(context.info, verb="delete", subresource="")
    await deletes.delete(engine, replace(context, info=info, body=b""), options)
    return Answer(dumps(_success()), code=201)


async def _note_disruption(engine: Engine, objects: EngineObjects, context: Context) -> None:
    for _ in range(10):
        pod = objects.get("pods", context.info.name, context.info.namespace)
        if pod is None:
            return
        try:
            wanted = evictions.disrupted(pod, engine.clock())
            await objects.update("pods", wanted, subresource="status")
        except errors.Conflict:
            continue
        except errors.NotFound:
            return
        return


def _success() -> Object:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


_ACTIONS: dict[str, Action] = {"pods/binding": bind, "pods/eviction": _evict}
