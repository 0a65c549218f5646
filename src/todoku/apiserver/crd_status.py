"""The status of a CustomResourceDefinition: which names it has been given, and its conditions.

Semantics: apiextensions-apiserver controllers status (naming), establish, apiapproval and finalizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from todoku.api.crd.definition import approval
from todoku.api.meta import Object, copy


def condition(crd: Object, kind: str) -> Object | None:
    for one in crd.get("status", {}).get("conditions") or ():
        if one.get("type") == kind:
            found: Object = one
            return found
    return None


def is_true(crd: Object, kind: str) -> bool:
    found = condition(crd, kind)
    return found is not None and found.get("status") == "True"


def accepted_names(crd: Object, others: Iterable[Object]) -> tuple[Object, str, str]:
    """The names that the definition holds from now on, and why it does not get all: a reason and a message, or "".

    `others` are the definitions of the same group; what they were given first they keep.
    """
    wanted, held = crd["spec"]["names"], crd.get("status", {}).get("acceptedNames") or {}
    resources, kinds = _taken(others)
    names: Object = copy(held)
    reason = message = ""
    for field, taken, word in (
        ("plural", resources, "PluralConflict"),
        ("singular", resources, "SingularConflict"),
        ("shortNames", resources, "ShortNamesConflict"),
        ("kind", kinds, "KindConflict"),
        ("listKind", kinds, "ListKindConflict"),
    ):
        conflicts = _conflicts(wanted.get(field), held.get(field), taken)
        if conflicts:
            reason, message = word, conflicts
        else:
            _keep(names, field, wanted)
    _keep(names, "categories", wanted)
    return names, reason, message


def _taken(others: Iterable[Object]) -> tuple[set[str], set[str]]:
    resources: set[str] = set()
    kinds: set[str] = set()
    for other in others:
        held = other.get("status", {}).get("acceptedNames") or {}
        resources.update(name for name in (held.get("plural"), held.get("singular")) if name)
        resources.update(held.get("shortNames") or ())
        kinds.update(name for name in (held.get("kind"), held.get("listKind")) if name)
    return resources, kinds


def _conflicts(
    wanted: str | Sequence[str] | None, held: str | Sequence[str] | None, taken: set[str]
) -> str:
    names = [wanted] if isinstance(wanted, str) else list(wanted or ())
    own = [held] if isinstance(held, str) else list(held or ())
    texts = [f'"{one}" is already in use' for one in names if one in taken and one not in own]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]" if texts else ""


def _keep(names: Object, field: str, wanted: Object) -> None:
    if wanted.get(field):
        names[field] = copy(wanted[field])
    else:
        names.pop(field, None)


def status_of(crd: Object, others: Iterable[Object], now: str) -> Object:
    """The status that the definition should have; conditions keep their times unless they change."""
    status: Object = copy(crd.get("status") or {})
    conditions = list(status.get("conditions") or ())
    status["acceptedNames"], reason, message = accepted_names(crd, others)
    if reason:
        _set(conditions, "NamesAccepted", "False", reason, message, now)
        if condition(crd, "Established") is None:
            text = "not all names are accepted"
            _set(conditions, "Established", "False", "NotAccepted", text, now)
    else:
        _set(conditions, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now)
        if not is_true(crd, "Established"):
            text = "the initial names have been accepted"
            _set(conditions, "Established", "True", "InitialNamesAccepted", text, now)
    state, why = approval(crd)
    if state:
        word, holds = _APPROVALS[state]
        _set(conditions, "KubernetesAPIApprovalPolicyConformant", holds, word, why, now)
    status["conditions"] = conditions
    stored = status.setdefault("storedVersions", [])
    for version in crd["spec"]["versions"]:
        if version.get("storage") and version["name"] not in stored:
            stored.append(version["name"])
    return status


_APPROVALS = {
    "Missing": ("MissingAnnotation", "False"),
    "Invalid": ("InvalidAnnotation", "False"),
    "Bypassed": ("UnapprovedAnnotation", "False"),
    "Approved": ("ApprovedAnnotation", "True"),
}


def terminating(crd: Object, now: str) -> Object:
    """The status while the objects of a deleted definition are being removed."""
    status: Object = copy(crd.get("status") or {})
    conditions = list(status.get("conditions") or ())
    text = "CustomResource deletion is in progress"
    _set(conditions, "Terminating", "True", "InstanceDeletionInProgress", text, now)
    return status | {"conditions": conditions}


def _set(
    conditions: list[Object], kind: str, status: str, reason: str, message: str, now: str
) -> None:
    fresh = {
        "type": kind,
        "status": status,
        "lastTransitionTime": now,
        "reason": reason,
        "message": message,
    }
    for index, one in enumerate(conditions):
        if one.get("type") == kind:
            if one.get("status") == status:
                fresh["lastTransitionTime"] = one.get("lastTransitionTime", now)
            conditions[index] = fresh
            return
    conditions.append(fresh)
