"""Ownership of one field of an object that is applied through another kind (spec.replicas through a Scale).

Semantics: k8s.io/apimachinery util/managedfields ScaleHandler.
"""

from __future__ import annotations

from todoku.api.meta import Object
from todoku.api.patches import fieldsets
from todoku.api.patches.fieldsets import FieldPath


def shown(
    owners: list[Object], field: FieldPath, *, as_: FieldPath, api_version: str
) -> list[Object]:
    """The entries of managedFields that own `field`, as those of the other kind, which calls it `as_`."""
    fields = {"fieldsV1": fieldsets.encode(frozenset({as_})), "apiVersion": api_version}
    return [one | fields for one in owners if _owns(one, field)]


def merged(
    owners: list[Object], applied: list[Object], field: FieldPath, *, api_version: str
) -> list[Object]:
    """The object's managedFields after the apply left `applied` on the other kind: who lost the field, who has it."""
    left = {_identity(one): one for one in applied}
    out: list[Object] = []
    for one in owners:
        if _owns(one, field) and left.pop(_identity(one), None) is None:
            fields = fieldsets.decode(one["fieldsV1"]) - {field}
            if fields:
                out.append(one | {"fieldsV1": fieldsets.encode(fields)})
        else:
            out.append(one)
    mine = {"fieldsV1": fieldsets.encode(frozenset({field})), "apiVersion": api_version}
    return [*out, *(one | mine for one in left.values())]


def _owns(entry: Object, field: FieldPath) -> bool:
    return field in fieldsets.decode(entry.get("fieldsV1") or {})


def _identity(entry: Object) -> tuple[str, ...]:
    return tuple(str(entry.get(key, "")) for key in ("manager", "operation", "subresource"))
