"""What `/ephemeralcontainers` and `/resize` may change in a pod (ValidatePodEphemeralContainersUpdate, ValidatePodResize)."""

from __future__ import annotations

from todoku.api.errors import WHOLE, FieldError, Path, forbidden, invalid
from todoku.api.meta import Object, copy
from todoku.api.podspec.annotations import MIRROR
from todoku.api.podspec.qos import qos_class
from todoku.api.resources.generic import keep_metadata
from todoku.api.resources.pod import changed_fields, whole_problems

_SPEC = Path("spec")
_LISTS = ("containers", "initContainers")
_COMPUTE = ("cpu", "memory")


def ephemeral_problems(new: Object, old: Object) -> list[FieldError]:
    """Ephemeral containers may only be added."""
    if MIRROR in (old["metadata"].get("annotations") or {}):
        return [forbidden(WHOLE, "static pods do not support ephemeral containers")]
    path = _SPEC / "ephemeralContainers"
    problems = whole_problems(new)
    after = {one.get("name"): one for one in new["spec"].get("ephemeralContainers") or ()}
    for one in old["spec"].get("ephemeralContainers") or ():
        name = one["name"]
        if name not in after:
            text = f'existing ephemeral containers "{name}" may not be removed\n'
            problems.append(forbidden(path, text))
        elif after[name] != one:
            changed = ", ".join(changed_fields(one, after[name], str(path)))
            text = f'existing ephemeral containers "{name}" may not be changed\n{changed}'
            problems.append(forbidden(path, text))
    return problems


def keep_all_but_resources(new: Object, old: Object) -> None:
    """Restore in `new` all but the resources that a resize may change (dropNonResizeUpdates).

    Containers that were added, removed, renamed or moved stay as they are wanted: validation names them.
    """
    wanted = new.get("spec") or {}
    kept: Object = copy(old)
    for field in _LISTS:
        fresh, stored = wanted.get(field) or [], kept["spec"].get(field) or []
        if [one.get("name") for one in fresh] != [one.get("name") for one in stored]:
            kept["spec"][field] = fresh
            continue
        for container, asked in zip(stored, fresh, strict=True):
            _take(container, asked, "resources", "resizePolicy")
    _take(kept["spec"], wanted, "resources")
    kept["metadata"] = new["metadata"]
    keep_metadata(kept, old)
    new.clear()
    new.update(kept)


def _take(target: Object, source: Object, *fields: str) -> None:
    for field in fields:
        if source.get(field) is None:
            target.pop(field, None)
        else:
            target[field] = source[field]


def resize_problems(new: Object, old: Object) -> list[FieldError]:
    """cpu and memory of containers may change, within the pod's quality of service."""
    fresh, stored = new["spec"], old["spec"]
    problems = whole_problems(new)
    if MIRROR in (old["metadata"].get("annotations") or {}):
        return [forbidden(WHOLE, "static pods cannot be resized")]
    if (stored.get("os") or {}).get("name") == "windows":
        return [forbidden(WHOLE, "windows pods cannot be resized")]
    status = old.get("status") or {}
    if (status.get("qosClass") or qos_class(stored)) != qos_class(fresh):
        text = "Pod QOS Class may not change as a result of resizing"
        problems.append(invalid(_SPEC, (new.get("status") or {}).get("qosClass") or "", text))
    if not _supported(status):
        problems.append(forbidden(_SPEC, "Pod running on node without support for resize"))
    problems += _pod_level(fresh, stored)
    found = _order(fresh, stored)
    if found:
        return problems + found
    for field in ("initContainers", "containers"):
        for index, before in enumerate(stored.get(field) or ()):
            after = fresh[field][index]
            problems += _removed(after, before, _SPEC / field / index / "resources")
    problems += _other_changes(fresh, stored)
    if not problems and changed_fields(stored, _resources_undone(fresh, stored)):
        problems.append(forbidden(_SPEC, "only cpu and memory resources are mutable"))
    return problems


def _supported(status: Object) -> bool:
    """A node that can resize reports the resources of what runs."""
    for one in status.get("containerStatuses") or ():
        if (one.get("state") or {}).get("running") is not None:
            return one.get("resources") is not None
    return True


