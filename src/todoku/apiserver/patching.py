"""The four patches: JSON (RFC 6902), merge (RFC 7386), strategic merge, and apply (KEP-555)."""

from __future__ import annotations

from typing import Any

from todoku.api import errors
from todoku.api.meta import Object
from todoku.apiserver import bodies, writes
from todoku.apiserver.context import Context, Engine
from todoku.apiserver.writes import Make, Written

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


async def patch(engine: Engine, context: Context) -> Written:
    """Patch the object or its status.  Raises UnsupportedMediaType, BadRequest, Invalid, Conflict, NotFound."""
    make = maker(context)
    served = context.served
    kind = writes.status_change if context.info.subresource == "status" else writes.main_change
    return await writes.modify(engine, context, kind(served, make))


def maker(context: Context, *, schema: str = "") -> Make:
    """What the request's patch makes of an object; `schema` if that is not the resource's own kind."""
    media = bodies.media_type(context.content_type)
    resource = context.served.resource
    if media == JSON_PATCH:
        operations = bodies.parse_json(context.body)
        from todoku.api import patches

        return lambda old: patches.json_patch(old, operations)
    if media == MERGE_PATCH:
        document = _object(bodies.parse_json(context.body))
        return lambda old: _merged(old, document)
    if media == STRATEGIC_PATCH and context.served.typed:
        document = _object(bodies.parse_json(context.body))
        kind = schema or resource.schema
        from todoku.api import patches

        return lambda old: patches.strategic_merge_patch(old, document, kind)
    accepted = [JSON_PATCH, MERGE_PATCH, APPLY_PATCH]
    if context.served.typed:
        accepted.insert(2, STRATEGIC_PATCH)
    raise errors.UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include:"
        f" {', '.join(accepted)}"
    )


def _object(value: Any) -> Object:
    if not isinstance(value, dict):
        raise errors.BadRequest(
            "json: cannot unmarshal patch into Go value of type map[string]interface {}"
        )
    return value


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    out = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = _merged(out.get(key), value)
    return out
