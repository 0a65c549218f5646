"""Server-side apply and the bookkeeping of `metadata.managedFields` (k8s.io/apimachinery util/managedfields).

Ownership is by manager, operation, version and subresource.  An apply owns what its configuration names, fails with
a conflict where it would change what others own (unless forced), and removes what it owned before and names no more
if nobody else owns it.  Any other write owns what it changed and takes it from the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from todoku.api import times
from todoku.api.errors import BadRequest, Conflict, Unclassified
from todoku.api.meta import Object, copy, gvk_of
from todoku.api.patches import claims, fieldsets, fitting
from todoku.api.patches.fieldsets import FieldPath, FieldSet
from todoku.api.patches.typed import compare, drop, merge, remove
from todoku.api.schemas import Type

BEFORE_FIRST_APPLY = "before-first-apply"
ANCIENT = "ancient-changes"
MAX_UPDATE_ENTRIES = 10

_SYSTEM: tuple[FieldPath, ...] = (
    ("f:apiVersion",),
    ("f:kind",),
    *(
        ("f:metadata", f"f:{name}")
        for name in (
            "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation",
            "managedFields", "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "generateName",
        )
    ),
)  # fmt: skip
STATUS: FieldPath = ("f:status",)
UNOWNED = frozenset(".".join(element[2:] for element in path) for path in _SYSTEM)
UNOWNED_WITH_STATUS = UNOWNED | {"status"}


class ApplyConflict(Conflict):
    """Others own fields that the applied configuration would change; `conflicts` says whose and which."""

    def __init__(self, conflicts: Sequence[tuple[Owner, FieldPath]]) -> None:
        causes = [
            {
                "reason": "FieldManagerConflict",
                "message": f"conflict with {owner.shown()}",
                "field": fieldsets.show(path),
            }
            for owner, path in conflicts
        ]
        super().__init__(_conflict_text(conflicts), details={"causes": causes})
        self.conflicts = conflicts


@dataclass(frozen=True, slots=True)
class Owner:
    """One entry of managedFields."""

    manager: str
    operation: str
    api_version: str
    subresource: str
    time: str
    fields: FieldSet

    def same_as(self, other: Owner) -> bool:
        """Whether both entries are one: an Update entry also has its version."""
        mine = (self.manager, self.operation, self.subresource)
        theirs = (other.manager, other.operation, other.subresource)
        if self.operation == "Apply":
            return mine == theirs
        return mine == theirs and self.api_version == other.api_version

    def shown(self) -> str:
        """As conflicts name it."""
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        if self.operation == "Update":
            text += f" using {self.api_version}"
        return text

    def entry(self) -> Object:
        out: Object = {
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": fieldsets.encode(self.fields),
        }
        if self.subresource:
            out["subresource"] = self.subresource
        return out


def owners_of(metadata: Object) -> list[Owner]:
    """The entries of managedFields; an entry that cannot be read makes the whole list count as empty."""
    found = []
    try:
        for entry in metadata.get("managedFields") or ():
            found.append(
                Owner(
                    manager=entry.get("manager", ""),
                    operation=entry.get("operation", ""),
                    api_version=entry.get("apiVersion", ""),
                    subresource=entry.get("subresource", ""),
                    time=entry.get("time") or "",
                    fields=fieldsets.decode(entry.get("fieldsV1") or {}),
                )
            )
    except (fieldsets.FieldError, AttributeError):
        return []
    return found


def _entries(owners: Sequence[Owner]) -> list[Object]:
    kept = [one for one in owners if one.fields]
    kept.sort(
        key=lambda one: (one.operation, one.time, one.manager, one.api_version, one.subresource)
    )
    return [one.entry() for one in kept]


@dataclass(frozen=True, slots=True)
class Applied:
    """The object to store, with its new managedFields; `changed` is False for an apply that changes nothing."""

    object: Object
    changed: bool


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

    Raises ApplyConflict, BadRequest for a configuration that names managedFields, and Unclassified for one that does
    not fit the schema.
    """
    if (applied.get("metadata") or {}).get("managedFields") is not None:
        raise BadRequest("metadata.managedFields must be nil")
    if problems := fitting.problems(applied, schema):
        raise _untyped(applied, fitting.listed(problems))
    configuration = copy(applied)
    configuration.get("metadata", {}).pop("managedFields", None)
    base: Object = live if live is not None else {}
    owners = owners_of(base.get("metadata") or {})
    moment = times.text(now)
    if live is not None and not owners:
        owners = [_before_first(live, schema, moment)]
    try:
        claimed = _claimed(configuration, schema, subresource)
        merged = merge(_without_managed(base), configuration, schema)
    except fieldsets.FieldError as error:
        raise _untyped(applied, str(error)) from error
    mine = Owner(manager, "Apply", str(applied.get("apiVersion", "")), subresource, moment, claimed)
    return _settle(base, merged, mine, owners, schema=schema, force=force)


