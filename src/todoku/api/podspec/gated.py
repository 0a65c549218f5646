"""What may change in a pod that scheduling gates still hold back: where it may run can only be narrowed (KEP-3838)."""

from __future__ import annotations

from todoku.api.errors import FieldError, Path, invalid
from todoku.api.internals import rendered, rendered_list
from todoku.api.meta import Object

_NEEDED = "requiredDuringSchedulingIgnoredDuringExecution"


def gated_problems(fresh: Object, stored: Object) -> list[FieldError]:
    """Changes of nodeSelector and node affinity in the spec of a gated pod, or in its job's template."""
    path = Path("spec")
    problems: list[FieldError] = []
    before, after = stored.get("nodeSelector") or {}, fresh.get("nodeSelector") or {}
    if any(after.get(key) != value for key, value in before.items()):
        text = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        problems.append(invalid(path / "nodeSelector", after, text))
    old = (stored.get("affinity") or {}).get("nodeAffinity") or {}
    new = (fresh.get("affinity") or {}).get("nodeAffinity") or {}
    if old != new:
        problems += _affinity_problems(new, old, path / "affinity" / "nodeAffinity")
    return problems


def _affinity_problems(new: Object, old: Object, path: Path) -> list[FieldError]:
    """validateNodeAffinityMutation."""
    before = (old.get(_NEEDED) or {}).get("nodeSelectorTerms") or []
    after = (new.get(_NEEDED) or {}).get("nodeSelectorTerms") or []
    at = path / _NEEDED / "nodeSelectorTerms"
    if not before:
        return []
    if len(before) != len(after):
        text = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        return [invalid(at, rendered_list(after, "NodeSelectorTerm"), text)]
    text = "only additions are allowed (no mutations or deletions)"
    return [
        invalid(at / index, rendered(fresh, "NodeSelectorTerm"), text)
        for index, (fresh, stored) in enumerate(zip(after, before, strict=True))
        if not _only_adds(fresh, stored)
    ]


def _only_adds(new: Object, old: Object) -> bool:
    fields = ("matchExpressions", "matchFields")
    if not any(old.get(field) for field in fields):
        return not any(new.get(field) for field in fields)
    return all(
        (new.get(field) or [])[: len(old.get(field) or [])] == (old.get(field) or [])
        for field in fields
    )
