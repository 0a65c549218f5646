"""The definitions themselves: defaults and validation of a CustomResourceDefinition (apiextensions.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api import validation
from todoku.api.crd.schema_check import schema_form_problems
from todoku.api.errors import (
    FieldError,
    Path,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from todoku.api.jsonpath import JsonPathError, parse
from todoku.api.meta import Object
from todoku.api.resources.webhooks import client_config_problems

_SPEC = Path("spec")
APPROVED = "api-approved.kubernetes.io"
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")


def default_definition(crd: Object) -> None:
    spec = crd.setdefault("spec", {})
    names = spec.setdefault("names", {})
    if names.get("kind"):
        if not names.get("singular"):
            names["singular"] = names["kind"].lower()
        if not names.get("listKind"):
            names["listKind"] = f"{names['kind']}List"
    conversion = spec.get("conversion")
    if conversion is None:
        spec["conversion"] = {"strategy": "None"}
    elif ((conversion.get("webhook") or {}).get("clientConfig") or {}).get("service") is not None:
        service = conversion["webhook"]["clientConfig"]["service"]
        if service.get("port") is None:
            service["port"] = 443


def _storage_version(crd: Object) -> list[str]:
    versions = (crd.get("spec") or {}).get("versions") or ()
    return [one["name"] for one in versions if one.get("storage") and one.get("name")]


def prepare_create(crd: Object) -> None:
    crd["status"] = {"storedVersions": _storage_version(crd)[:1]}


def prepare_update(new: Object, old: Object) -> None:
    status = dict(old.get("status") or {})
    stored = [*(status.get("storedVersions") or ()), *_storage_version(new)]
    new["status"] = {**status, "storedVersions": list(dict.fromkeys(stored))}


def prepare_status(new: Object, old: Object) -> None:
    new["spec"] = old["spec"]


def definition_problems(crd: Object, old: Object | None) -> list[FieldError]:
    """All problems of a definition; with `old`, also of the change."""
    spec = crd.get("spec") or {}
    names = spec.get("names") or {}
    problems: list[FieldError] = []
    wanted = f"{names.get('plural', '')}.{spec.get('group', '')}"
    name = crd["metadata"].get("name", "")
    if name != wanted:
        text = 'must be spec.names.plural+"."+spec.group'
        problems.append(invalid(Path("metadata") / "name", name, text))
    problems += _group(crd, spec)
    problems += _scope(spec)
    problems += _versions(spec)
    problems += names_problems(names, _SPEC / "names")
    problems += _conversion(spec.get("conversion") or {}, _SPEC / "conversion")
    if spec.get("preserveUnknownFields"):
        text = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        problems.append(invalid(_SPEC / "preserveUnknownFields", True, text))
    problems += _stored_versions(crd, spec)
    if old is not None:
        problems += _change(crd, old)
    return problems


def _group(crd: Object, spec: Object) -> list[FieldError]:
    group = spec.get("group") or ""
    at = _SPEC / "group"
    if not group:
        return [required(at)]
    problems = [invalid(at, group, text) for text in validation.dns1123_subdomain(group)]
    if not problems and "." not in group:
        problems.append(invalid(at, group, "should be a domain with at least one dot"))
    protected = group.endswith((".k8s.io", ".kubernetes.io")) or group in (
        "k8s.io",
        "kubernetes.io",
    )
    if protected and not (crd["metadata"].get("annotations") or {}).get(APPROVED):
        text = (
            f'protected groups must have approval annotation "{APPROVED}", '
            "see https://github.com/kubernetes/enhancements/pull/1111"
        )
        problems.append(required((Path("metadata") / "annotations").key(APPROVED), text))
    return problems


def _scope(spec: Object) -> list[FieldError]:
    scope = spec.get("scope") or ""
    if not scope:
        return [required(_SPEC / "scope")]
    supported = ("Cluster", "Namespaced")
    return [] if scope in supported else [not_supported(_SPEC / "scope", scope, supported)]


def _versions(spec: Object) -> list[FieldError]:
    versions = spec.get("versions") or []
    at = _SPEC / "versions"
    problems: list[FieldError] = []
    for index, version in enumerate(versions):
        problems += _version(version, at / index)
    names = [one.get("name") for one in versions]
    shown = [str(one) for one in names]
    if len(set(names)) != len(names):
        problems.append(invalid(at, shown, "must contain unique version names"))
    if sum(bool(one.get("storage")) for one in versions) != 1:
        problems.append(
            invalid(at, shown, "must have exactly one version marked as storage version")
        )
    if not versions:
        problems.append(required(at, "must have at least one version"))
    return problems


def _version(version: Object, at: Path) -> list[FieldError]:
    name = version.get("name") or ""
    problems = [invalid(at / "name", name, text) for text in validation.dns1035_label(name)]
    warning = version.get("deprecationWarning")
    if warning is not None and not version.get("deprecated"):
        problems.append(
            invalid(at / "deprecationWarning", warning, "can only be set for deprecated versions")
        )
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    where = at / "schema" / "openAPIV3Schema"
    if schema is None:
        problems.append(required(where, "schemas are required"))
    else:
        problems += schema_form_problems(schema, where)
    problems += _subresources(version.get("subresources") or {}, at / "subresources")
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        problems += _column(column, at / "additionalPrinterColumns" / index)
    for index, field in enumerate(version.get("selectableFields") or ()):
        problems += _json_path(
            field.get("jsonPath") or "", at / "selectableFields" / index / "jsonPath"
        )
    return problems


def _json_path(path: str, at: Path) -> list[FieldError]:
    if not path:
        return [required(at)]
    if not path.startswith("."):
        return [invalid(at, path, "must be a json path in the form .xxx.yyy")]
    try:
        parse(path)
    except JsonPathError as error:
        return [invalid(at, path, str(error))]
    return []


def _subresources(subresources: Object, at: Path) -> list[FieldError]:
    scale = subresources.get("scale")
    if scale is None:
        return []
    problems: list[FieldError] = []
    for field, prefix, needed in (
        ("specReplicasPath", ".spec.", True),
        ("statusReplicasPath", ".status.", True),
        ("labelSelectorPath", "", False),
    ):
        path = scale.get(field) or ""
        if not path and not needed:
            continue
        where = at / "scale" / field
        found = _json_path(path, where)
        prefixes = (prefix,) if prefix else (".spec.", ".status.")
        if not found and not path.startswith(prefixes):
            text = f"should be a json path under {' or '.join(one.rstrip('.') for one in prefixes)}"
            found = [invalid(where, path, text)]
        problems += found
    return problems


def _column(column: Object, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    if not column.get("name"):
        problems.append(required(at / "name"))
    kind = column.get("type") or ""
    if not kind:
        problems.append(required(at / "type", f"must be one of {','.join(_COLUMN_TYPES)}"))
    elif kind not in _COLUMN_TYPES:
        problems.append(invalid(at / "type", kind, f"must be one of {','.join(_COLUMN_TYPES)}"))
    form = column.get("format") or ""
    if form and form not in _COLUMN_FORMATS:
        problems.append(invalid(at / "format", form, f"must be one of {','.join(_COLUMN_FORMATS)}"))
    path = column.get("jsonPath") or ""
    if not path:
        return [*problems, required(at / "jsonPath")]
    try:
        parse(path)
    except JsonPathError as error:
        problems.append(invalid(at / "jsonPath", path, str(error)))
    return problems


def names_problems(names: Object, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for field in ("plural", "singular", "kind", "listKind"):
        value = names.get(field) or ""
        plain = value.lower() if field in ("kind", "listKind") else value
        if not value:
            problems.append(required(at / field))
        else:
            text = (
                "may have mixed case, but should otherwise match: "
                if plain != value or field in ("kind", "listKind")
                else ""
            )
            problems += [
                invalid(at / field, value, text + one) for one in validation.dns1035_label(plain)
            ]
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        text = "kind and listKind may not be the same"
        problems.append(invalid(at / "listKind", names["listKind"], text))
    for field in ("shortNames", "categories"):
        for index, value in enumerate(names.get(field) or ()):
            problems += [
                invalid(at / field / index, value, one) for one in validation.dns1035_label(value)
            ]
            if value in names[field][:index]:
                problems.append(duplicate(at / field / index, value))
    return problems


def _conversion(conversion: Object, at: Path) -> list[FieldError]:
    strategy, webhook = conversion.get("strategy") or "", conversion.get("webhook")
    if not strategy:
        return [required(at / "strategy")]
    if strategy not in ("None", "Webhook"):
        return [not_supported(at / "strategy", strategy, ("None", "Webhook"))]
    if strategy == "None":
        text = "should not be set when strategy is not set to Webhook"
        return [forbidden(at / "webhook", text)] if webhook is not None else []
    if webhook is None or webhook.get("clientConfig") is None:
        return [
            required(at / "webhook" / "clientConfig", "required when strategy is set to Webhook")
        ]
    problems = client_config_problems(webhook["clientConfig"], at / "webhook" / "clientConfig")
    return problems + _review_versions(
        webhook.get("conversionReviewVersions") or (), at / "webhook" / "conversionReviewVersions"
    )


def _review_versions(versions: Sequence[str], at: Path) -> list[FieldError]:
    if not versions:
        return [required(at)]
    problems = [
        invalid(at / index, one, text)
        for index, one in enumerate(versions)
        for text in validation.dns1035_label(one)
    ]
    if not problems and not any(one in ("v1", "v1beta1") for one in versions):
        text = "must include at least one of v1, v1beta1"
        problems.append(invalid(at, list(versions), text))
    return problems


def _stored_versions(crd: Object, spec: Object) -> list[FieldError]:
    names = [one.get("name") for one in spec.get("versions") or ()]
    at = Path("status") / "storedVersions"
    text = (
        "missing from spec.versions; {0} was previously a storage version, and must remain in spec.versions until a"
        " storage migration ensures no data remains persisted in {0} and removes {0} from status.storedVersions"
    )
    return [
        invalid(at / index, stored, text.format(stored))
        for index, stored in enumerate((crd.get("status") or {}).get("storedVersions") or ())
        if stored not in names
    ]


def _established(crd: Object) -> bool:
    return any(
        one.get("type") == "Established" and one.get("status") == "True"
        for one in (crd.get("status") or {}).get("conditions") or ()
    )


def _change(crd: Object, old: Object) -> list[FieldError]:
    new_spec, old_spec = crd["spec"], old["spec"]
    problems = validation.immutable(new_spec.get("group"), old_spec.get("group"), _SPEC / "group")
    new_plural, old_plural = new_spec["names"].get("plural"), old_spec["names"].get("plural")
    problems += validation.immutable(new_plural, old_plural, _SPEC / "names" / "plural")
    if _established(old):
        problems += validation.immutable(
            new_spec.get("scope"), old_spec.get("scope"), _SPEC / "scope"
        )
        new_kind, old_kind = new_spec["names"].get("kind"), old_spec["names"].get("kind")
        problems += validation.immutable(new_kind, old_kind, _SPEC / "names" / "kind")
    return problems