def _before_first(live: Object, schema: Type, moment: str) -> Owner:
    everything = compare(blank_object(schema), _without_managed(live), schema).without(_SYSTEM)
    version = str(live.get("apiVersion", ""))
    return Owner(BEFORE_FIRST_APPLY, "Update", version, "", moment, everything.changed)


def _claimed(configuration: Object, schema: Type, subresource: str) -> FieldSet:
    ignored = _SYSTEM if subresource or "status" not in schema.fields else (*_SYSTEM, STATUS)
    return drop(fieldsets.of_value(configuration, schema), ignored)


def _untyped(applied: Object, problem: str) -> Unclassified:
    metadata, gvk = applied.get("metadata") or {}, gvk_of(applied)
    where = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
    kind = f"{gvk.group}/{gvk.version}, Kind={gvk.kind}"
    return Unclassified(f"failed to create typed patch object ({where}; {kind}): {problem}")


def _settle(
    base: Object, merged: Object, mine: Owner, owners: Sequence[Owner], *, schema: Type, force: bool
) -> Applied:
    others = [one for one in owners if not one.same_as(mine)]
    before = next((one for one in owners if one.same_as(mine)), None)
    if before is not None:
        merged = _prune(merged, before.fields, [mine, *others], schema)
    live = _without_managed(base)
    difference = compare(live, merged, schema).without(_SYSTEM)
    conflicts = [(one, path) for one in others for path in sorted(one.fields & difference.changed)]
    if conflicts and not force:
        raise ApplyConflict(conflicts)
    taken = difference.changed
    others = [replace(one, fields=one.fields - taken - difference.removed) for one in others]
    if (
        before is not None
        and before.fields == mine.fields
        and before.api_version == mine.api_version
    ):
        mine = replace(mine, time=before.time)
    result: Object = dict(merged)
    entries = _entries([mine, *others])
    result["metadata"] = {**(merged.get("metadata") or {}), "managedFields": entries}
    if not entries:
        del result["metadata"]["managedFields"]
    stored = (base.get("metadata") or {}).get("managedFields") or []
    changed = bool(difference.changed or difference.removed) or entries != stored
    return Applied(result, changed)


def _prune(merged: Object, last: FieldSet, managers: Sequence[Owner], schema: Type) -> Object:
    """Remove what this manager owned last time, unless somebody owns it now."""
    owned = frozenset().union(*(one.fields for one in managers))
    # An applied configuration always has a name, so that metadata as such stays.
    kept = fieldsets.with_named_parents(owned, schema) | {("f:metadata",)}
    gone = fieldsets.with_named_parents(last, schema) - kept
    return remove(merged, gone, schema) if gone else merged


def _conflict_text(conflicts: Sequence[tuple[Owner, FieldPath]]) -> str:
    if len(conflicts) == 1:
        owner, path = conflicts[0]
        return (
            f"Apply failed with 1 conflict: conflict with {owner.shown()}: {fieldsets.show(path)}"
        )
    lines = []
    for shown in sorted({owner.shown() for owner, _ in conflicts}):
        lines.append(f"conflicts with {shown}:")
        lines += [
            f"- {fieldsets.show(path)}" for owner, path in conflicts if owner.shown() == shown
        ]
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)


