"""Bodies of custom resources, which have no Go type: any kind can be read, and only metadata is typed.

Semantics: apiextensions-apiserver customresource_handler (schemaCoercingDecoder) and customresource validator.
"""

from __future__ import annotations

from typing import Any

from todoku.api import decoding, errors, schemas
from todoku.api.meta import GroupVersionKind, Object, gvk_of


def settle_kind(obj: Object, wanted: GroupVersionKind) -> None:
    """Missing kind and apiVersion are filled in.  Raises BadRequest for another version, Invalid for another kind."""
    found = gvk_of(obj)
    if obj.get("apiVersion") and (found.group, found.version) != (wanted.group, wanted.version):
        raise errors.BadRequest(
            f"the API version in the data ({found.api_version}) does not match the expected API version"
            f" ({wanted.api_version})"
        )
    if obj.get("kind") and found.kind != wanted.kind:
        problem = errors.invalid(errors.Path("kind"), found.kind, f"must be {wanted.kind}")
        metadata = obj.get("metadata")
        name = str(metadata.get("name") or "") if isinstance(metadata, dict) else ""
        raise errors.Invalid.of(wanted.kind, wanted.group, name, [problem])
    obj["kind"], obj["apiVersion"] = wanted.kind, wanted.api_version
    if obj.get("metadata") is None:
        obj["metadata"] = {}


def check_metadata(metadata: Any, kind: GroupVersionKind) -> None:
    """Raises BadRequest for metadata that is no ObjectMeta."""
    type_ = schemas.type_of(schemas.OBJECT_META)
    problem = decoding.type_problem(metadata, type_, kind="ObjectMeta")
    if problem is None:
        return
    if not isinstance(metadata, dict):
        problem = problem.replace("of type ObjectMeta", "of type v1.ObjectMeta")
    raise errors.BadRequest(
        f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {problem}'
    )
