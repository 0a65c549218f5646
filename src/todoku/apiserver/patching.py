"""The four patches: JSON (RFC 6902), merge (RFC 7386), strategic merge, and apply (KEP-555)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from todoku.api import decoding, errors, gojson, patches, schemas
from todoku.api.meta import GroupVersionKind, Object
from todoku.api.patches.fieldsets import FieldError as FieldSetError
from todoku.api.schemas import Type
from todoku.apiserver import bodies, writes
from todoku.apiserver.bodies import Patched
from todoku.apiserver.context import Context, Engine
from todoku.apiserver.large import worked
from todoku.apiserver.options import flag
from todoku.apiserver.writes import Change, Make, Written

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


async def patch(engine: Engine, context: Context) -> Written:
    """Patch the object or its status.  Raises UnsupportedMediaType, BadRequest, Invalid, Conflict, NotFound."""
    wanted = await worked(context.size_bytes, change, engine, context)
    return await writes.modify(engine, context, wanted)


def change(engine: Engine, context: Context) -> Change:
    """The request's patch as a change of the object, or of its status."""
    kind = writes.status_change if context.info.subresource == "status" else writes.main_change
    if bodies.media_type(context.content_type) == APPLY_PATCH:
        return _apply(engine, context, kind)
    make, patched = _read(context, context.served.type)
    return replace(kind(context.served, make), patched=patched)


def is_apply(context: Context) -> bool:
    return bodies.media_type(context.content_type) == APPLY_PATCH


def applier(engine: Engine, context: Context, kind: GroupVersionKind) -> Make:
    """What the request's apply patch makes of an object of another kind than the resource's, with its managedFields."""
    _check_options(context, apply=True)
    configuration = bodies.read_configuration(context, kind)
    writes.check_name(
        configuration["metadata"].setdefault("name", context.info.name), context.info.name
    )
    type_ = schemas.type_of(schemas.names_by_kind()[kind])
    return lambda old: _applied(engine, context, old, configuration, type_)


def _applied(
    engine: Engine, context: Context, live: Object | None, configuration: Object, type_: Type
) -> Object:
    return patches.apply(
        live,
        configuration,
        manager=context.query["fieldManager"],
        force=flag(context.query, "force") is True,
        schema=type_,
        now=engine.clock(),
        subresource=context.info.subresource,
    ).object


def maker(context: Context, kind: GroupVersionKind) -> Make:
    """What the request's patch makes of an object of another kind than the resource's (a Scale)."""
    type_ = schemas.type_of(schemas.names_by_kind()[kind])
    make, patched = _read(context, type_)
    return lambda old: bodies.checked(context, make(old), type_, kind, list(patched.duplicates))


def _read(context: Context, type_: Type) -> tuple[Make, Patched]:
    """The patch in the body."""
    _check_options(context, apply=False)
    build = _BUILDERS.get(bodies.media_type(context.content_type))
    if build is None or (build is _strategic and not context.served.typed):
        raise _unsupported(context)
    prefix = "" if build is _strategic else "error decoding patch: "
    try:
        document, duplicates = decoding.parse_json(context.body)
    except (ValueError, RecursionError) as problem:
        raise errors.BadRequest(f"{prefix}{problem}") from None
    if build is _json:
        duplicates = [f"json patch {one}" for one in duplicates]
        return build(document, type_), Patched(tuple(duplicates))
    if not isinstance(document, dict):
        raise errors.BadRequest(
            f"{prefix}json: cannot unmarshal {gojson.kind(document)} into Go value of type map[string]interface {{}}"
        )
    strategic = document if build is _strategic else None
    return build(document, type_), Patched(tuple(duplicates), strategic)


def _json(document: Any, _: Type) -> Make:
    def make(old: Object) -> Object:
        result = patches.json_patch(old, document)
        return _object(result)

    return make


def _merge(document: Any, _: Type) -> Make:
    return lambda old: _object(patches.merge_patch(old, document))


def _strategic(document: Any, type_: Type) -> Make:
    return lambda old: patches.strategic_merge_patch(old, document, type_)


_BUILDERS: dict[str, Callable[[Any, Type], Make]] = {
    JSON_PATCH: _json,
    MERGE_PATCH: _merge,
    STRATEGIC_PATCH: _strategic,
}


def _object(value: Any) -> Object:
    if not isinstance(value, dict):
        raise errors.BadRequest(
            "json: cannot unmarshal the patch or its result into Go value of type"
            " map[string]interface {}"
        )
    return value


def _unsupported(context: Context) -> errors.ApiError:
    accepted = [JSON_PATCH, MERGE_PATCH, APPLY_PATCH]
    if context.served.typed:
        accepted.insert(2, STRATEGIC_PATCH)
    return errors.UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include:"
        f" {', '.join(accepted)}"
    )


def _check_options(context: Context, *, apply: bool) -> None:
    problems = []
    if apply and not context.query.get("fieldManager"):
        text = "is required for apply patch"
        problems.append(errors.required(errors.Path("fieldManager"), text))
    if not apply and "force" in context.query:
        text = "may not be specified for non-apply patch"
        problems.append(errors.forbidden(errors.Path("force"), text))
    if problems:
        raise errors.Invalid.of("PatchOptions", "meta.k8s.io", "", problems)


def _within(context: Context, configuration: Object) -> Object:
    """Without the half that is not this endpoint's: its applier neither sets nor comes to own it (reset fields)."""
    if context.info.subresource == "status":
        kept = ("apiVersion", "kind", "metadata", "status")
        return {key: configuration[key] for key in kept if key in configuration}
    if "status" in context.served.subresources:
        return {key: value for key, value in configuration.items() if key != "status"}
    return configuration


def _apply(engine: Engine, context: Context, kind: Callable[..., Change]) -> Change:
    """Server-side apply: creates what is missing, unless it is applied to a subresource."""
    _check_options(context, apply=True)
    configuration = _within(context, bodies.read_configuration(context))
    metadata = configuration["metadata"]
    info = context.info
    writes.check_name(metadata.setdefault("name", info.name), info.name)
    if info.namespace:
        metadata.setdefault("namespace", info.namespace)

    def applied(live: Object | None) -> Object:
        try:
            return _applied(engine, context, live, configuration, context.served.type)
        except FieldSetError as problem:  # the stored object has list items without their keys
            raise errors.BadRequest(f"failed to create typed live object: {problem}") from problem

    async def create() -> Written:
        if info.subresource:
            raise errors.NotFound.of(context.served.name, info.name)
        if metadata.get("uid"):
            why = (
                f"uid mismatch: the provided object specified uid {metadata['uid']},"
                " and no existing object was found"
            )
            raise errors.Conflict.of(context.served.name, info.name, why)
        new = await worked(context.size_bytes, first)
        return await writes.create_object(engine, context, new, track=False)

    def first() -> Object:
        return bodies.checked_patch(context, applied(None), Patched())

    return replace(kind(context.served, applied), on_missing=create, track=False, patched=Patched())