def track_update(
    live: Object | None,
    new: Object,
    *,
    manager: str,
    schema: Type,
    now: float,
    subresource: str = "",
) -> list[Object]:
    """The managedFields after a create, update or patch by `manager`.

    `new` may carry managedFields of its own: they replace the live ones (an empty list resets them).
    """
    if live is None and "managedFields" not in new.get("metadata", {}):
        first = _first_entry(new, manager, schema, now, subresource)
        if first is not None:
            return first
    stored = new if "managedFields" in new.get("metadata", {}) else live or {}
    owners = owners_of(stored.get("metadata") or {})
    ignored = _SYSTEM if subresource or "status" not in schema.fields else (*_SYSTEM, STATUS)
    old = _filled(_without_managed(live or {}), blank_object(schema))
    difference = compare(old, _without_managed(new), schema).without(ignored)
    wanted = Owner(
        manager,
        "Update",
        str(new.get("apiVersion", "")),
        subresource,
        times.text(now),
        fieldsets.EMPTY,
    )
    before = next((one for one in owners if one.same_as(wanted)), None)
    mine = (before.fields if before else fieldsets.EMPTY) | difference.changed
    mine -= difference.removed
    others = [
        replace(one, fields=one.fields - difference.changed - difference.removed)
        for one in owners
        if before is None or not one.same_as(wanted)
    ]
    moment = before.time if before is not None and before.fields == mine else wanted.time
    return _entries(_capped([*others, replace(wanted, fields=mine, time=moment)], wanted.time))


def _first_entry(
    new: Object, manager: str, schema: Type, now: float, subresource: str
) -> list[Object] | None:
    """The managedFields of a creation, as `track_update` makes them; None where only the comparison can tell."""
    ignored = UNOWNED if subresource or "status" not in schema.fields else UNOWNED_WITH_STATUS
    fields = claims.created(new, schema, blank=blank_object(schema), ignored=ignored)
    if fields is None:
        return None
    if not fields:
        return []
    version = str(new.get("apiVersion", ""))
    owner = Owner(manager, "Update", version, subresource, times.text(now), fieldsets.EMPTY)
    return [{**owner.entry(), "fieldsV1": fields}]


def _capped(owners: list[Owner], moment: str) -> list[Owner]:
    """At most ten Update entries: the oldest are merged (NewCapManagersManager)."""
    updates = sorted(
        (one for one in owners if one.operation == "Update" and one.fields),
        key=lambda one: one.time,
    )
    surplus = len(updates) - MAX_UPDATE_ENTRIES
    if surplus <= 0:
        return owners
    old = updates[: surplus + 1]
    version = old[-1].api_version
    merged = frozenset().union(*(one.fields for one in old))
    ancient = Owner(ANCIENT, "Update", version, "", old[-1].time or moment, merged)
    return [*(one for one in owners if one not in old), ancient]


def _without_managed(obj: Object) -> Object:
    metadata = {
        key: value for key, value in (obj.get("metadata") or {}).items() if key != "managedFields"
    }
    return {**obj, "metadata": metadata}


# Struct fields that Go holds by value: an empty object has them, so that nobody "adds" them.
_BY_VALUE = (
    "metadata",
    "spec",
    "status",
    "template",
    "strategy",
    "updateStrategy",
    "jobTemplate",
    "loadBalancer",
)


def _filled(obj: Object, blank: Object) -> Object:
    """The object with the empty structs that Go always has."""
    out = dict(obj)
    for key, value in blank.items():
        if key not in out:
            out[key] = value
        elif isinstance(value, dict) and isinstance(out[key], dict):
            out[key] = _filled(out[key], value)
    return out


def blank_object(schema: Type) -> Object:
    """Shared: not to be changed."""
    found: Object | None = schema.derived.get(__name__)
    if found is None:
        found = schema.derived[__name__] = {"metadata": {}, **_blank(schema)}
    return found


def _blank(schema: Type, depth: int = 0) -> Object:
    """What an object without any content looks like to the comparison."""
    out: Object = {}
    for name in _BY_VALUE:
        if name in schema.fields and depth < 4 and schema.fields[name].kind == "struct":
            out[name] = _blank(schema.fields[name], depth + 1)
    for name in schema.required:
        if name in schema.fields and schema.fields[name].kind in ("list", "map"):
            out.setdefault(name, None)
    return out
