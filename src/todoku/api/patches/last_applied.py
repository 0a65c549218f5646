"""From `kubectl apply` to `kubectl apply --server-side`: the annotation with the last configuration (apimachinery's
LastAppliedManager and LastAppliedUpdater).

What the annotation says and the object still has was applied by the same person, so the manager `kubectl` may take it
from whoever owns it; and its annotation keeps saying what was applied last, for clients that go back.
"""

from __future__ import annotations

import json

from todoku.api.errors import Path
from todoku.api.meta import Object
from todoku.api.patches import fieldsets
from todoku.api.patches.apply import Applied, ApplyConflict
from todoku.api.patches.apply import apply as apply_configuration
from todoku.api.patches.fieldsets import FieldSet
from todoku.api.patches.typed import compare
from todoku.api.schemas import Type
from todoku.api.validation import annotation_problems

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
MANAGER = "kubectl"


def apply(
    live: Object | None,
    applied: Object,
    *,
    manager: str,
    force: bool,
    schema: Type,
    now: float,
    subresource: str = "",
) -> Applied:
    """Apply a configuration to the live object (None creates it).

    Raises ApplyConflict, and BadRequest for a configuration that does not fit the schema or names managedFields.
    """

    def attempt(force: bool) -> Applied:
        return apply_configuration(
            live,
            applied,
            manager=manager,
            force=force,
            schema=schema,
            now=now,
            subresource=subresource,
        )

    if manager != MANAGER or live is None:
        return attempt(force)
    try:
        result = attempt(force)
    except ApplyConflict as conflict:
        own = _still_as_applied(live, schema)
        foreign = [one for one in conflict.conflicts if one[1] not in own]
        if foreign:
            raise ApplyConflict(foreign) from conflict
        result = attempt(True)
    _keep_annotation(result.object, applied)
    return result


def _still_as_applied(live: Object, schema: Type) -> FieldSet:
    """The fields of the annotation's configuration that the live object has with the same value."""
    try:
        last = json.loads(_annotations(live).get(ANNOTATION) or "")
        if last.get("apiVersion") != live.get("apiVersion"):
            return fieldsets.EMPTY
        difference = compare(last, live, schema)
        return fieldsets.of_value(last, schema) - difference.changed - difference.removed
    except (ValueError, AttributeError):
        return fieldsets.EMPTY


def _keep_annotation(obj: Object, applied: Object) -> None:
    annotations = _annotations(obj)
    if ANNOTATION not in annotations:
        return
    updated = {**annotations, ANNOTATION: _written(applied)}
    if annotation_problems(updated, Path("metadata") / "annotations"):
        del updated[ANNOTATION]
    obj["metadata"] = {**obj["metadata"], "annotations": updated}


def _written(applied: Object) -> str:
    metadata = dict(applied["metadata"])
    if metadata.get("annotations"):
        metadata["annotations"] = {
            key: value for key, value in metadata["annotations"].items() if key != ANNOTATION
        }
    text = json.dumps(
        {**applied, "metadata": metadata}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return text + "\n"


def _annotations(obj: Object) -> Object:
    found: Object = (obj.get("metadata") or {}).get("annotations") or {}
    return found
