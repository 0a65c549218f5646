"""The stretch between the wanted object and the store: admission, allocation, validation, commit or undo."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from todoku.api import patches
from todoku.api.errors import FieldError
from todoku.api.meta import GroupVersionKind, Object
from todoku.api.patches.fieldsets import FieldError as FieldSetError
from todoku.apiserver import bodies, metadata
from todoku.apiserver.config import AdmissionPlugin, Allocation, Attributes, Operation
from todoku.apiserver.context import Context, Engine
from todoku.apiserver.encoding import Cached
from todoku.apiserver.large import LARGE_BYTES, apart, worked
from todoku.apiserver.telemetry import Telemetry

Problems = Callable[[Object, Object | None], list[FieldError]]
StoreIt = Callable[[Object], Awaitable[Cached]]


@dataclass(frozen=True, slots=True)
class Seen:
    """An object of another kind that admission sees instead: made from the object, and written back to it."""

    read: Callable[[Object], Object]
    write: Callable[[Object, Object], Object]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a write wants to store instead of `old` (None: it is new), and how that is checked."""

    operation: Operation
    new: Object
    old: Object | None
    problems: Problems
    track: bool = True  # keep managedFields
    admission: bool = True
    seen: Seen | None = None
    # What the server makes of the object once mutating admission is through with it, in place; of an old one only if
    # a webhook or policy made another of it.
    prepare: Callable[[Object], None] | None = None


async def admitted(engine: Engine, context: Context, wish: Wish, store: StoreIt) -> Cached:
    """Track managed fields, run mutating admission, prepare, allocate, validate, run validating admission, store.

    Order: k8s.io/apiserver endpoints/handlers, registry/generic/registry Store.Create and Update.  So nobody owns what
    admission and allocation add: their values are not the client's.
    """
    old = wish.old
    metadata.merge_owners(wish.new, context.warnings)
    if wish.track:
        await worked(context.size_bytes, _track, engine, context, wish.new, old)
    attributes = attributes_of(context, wish.operation, wish.new, old)
    if wish.seen:
        attributes.object = wish.seen.read(wish.new)
        attributes.old = wish.seen.read(old) if old is not None else None
    plugins = engine.components.admission if wish.admission and not context.internal else ()
    await mutate(plugins, attributes, engine.telemetry)
    assert attributes.object is not None
    if attributes.object is not wish.new and attributes.kind == context.served.resource.gvk:
        attributes.object = bodies.readmitted(context, attributes.object)
    final = wish.seen.write(wish.new, attributes.object) if wish.seen else attributes.object
    metadata.merge_owners(final, context.warnings, admitted=True)
    if wish.prepare is not None and (old is None or final is not wish.new):
        wish.prepare(final)
    allocation = await _allocate(engine, context, final, old)
    examine = context.served.resource.strategy.examine
    try:
        if examine is not None:
            await apart(examine, final, old)
        size = LARGE_BYTES if context.served.resource.strategy.compiles else context.size_bytes
        await worked(size, _check, context, wish, final)
        cached = await validated(plugins, attributes, lambda: store(final), engine.telemetry)
    except BaseException:
        if allocation:
            await allocation.rollback()
        raise
    if allocation:
        await allocation.commit()
    return cached


def _check(context: Context, wish: Wish, final: Object) -> None:
    """Refuse what is wrong with the object, warn of what is odd."""
    metadata.refuse(context.served, final, wish.problems(final, wish.old))
    context.warnings.extend(context.served.resource.strategy.warnings(final, wish.old))


def _track(engine: Engine, context: Context, new: Object, old: Object | None) -> None:
    """Bring managedFields up to date (KEP-555); an object they cannot describe keeps what it has.

    Such an object has list items without their keys, which validation names, or always had them.  Nobody comes to own
    the status of a new object, which it is not the client's to give.
    """
    asked = new
    if old is None and context.served.resource.strategy.has_status:
        asked = {field: value for field, value in new.items() if field != "status"}
    try:
        entries = patches.track_update(
            old,
            asked,
            manager=context.field_manager,
            schema=context.served.type,
            now=engine.clock(),
            subresource=context.info.subresource,
        )
    except FieldSetError:
        return
    if entries:
        new["metadata"]["managedFields"] = entries
    else:
        new["metadata"].pop("managedFields", None)


def attributes_of(
    context: Context, operation: Operation, new: Object | None, old: Object | None
) -> Attributes:
    info, resource = context.info, context.served.resource
    about = new or old or {}
    sub = context.served.subresources.get(info.subresource)
    kind: GroupVersionKind = sub.kind if sub and sub.kind else resource.gvk
    return Attributes(
        operation=operation,
        user=context.user,
        resource=resource,
        subresource=info.subresource,
        kind=kind,
        namespace=info.namespace,
        name=info.name or about.get("metadata", {}).get("name", ""),
        object=new,
        old=old,
        options=_options(context, operation) if operation != "CONNECT" else {},
        verb=info.verb,
        dry_run=context.dry_run,
        warnings=context.warnings,
    )


def _options(context: Context, operation: Operation) -> Object:
    """The options of the operation, whatever request led to it: a patch updates or creates."""
    kind = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions"}.get(operation, "DeleteOptions")
    options: Object = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
    if context.dry_run:
        options["dryRun"] = ["All"]
    for key in ("fieldManager", "fieldValidation"):
        if key in context.query:
            options[key] = context.query[key]
    return options


async def mutate(
    plugins: Sequence[AdmissionPlugin], attributes: Attributes, telemetry: Telemetry
) -> None:
    """Let all plugins change the object, and once more when a webhook or policy did (reinvocation)."""
    if not plugins:
        return
    began, rejected = perf_counter(), True
    try:
        for plugin in plugins:
            await plugin.mutate(attributes)
        if attributes.reinvoke:
            attributes.again = True
            for plugin in plugins:
                await plugin.mutate(attributes)
        rejected = False
    finally:
        telemetry.step("admit", attributes.operation, began, rejected=rejected)


async def validated(
    plugins: Sequence[AdmissionPlugin],
    attributes: Attributes,
    store: Callable[[], Awaitable[Cached]],
    telemetry: Telemetry,
) -> Cached:
    """Run validating admission, then `store`; what fails later undoes the plugins that had agreed."""
    agreed: list[AdmissionPlugin] = []
    began = perf_counter()
    try:
        for plugin in plugins:
            await plugin.validate(attributes)
            agreed.append(plugin)
        if plugins:
            telemetry.step("validate", attributes.operation, began, rejected=False)
        return await store()
    except BaseException:
        if len(agreed) < len(plugins):
            telemetry.step("validate", attributes.operation, began, rejected=True)
        for plugin in reversed(agreed):
            await plugin.undo(attributes)
        raise
    finally:
        for settle in attributes.settled:
            settle()


async def _allocate(
    engine: Engine, context: Context, new: Object, old: Object | None
) -> Allocation | None:
    services = engine.components.services
    if services is None or context.served.name != "services" or context.info.subresource:
        return None
    if not new["metadata"].get("name"):
        return None  # validation refuses it; an allocation could not say whose it is
    if old is None:
        return await services.on_create(new, dry_run=context.dry_run)
    return await services.on_update(new, old, dry_run=context.dry_run)
