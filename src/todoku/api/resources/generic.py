"""Rules that many kinds share: the split of spec and status, required fields, the plain table."""

from __future__ import annotations

from typing import Any

from todoku.api import schemas
from todoku.api.errors import FieldError, Path, required
from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.rules import Rules
from todoku.api.schemas import Type

_OWN = ("apiVersion", "kind", "metadata")


def holds(status: Object, kind: str) -> bool:
    """Whether a condition is True."""
    return any(
        one.get("type") == kind and one.get("status") == "True"
        for one in status.get("conditions") or ()
    )


def clear_status(new: Object) -> None:
    """A create never brings a status; it is a struct in Go, which an empty one shows too."""
    new["status"] = {}


def keep_status(new: Object, old: Object) -> None:
    """A write of the main resource keeps the stored status."""
    new["status"] = old.get("status") or {}


def keep_all_but_status(new: Object, old: Object) -> None:
    """A write of `/status` changes status (and metadata) only."""
    for field in [key for key in new if key not in (*_OWN, "status")]:
        if field not in old:
            del new[field]
    for field, value in old.items():
        if field not in (*_OWN, "status"):
            new[field] = value


def keep_labels(new: Object, old: Object) -> None:
    """Some kinds' `/status` leaves the labels alone as well."""
    labels = old["metadata"].get("labels")
    if labels is None:
        new["metadata"].pop("labels", None)
    else:
        new["metadata"]["labels"] = labels


def keep_metadata(new: Object, old: Object) -> None:
    """Restore all metadata but managedFields (ResetObjectMetaForStatus)."""
    owners = new["metadata"].get("managedFields")
    new["metadata"] = dict(old["metadata"])
    if owners is not None:
        new["metadata"]["managedFields"] = owners


def keep_all_but_status_and_labels(new: Object, old: Object) -> None:
    keep_all_but_status(new, old)
    keep_labels(new, old)


def keep_all_but_own_status(new: Object, old: Object) -> None:
    """Some kinds' `/status` leaves all metadata alone (ResetObjectMetaForStatus)."""
    keep_all_but_status(new, old)
    for field in _OWN_METADATA:
        if field in old["metadata"]:
            new["metadata"][field] = old["metadata"][field]
        else:
            new["metadata"].pop(field, None)


_OWN_METADATA = ("labels", "annotations", "finalizers", "ownerReferences")


def generic_rules(schema: str, *, has_status: bool) -> Rules:
    """Rules of a kind without a file of its own: what its schema can say."""
    return Rules(strategy=generic_strategy(schema, has_status=has_status))


def generic_strategy(schema: str, *, has_status: bool) -> Strategy:
    """The split of spec and status, and required fields; the schema is read when it is first needed."""

    def validate(new: Object, old: Object | None) -> list[FieldError]:
        return missing_fields(new, schemas.type_of(schema))

    if not has_status:
        return Strategy(validate=validate, has_status=False)
    return Strategy(
        prepare_create=clear_status,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=validate,
    )


def missing_fields(obj: Object, type_: Type) -> list[FieldError]:
    """`Required value` for every required field that is absent, outside metadata and status."""
    problems: list[FieldError] = []
    for field in type_.fields:
        if field in (*_OWN, "status"):
            continue
        path = Path(field)
        if field in obj:
            _walk(obj[field], type_.fields[field], path, problems)
        elif field in type_.required:
            problems.append(required(path))
    return problems


def _walk(value: Any, type_: Type, path: Path, problems: list[FieldError]) -> None:
    if type_.kind == "struct" and isinstance(value, dict):
        for field in type_.required:
            if value.get(field) in (None, "") and type_.fields[field].kind not in _ZERO:
                problems.append(required(path / field))
        for field, child in value.items():
            if field in type_.fields:
                _walk(child, type_.fields[field], path / field, problems)
    elif type_.kind == "list" and isinstance(value, list) and type_.items is not None:
        for index, child in enumerate(value):
            _walk(child, type_.items, path / index, problems)
    elif type_.kind == "map" and isinstance(value, dict) and type_.items is not None:
        for key, child in value.items():
            _walk(child, type_.items, path.key(key), problems)


# Left out, these are what Go begins with.
_ZERO = ("boolean", "integer", "number")

NAME = Column(name="Name", format="name", documents="meta.v1.ObjectMeta.name")
AGE = Column(name="Age", documents="meta.v1.ObjectMeta.creationTimestamp")
# What a kind without columns of its own shows.
CREATED_AT = Column(
    name="Created At", type="date", documents="meta.v1.ObjectMeta.creationTimestamp"
)