def _pod_level(fresh: Object, stored: Object) -> list[FieldError]:
    """validatePodLevelResourcesResize."""
    after, before, at = fresh.get("resources"), stored.get("resources"), _SPEC / "resources"
    if before is not None and after is None:
        return [forbidden(at, "pod-level resources cannot be removed")]
    problems: list[FieldError] = []
    for field in ("requests", "limits") if before is not None else ():
        if _gone(after, before, field):
            text = f"pod-level resource {field} cannot be removed"
            problems.append(forbidden(at / field, text))
    if after is not None and _not_compute(after) != _not_compute(before):
        problems.append(forbidden(_SPEC, "only cpu and memory resources are mutable at pod-level"))
    return problems


def _order(fresh: Object, stored: Object) -> list[FieldError]:
    """validatePodResizeContainerOrdering."""
    problems: list[FieldError] = []
    for field in _LISTS:
        after, before = fresh.get(field) or (), stored.get(field) or ()
        if len(after) != len(before):
            text = f"{field} may not be added or removed on resize"
            problems.append(forbidden(_SPEC / field, text))
            continue
        text = f"{field} may not be renamed or reordered on resize"
        problems += [
            forbidden(_SPEC / field / index / "name", text)
            for index, (one, other) in enumerate(zip(after, before, strict=True))
            if one.get("name") != other.get("name")
        ]
    return problems


def _removed(after: Object, before: Object, path: Path) -> list[FieldError]:
    return [
        forbidden(path / field, f"resource {field} cannot be removed")
        for field in ("requests", "limits")
        if _gone(after.get("resources"), before.get("resources"), field)
    ]


def _gone(after: Object | None, before: Object | None, field: str) -> bool:
    return bool(set((before or {}).get(field) or ()) - set((after or {}).get(field) or ()))


def _other_changes(fresh: Object, stored: Object) -> list[FieldError]:
    """Changes of a container that are more than cpu and memory."""
    problems: list[FieldError] = []
    for after, before in zip(
        fresh.get("containers") or (), stored.get("containers") or (), strict=True
    ):
        if changed_fields(before, _undone(after, before)):
            problems.append(forbidden(_SPEC, "only cpu and memory resources are mutable"))
    pairs = zip(fresh.get("initContainers") or (), stored.get("initContainers") or (), strict=True)
    for index, (after, before) in enumerate(pairs):
        at = _SPEC / "initContainers" / index
        if changed_fields(before, _undone(after, before)):
            text = "only cpu and memory resources for init or sidecar containers are mutable"
            problems.append(forbidden(at, text))
        policies = {one.get("restartPolicy") for one in after.get("resizePolicy") or ()}
        changed = bool(changed_fields(before, after))
        if changed and after.get("restartPolicy") != "Always" and "RestartContainer" in policies:
            text = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized"
            problems.append(forbidden(at, text))
    return problems


def _undone(after: Object, before: Object) -> Object:
    """The container with its old cpu and memory; the claims of a resize are not looked at."""
    return {**after, "resources": _with_compute_of(after.get("resources"), before.get("resources"))}


def _with_compute_of(after: Object | None, before: Object | None) -> Object:
    found: Object = {}
    for field in ("requests", "limits"):
        amounts = {
            name: amount
            for name, amount in ((after or {}).get(field) or {}).items()
            if name not in _COMPUTE
        }
        old = (before or {}).get(field) or {}
        amounts |= {name: old[name] for name in _COMPUTE if name in old}
        if amounts:
            found[field] = amounts
    return found


def _not_compute(resources: Object | None) -> Object:
    return _with_compute_of(resources, None)


def _resources_undone(fresh: Object, stored: Object) -> Object:
    undone = dict(fresh)
    for field in _LISTS:
        if field in fresh:
            pairs = zip(fresh[field], stored[field], strict=True)
            undone[field] = [_undone(after, before) for after, before in pairs]
    undone["resources"] = _with_compute_of(fresh.get("resources"), stored.get("resources"))
    return undone
