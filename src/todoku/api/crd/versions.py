"""The versions of a definition: schemas, subresources, printer columns and selectable fields.

What all versions have alike is complained of once, in the place where upstream's internal form keeps it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from todoku.api import validation
from todoku.api.crd import field_paths
from todoku.api.crd.schema_check import schema_form_problems
from todoku.api.errors import FieldError, Path, duplicate, invalid, required, too_many
from todoku.api.meta import Object

_SPEC = Path("spec")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")


def _common(versions: Sequence[Object], field: str) -> Any:
    """What all versions have alike, None if they differ or have nothing."""
    values = [one.get(field) for one in versions]
    alike = bool(values) and all(one == values[0] for one in values)
    return values[0] if alike and values[0] not in (None, []) else None


def version_problems(spec: Object, unchanged: Container[str]) -> list[FieldError]:
    """All problems of `spec.versions`; `unchanged` are the versions whose schema was accepted before."""
    versions = spec.get("versions") or []
    at = _SPEC / "versions"
    problems: list[FieldError] = []
    schemas = [((one.get("schema") or {}).get("openAPIV3Schema")) for one in versions]
    for index, schema in enumerate(schemas):
        if schema is None:
            where = at / index / "schema" / "openAPIV3Schema"
            problems.append(required(where, "schemas are required"))
    common = {field: _common(versions, field) for field in _PER_VERSION}
    for index, version in enumerate(versions):
        problems += _version(version, at / index, common, unchanged)
    names = [one.get("name") for one in versions]
    shown = [str(one) for one in names]
    if len(set(names)) != len(names):
        problems.append(invalid(at, shown, "must contain unique version names"))
    if sum(bool(one.get("storage")) for one in versions) != 1:
        text = "must have exactly one version marked as storage version"
        problems.append(invalid(at, shown, text))
    if versions:
        problems += _commons(versions, common, unchanged)
    return problems


# field of a version: its name in the spec when all versions have it alike
_PER_VERSION = {
    "schema": "validation",
    "subresources": "subresources",
    "additionalPrinterColumns": "additionalPrinterColumns",
    "selectableFields": "selectableFields",
}


def _commons(
    versions: Sequence[Object], common: Mapping[str, Any], unchanged: Container[str]
) -> list[FieldError]:
    """Problems of what all versions have alike."""
    problems: list[FieldError] = []
    status = any("status" in (one.get("subresources") or {}) for one in versions)
    schema = (common["schema"] or {}).get("openAPIV3Schema")
    if schema is not None:
        at = _SPEC / "validation" / "openAPIV3Schema"
        same = versions[0].get("name") in unchanged
        problems += schema_form_problems(schema, at, status=status, unchanged=same)
    problems += _subresources(common["subresources"] or {}, _SPEC / "subresources")
    for index, column in enumerate(common["additionalPrinterColumns"] or ()):
        problems += _column(column, _SPEC / "additionalPrinterColumns" / index)
    if common["selectableFields"]:
        whole = (versions[0].get("schema") or {}).get("openAPIV3Schema")
        problems += _selectable(common["selectableFields"], whole, _SPEC / "selectableFields")
    return problems


def _version(
    version: Object, at: Path, common: Mapping[str, Any], unchanged: Container[str]
) -> list[FieldError]:
    """Problems of one version, without what all have alike."""
    name = version.get("name") or ""
    found = validation.dns1035_label(name)
    problems = [invalid(at / "name", name, ",".join(found))] if found else []
    warning = version.get("deprecationWarning")
    if warning is not None:
        deprecated = bool(version.get("deprecated"))
        problems += [
            invalid(at / "deprecationWarning", warning, text)
            for text in _warning_problems(warning, deprecated)
        ]
    own = {key: version.get(key) for key in _PER_VERSION if common[key] is None}
    subresources = version.get("subresources") or {}
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if own.get("schema") is not None and schema is not None:
        problems += schema_form_problems(
            schema,
            at / "schema" / "openAPIV3Schema",
            status="status" in subresources,
            unchanged=name in unchanged,
        )
    problems += _subresources(own.get("subresources") or {}, at / "subresources")
    for index, column in enumerate(own.get("additionalPrinterColumns") or ()):
        problems += _column(column, at / "additionalPrinterColumns" / index)
    selectable = own.get("selectableFields") or ()
    return problems + _selectable(selectable, schema, at / "selectableFields")


def _warning_problems(warning: str, deprecated: bool) -> list[str]:
    if not deprecated:
        return ["can only be set for deprecated versions"]
    problems = []
    if len(warning.encode()) > 256:
        problems.append("must be <= 256 characters long")
    if not warning:
        problems.append("must not be an empty string")
    for index, one in enumerate(warning):
        if not one.isprintable():
            where = len(warning[:index].encode())
            text = f"non-printable character found at index {where}"
            problems.append(f"must only contain printable UTF-8 characters; {text}")
            break
    return problems


_SELECTABLE_TYPES = ("string", "boolean", "integer")
_MOST_SELECTABLE = 8


def _selectable(fields: Sequence[Object], schema: Object | None, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    known: set[str] = set()
    for index, field in enumerate(fields):
        where, text = at / index / "jsonPath", field.get("jsonPath") or ""
        if not text:
            problems.append(required(where))
            continue
        try:
            path, found = field_paths.resolve(text, schema or {}, brackets=False)
        except field_paths.FieldPathError as error:
            problems.append(invalid(where, text, f"is an invalid path: {error}"))
            continue
        if str(path).partition(".")[0] == "metadata":
            problems.append(invalid(where, text, "must not point to fields in metadata"))
        if found.get("type") not in _SELECTABLE_TYPES:
            kinds = "must point to a field of type string, boolean or integer."
            allowed = "Enum string fields and strings with formats are allowed."
            problems.append(invalid(where, text, f"{kinds} {allowed}"))
        if str(path) in known:
            problems.append(duplicate(where, text))
        known.add(str(path))
    if len(known) > _MOST_SELECTABLE:
        problems.append(too_many(at, len(known), _MOST_SELECTABLE))
    return problems


def _json_path(path: str, at: Path) -> list[FieldError]:
    return (
        []
        if path.startswith(".")
        else [invalid(at, path, "must be a simple json path starting with .")]
    )


_SCALE_PATHS = (
    ("specReplicasPath", (".spec.",), "should be a json path under .spec"),
    ("statusReplicasPath", (".status.",), "should be a json path under .status"),
    (
        "labelSelectorPath",
        (".spec.", ".status."),
        "should be a json path under either .spec or .status",
    ),
)


def _subresources(subresources: Object, at: Path) -> list[FieldError]:
    scale = subresources.get("scale")
    if scale is None:
        return []
    problems: list[FieldError] = []
    for field, prefixes, text in _SCALE_PATHS:
        path = scale.get(field) or ""
        where = at / f"scale.{field}"
        if not path:
            if field != "labelSelectorPath":
                problems.append(required(where))
            continue
        found = _json_path(path, where)
        if not found and not path.startswith(prefixes):
            found = [invalid(where, path, text)]
        problems += found
    return problems


def _column(column: Object, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    if not column.get("name"):
        problems.append(required(at / "name"))
    kind, text = column.get("type") or "", f"must be one of {','.join(_COLUMN_TYPES)}"
    if not kind:
        problems.append(required(at / "type", text))
    elif kind not in _COLUMN_TYPES:
        problems.append(invalid(at / "type", kind, text))
    form = column.get("format") or ""
    if form and form not in _COLUMN_FORMATS:
        problems.append(invalid(at / "format", form, f"must be one of {','.join(_COLUMN_FORMATS)}"))
    path = column.get("jsonPath") or ""
    if not path:
        return [*problems, required(at / "JSONPath")]
    return problems + _json_path(path, at / "JSONPath")
