"""Namespace (core/v1)."""

from __future__ import annotations

from todoku.api import validation
from todoku.api.errors import FieldError, Path, invalid
from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import AGE, NAME, keep_all_but_status
from todoku.api.resources.rules import Rules
from todoku.api.tables import created

NAME_LABEL = "kubernetes.io/metadata.name"
FINALIZER = "kubernetes"


def _default(obj: Object) -> None:
    """Labels a namespace with its name; one that has still to get a name is labelled when it is prepared."""
    metadata = obj["metadata"]
    if metadata.get("name"):
        labels = metadata.get("labels") or {}
        labels[NAME_LABEL] = metadata["name"]
        metadata["labels"] = labels


def _prepare_create(obj: Object) -> None:
    _default(obj)
    obj["status"] = {"phase": "Active"}
    spec = obj.get("spec") or {}
    finalizers = list(spec.get("finalizers") or ())
    if FINALIZER not in finalizers:
        finalizers.append(FINALIZER)
    obj["spec"] = {**spec, "finalizers": finalizers}


def _prepare_update(new: Object, old: Object) -> None:
    """Finalizers of the spec change through `/finalize` only."""
    new["spec"] = old.get("spec") or {}
    new["status"] = old.get("status") or {}


_FINALIZERS = Path("spec") / "finalizers"


def _validate(new: Object, old: Object | None) -> list[FieldError]:
    if old is not None:
        return []
    return [
        problem
        for one in new["spec"].get("finalizers") or ()
        for problem in validation.finalizer_name(one, _FINALIZERS, _FINALIZERS)
    ]


def finalize_problems(new: Object, old: Object) -> list[FieldError]:
    """Of `/finalize`, which says which one it means."""
    return [
        problem
        for index, one in enumerate((new.get("spec") or {}).get("finalizers") or ())
        for problem in validation.finalizer_name(one, _FINALIZERS / index, _FINALIZERS / index)
    ]


def _validate_status(new: Object, old: Object) -> list[FieldError]:
    phase = (new.get("status") or {}).get("phase", "")
    deleting = bool(new["metadata"].get("deletionTimestamp"))
    if deleting and phase != "Terminating":
        text = "may only be 'Terminating' if `deletionTimestamp` is not empty"
        return [invalid(Path("status") / "Phase", phase, text)]
    if not deleting and phase != "Active":
        text = "may only be 'Active' if `deletionTimestamp` is empty"
        return [invalid(Path("status") / "Phase", phase, text)]
    return []


def _selectable(obj: Object) -> dict[str, str]:
    return {"status.phase": (obj.get("status") or {}).get("phase", "")}


NAMESPACE = Rules(
    strategy=Strategy(
        default=_default,
        prepare_create=_prepare_create,
        prepare_update=_prepare_update,
        prepare_status=keep_all_but_status,
        validate=_validate,
        validate_status=_validate_status,
        selectable_fields=_selectable,
        selectable_field_names=("status.phase",),
        has_generation=False,
        delete_returns_object=True,
    ),
    columns=(NAME, Column(name="Status", description="The status of the namespace"), AGE),
    row=lambda obj: [
        obj["metadata"]["name"],
        (obj.get("status") or {}).get("phase", ""),
        created(obj),
    ],
)
