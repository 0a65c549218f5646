"""delete and deletecollection: grace, finalizers, propagation and preconditions decided purely, then committed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from todoku.api import errors, times
from todoku.api.meta import Object, copy
from todoku.apiserver import admitting, bodies, conversion, metadata, reads
from todoku.apiserver.catalog import Served
from todoku.apiserver.commits import Raced, put, remove
from todoku.apiserver.context import Context, Engine
from todoku.apiserver.encoding import Cached
from todoku.apiserver.options import dry_run_problems, flag, integer

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
CRD_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
ATTEMPTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """meta/v1 DeleteOptions."""

    grace_seconds: int | None = None
    propagation: str = ""  # Background, Foreground, Orphan, or "" for the kind's default
    preconditions: Mapping[str, object] | None = None
    dry_run: bool = False


def read_options(context: Context) -> Options:
    """From the body, or without one from the query.  Raises BadRequest, Invalid."""
    body: Object = {}
    if context.body:
        body, _ = bodies.decode(context.content_type, context.body)
        if body.get("kind") not in (None, "", "DeleteOptions"):
            raise errors.BadRequest(
                f"decoded object cannot be converted to DeleteOptions: {body.get('kind')}"
            )
    else:
        body = _from_query(context.query)
    return options_of(body)


def _from_query(query: Mapping[str, str]) -> Object:
    body: Object = {}
    if "gracePeriodSeconds" in query:
        body["gracePeriodSeconds"] = integer(query, "gracePeriodSeconds")
    if "propagationPolicy" in query:
        body["propagationPolicy"] = query["propagationPolicy"]
    if "orphanDependents" in query:
        body["orphanDependents"] = flag(query, "orphanDependents")
    if "dryRun" in query:
        body["dryRun"] = [query["dryRun"]]
    return body


def options_of(body: Object) -> Options:
    """From a wire DeleteOptions.  Raises Invalid, BadRequest."""
    path = errors.Path("propagationPolicy")
    policy, orphan = body.get("propagationPolicy"), body.get("orphanDependents")
    problems = []
    if policy is not None and orphan is not None:
        text = "orphanDependents and deletionPropagation cannot be both set"
        problems.append(errors.invalid(path, policy, text))
    elif policy not in (None, "Background", "Foreground", "Orphan"):
        allowed = ("Foreground", "Background", "Orphan", "nil")
        problems.append(errors.not_supported(path, policy, allowed))
    dry = body.get("dryRun") or []
    problems += dry_run_problems(dry)
    if problems:
        raise errors.Invalid.of("DeleteOptions", "meta.k8s.io", "", problems)
    if orphan is not None:
        policy = "Orphan" if orphan else "Background"
    grace = body.get("gracePeriodSeconds")
    if grace is not None and not isinstance(grace, int):
        raise errors.BadRequest("gracePeriodSeconds: must be an integer")
    preconditions = body.get("preconditions")
    return Options(
        grace_seconds=grace,
        propagation=policy or "",
        preconditions=preconditions if isinstance(preconditions, dict) else None,
        dry_run=bool(dry),
    )


def pending_finalizers(served: Served, obj: Object) -> list[str]:
    """What must go before the object may: metadata.finalizers, and a Namespace's spec.finalizers."""
    found = list(obj["metadata"].get("finalizers") or ())
    if served.stored.name == "namespaces":
        found += obj.get("spec", {}).get("finalizers") or ()
    return found


