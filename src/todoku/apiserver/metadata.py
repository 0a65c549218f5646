"""What the server does to every object's metadata before it is stored (rest.BeforeCreate, rest.BeforeUpdate)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import msgspec

from todoku.api import errors, names, times
from todoku.api.errors import FieldError
from todoku.api.meta import Object
from todoku.apiserver.catalog import Served

MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)
_sorted = msgspec.json.Encoder(order="sorted").encode
_OWN = ("kind", "apiVersion", "metadata", "status")
_SYSTEM = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


def settle_namespace(served: Served, obj: Object, namespace: str) -> None:
    """The object's namespace is the request's.  Raises BadRequest when it names another."""
    metadata = obj["metadata"]
    own = metadata.get("namespace", "")
    if own and own != namespace and served.resource.namespaced:
        raise errors.BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if served.resource.namespaced:
        metadata["namespace"] = namespace
    elif not own:
        metadata.pop("namespace", None)


def before_create(served: Served, obj: Object, now: float) -> None:
    """Fill the metadata of a new object in place; its strategy has not been asked yet."""
    metadata = obj["metadata"]
    if metadata.get("resourceVersion"):
        raise errors.Unclassified("resourceVersion should not be set on objects to be created")
    for key in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"):
        metadata.pop(key, None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = times.text(now)
    if served.resource.strategy.has_generation:
        metadata["generation"] = 1
    else:
        metadata.pop("generation", None)
    _drop_empty(metadata)


def merge_owners(obj: Object, warnings: list[str], *, admitted: bool = False) -> None:
    """Drop owner references that are there twice, in place, and warn of them."""
    references = obj["metadata"].get("ownerReferences") or ()
    if len(references) < 2:
        return
    kept: dict[bytes, Object] = {}
    again: list[str] = []
    for one in references:
        text = _sorted(one)
        if text in kept:
            again.append(one.get("uid", ""))
        else:
            kept[text] = one
    if again:
        obj["metadata"]["ownerReferences"] = list(kept.values())
        when = " after mutating admission happens" if admitted else ""
        warnings.append(
            f".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in"
            " 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s)"
            f" observed: {', '.join(again)}"
        )


def generate_name(metadata: Object) -> bool:
    """Give a name if only generateName is there; returns whether it did."""
    if metadata.get("name") or not metadata.get("generateName"):
        return False
    metadata["name"] = names.generate(metadata["generateName"])
    return True


def before_update(served: Served, new: Object, old: Object, *, owned: bool = False) -> None:
    """Restore in place what clients cannot change; `owned`: managedFields are made already, if there are any."""
    fresh, stored = new["metadata"], old["metadata"]
    for key in (*_SYSTEM, "generation", "generateName", "namespace", "name"):
        if key in stored:
            fresh[key] = stored[key]
        else:
            fresh.pop(key, None)
    fresh.pop("selfLink", None)
    fresh["resourceVersion"] = stored["resourceVersion"]
    if not owned and "managedFields" not in fresh and "managedFields" in stored:
        fresh["managedFields"] = stored["managedFields"]
    _drop_empty(fresh)


def raise_generation(served: Served, new: Object, old: Object) -> None:
    """generation counts the changes of what is neither metadata nor status (unless the kind says otherwise)."""
    strategy = served.resource.strategy
    if not strategy.has_generation:
        return
    if strategy.generation_of is not None:
        changed = strategy.generation_of(new) != strategy.generation_of(old)
    else:
        ignored = _OWN if strategy.has_status else _OWN[:-1]
        changed = _desired(new, ignored) != _desired(old, ignored)
    if changed:
        new["metadata"]["generation"] = int(old["metadata"].get("generation", 0)) + 1


def _desired(obj: Object, ignored: tuple[str, ...]) -> Object:
    return {key: value for key, value in obj.items() if key not in ignored}


def _drop_empty(metadata: Object) -> None:
    for key in ("labels", "annotations", "finalizers", "ownerReferences", "managedFields"):
        if key in metadata and not metadata[key]:
            del metadata[key]


def same(new: Object, old: Object) -> bool:
    """Whether nothing would change but the times in managedFields (and resourceVersion)."""
    if {k: v for k, v in new.items() if k != "metadata"} != {
        k: v for k, v in old.items() if k != "metadata"
    }:
        return False
    return _comparable(new["metadata"]) == _comparable(old["metadata"])


def _comparable(metadata: Object) -> Object:
    plain = {k: v for k, v in metadata.items() if k not in ("resourceVersion", "managedFields")}
    plain["managedFields"] = [
        {k: v for k, v in entry.items() if k != "time"}
        for entry in metadata.get("managedFields", ())
    ]
    return plain


_PRECONDITIONS = (
    ("uid", "UID", "The object might have been deleted and then recreated"),
    ("resourceVersion", "ResourceVersion", "The object might have been modified"),
)


def check_preconditions(
    served: Served, metadata: Object, preconditions: Mapping[str, object] | None
) -> None:
    """Raises Conflict unless uid and resourceVersion are as the deleting client expects; it names the kind."""
    wanted = preconditions or {}
    for key, word, perhaps in _PRECONDITIONS:
        expected, found = wanted.get(key), metadata.get(key)
        if expected is not None and expected != found:
            one = served.resource
            kind = f"{one.kind}.{one.group}" if one.group else one.kind
            why = f"the {word} in the precondition ({expected}) does not match the {word} in record ({found}). {perhaps}"
            raise errors.Conflict.of(kind, metadata["name"], why)


def check_uid(served: Served, new: Object, old: Object) -> None:
    """Raises Conflict when the object that replaces `old` says that it is another one."""
    expected, found = new["metadata"].get("uid"), old["metadata"].get("uid")
    if expected and expected != found:
        meta, one = old["metadata"], served.resource
        parts = ("" if served.typed else one.group, one.plural, meta.get("namespace"), meta["name"])
        key = "/".join(("/registry", *(part for part in parts if part)))  # as upstream keeps it
        why = (
            f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg:"
            f" Precondition failed: UID in precondition: {expected}, UID in object meta: {found}"
        )
        raise errors.Conflict.of(served.name, meta["name"], why)


def refuse(served: Served, obj: Object, problems: list[FieldError]) -> None:
    """Raise Invalid if there are problems."""
    if problems:
        metadata = obj["metadata"]
        name = metadata.get("name") or metadata.get("generateName") or ""
        raise errors.Invalid.of(served.resource.kind, served.resource.group, name, problems)
