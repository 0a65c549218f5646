"""CustomResourceDefinition (apiextensions.k8s.io/v1); the rules are in `todoku.api.crd`."""

from __future__ import annotations

from todoku.api import crd
from todoku.api.errors import FieldError
from todoku.api.meta import Object
from todoku.api.resource import Strategy
from todoku.api.resources.generic import CREATED_AT, NAME
from todoku.api.resources.rules import Rules


def _validate(new: Object, old: Object | None) -> list[FieldError]:
    return crd.definition_problems(new, old)


CUSTOM_RESOURCE_DEFINITION = Rules(
    strategy=Strategy(
        default=crd.default_definition,
        prepare_create=crd.prepare_create,
        prepare_update=crd.prepare_update,
        prepare_status=crd.prepare_status,
        validate=_validate,
        validate_status=crd.status_problems,
        warnings=crd.format_warnings,
        examine=crd.examine,
    ),
    columns=(NAME, CREATED_AT),
    row=lambda obj: [
        obj["metadata"]["name"],
        obj["metadata"].get("creationTimestamp") or "<unknown>",
    ],
)
