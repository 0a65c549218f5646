"""CustomResourceDefinitions: their structural schemas, and the definitions themselves.

`structural(version)` compiles one entry of `spec.versions`; the `Structural` prunes, defaults, validates and gives the
`Type` for patches.  `definitions(crd, version)` is what OpenAPI publishes; `definition_problems` validates a CRD.
"""

from todoku.api.crd.definition import (
    default_definition,
    definition_problems,
    examine,
    prepare_create,
    prepare_status,
    prepare_update,
    status_problems,
)
from todoku.api.crd.formats import format_warnings
from todoku.api.crd.publish import definitions
from todoku.api.crd.structural import Structural, structural
from todoku.api.crd.types import type_of_schema

__all__ = [
    "Structural",
    "default_definition",
    "definition_problems",
    "definitions",
    "examine",
    "format_warnings",
    "prepare_create",
    "prepare_status",
    "prepare_update",
    "status_problems",
    "structural",
    "type_of_schema",
]
