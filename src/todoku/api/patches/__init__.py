"""The four patches as pure functions, and the bookkeeping of managed fields.

`merge_patch`, `json_patch`, `strategic_merge_patch(obj, patch, type)` and `apply(...)` return new objects and never
change their arguments.  Types come from `schemas.type_of(resource.schema)` or `crd.types`.
"""

from todoku.api.patches.apply import Applied, ApplyConflict, track_update
from todoku.api.patches.last_applied import apply
from todoku.api.patches.plain import DoesNotApply, json_patch, merge_patch
from todoku.api.patches.strategic import strategic_merge_patch

__all__ = [
    "Applied",
    "ApplyConflict",
    "DoesNotApply",
    "apply",
    "json_patch",
    "merge_patch",
    "strategic_merge_patch",
    "track_update",
]