def is_over(served: Served, obj: Object) -> bool:
    """Whether an update of a deleted object has left nothing to wait for."""
    meta = obj["metadata"]
    return (
        bool(meta.get("deletionTimestamp"))
        and not meta.get("deletionGracePeriodSeconds")
        and not pending_finalizers(served, obj)
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """`keep` is the object marked as being deleted; None means remove it now."""

    keep: Object | None


def decide(served: Served, old: Object, options: Options, now: float) -> Outcome:
    """What a delete does to `old`, which is not changed.

    Semantics: k8s.io/apiserver rest.BeforeDelete and the finalizers of garbage collection.
    """
    new: Object = copy(old)
    meta = new["metadata"]
    finalizers = _propagated(served, list(meta.get("finalizers") or ()), options)
    if _waits_for_objects(served, meta) and CRD_FINALIZER not in finalizers:
        finalizers.append(CRD_FINALIZER)
    if finalizers:
        meta["finalizers"] = finalizers
    else:
        meta.pop("finalizers", None)
    grace = _grace(served, old, options)
    if meta.get("deletionTimestamp"):
        _shorten(meta, grace, options)
    elif grace or pending_finalizers(served, new):
        meta["deletionTimestamp"] = times.text(now + grace)
        meta["deletionGracePeriodSeconds"] = grace
        if served.resource.strategy.has_generation and meta.get("generation"):
            meta["generation"] += 1
        if served.stored.name == "namespaces":
            new["status"] = new.get("status", {}) | {"phase": "Terminating"}
    elif not pending_finalizers(served, new):
        return Outcome(None)
    return Outcome(None if is_over(served, new) else new)


def _waits_for_objects(served: Served, meta: Object) -> bool:
    """A definition's first delete lets its objects be deleted before it."""
    name = "customresourcedefinitions.apiextensions.k8s.io"
    return served.stored.name == name and not meta.get("deletionTimestamp")


def _grace(served: Served, obj: Object, options: Options) -> int:
    """Seconds to wait; kinds that are not graceful ignore what the client wishes."""
    graceful = served.resource.strategy.graceful
    if graceful is None:
        return 0
    default = graceful(obj)
    if default == 0 or options.grace_seconds is None:
        return default
    return max(options.grace_seconds, 1) if options.grace_seconds < 0 else options.grace_seconds


def _shorten(meta: Object, grace: int, options: Options) -> None:
    """A second delete may shorten the wait, never lengthen it."""
    current = meta.get("deletionGracePeriodSeconds") or 0
    if options.grace_seconds is None and grace:
        return
    if current and grace < current:
        started = times.parse(meta["deletionTimestamp"]) - current
        meta["deletionTimestamp"] = times.text(started + grace)
        meta["deletionGracePeriodSeconds"] = grace


def _propagated(served: Served, finalizers: list[str], options: Options) -> list[str]:
    """The finalizers that the garbage collector acts on follow the wish.

    Without one they stay, and without them the kind's default counts.
    """
    if not options.propagation:
        decided = ORPHAN in finalizers or FOREGROUND in finalizers
        by_default = served.resource.strategy.orphans_dependents and not decided
        return [*finalizers, ORPHAN] if by_default else finalizers
    kept = [one for one in finalizers if one not in (ORPHAN, FOREGROUND)]
    wish = {"Orphan": ORPHAN, "Foreground": FOREGROUND}.get(options.propagation)
    return [*kept, wish] if wish else kept


@dataclass(frozen=True, slots=True)
class Deleted:
    """The object as it was or still is; `gone` says which."""

    cached: Cached
    gone: bool


async def delete(engine: Engine, context: Context, options: Options) -> Deleted:
    """Delete the named object.  Raises NotFound, Conflict (preconditions) and what admission refuses with."""
    served, info = context.served, context.info
    context.dry_run = context.dry_run or options.dry_run
    for _ in range(ATTEMPTS):
        await engine.cache.wait()
        current = engine.collection(served).get(info.namespace, info.name)
        if current is None:
            raise errors.NotFound.of(served.name, info.name)
        await conversion.prepare(engine.components.converter, served, [current])
        try:
            return await _delete_once(engine, context, options, current)
        except Raced:
            continue
    raise errors.Conflict.of(served.name, info.name, metadata.MODIFIED)


async def _delete_once(
    engine: Engine, context: Context, options: Options, current: Cached
) -> Deleted:
    served = context.served
    old = served.view(current)
    metadata.check_preconditions(served, old["metadata"], options.preconditions)
    outcome = decide(served, old, options, engine.clock())

    async def store() -> Cached:
        if outcome.keep is None:
            return await remove(engine, context, old, current)
        if metadata.same(outcome.keep, old):
            return current
        return await put(engine, served, outcome.keep, current, dry_run=context.dry_run)

    attributes = admitting.attributes_of(context, "DELETE", None, old)
    attributes.options = _wire_options(options)
    plugins: Any = () if context.internal else engine.components.admission
    await admitting.mutate(plugins, attributes, engine.telemetry)
    cached = await admitting.validated(plugins, attributes, store, engine.telemetry)
    return Deleted(cached, outcome.keep is None)


def _wire_options(options: Options) -> Object:
    wire: Object = {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"}
    if options.grace_seconds is not None:
        wire["gracePeriodSeconds"] = options.grace_seconds
    if options.propagation:
        wire["propagationPolicy"] = options.propagation
    if options.preconditions:
        wire["preconditions"] = dict(options.preconditions)
    if options.dry_run:
        wire["dryRun"] = ["All"]
    return wire


async def delete_collection(engine: Engine, context: Context, options: Options) -> list[Cached]:
    """Delete everything that the request selects, each as `delete` would; returns what was there."""
    listing = await reads.list_(engine, context)
    done: list[Cached] = []
    for one in listing.objects:
        info = replace(context.info, verb="delete", namespace=one.namespace, name=one.name)
        single = replace(context, info=info, body=b"")
        try:
            done.append((await delete(engine, single, options)).cached)
        except errors.NotFound:
            continue
    return done
