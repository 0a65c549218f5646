"""One CustomResourceDefinition as served resources: a `Resource` with a `Strategy` for each served version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from todoku.api.crd import Structural, definitions, structural
from todoku.api.crd.publish import definition_name
from todoku.api.errors import FieldError
from todoku.api.meta import GroupVersionKind, Object, copy
from todoku.api.resource import Resource, Strategy, Subresource
from todoku.api.validation import bare_finalizer_warnings
from todoku.apiserver import scales
from todoku.apiserver.catalog import Served

# In the order in which upstream's discovery lists them.
_VERBS: tuple[str, ...] = (
    "delete", "deletecollection", "get", "list", "patch", "create", "update", "watch",
)  # fmt: skip
_READ_WRITE = ("get", "patch", "update")
_SCALE = GroupVersionKind("autoscaling", "v1", "Scale")


def served_versions(crd: Object) -> list[Served]:
    """The served versions; while the definition is being deleted its objects cannot be created.

    A definition that serves none is deleted with its objects too, so the stored version is served meanwhile.
    """
    versions = crd["spec"]["versions"]
    storage = next(one for one in versions if one.get("storage"))
    shown = [one for one in versions if one.get("served")]
    if not shown and crd["metadata"].get("deletionTimestamp"):
        shown = [storage]
    custom = _compiled(crd, storage)
    stored = _resource(crd, storage, custom)
    found = []
    for version in shown:
        if version is storage:
            found.append(_served(crd, version, custom, (stored, stored)))
        else:
            other = _compiled(crd, version)
            resource = _resource(crd, version, other, storage["name"])
            found.append(_served(crd, version, other, (resource, stored)))
    return found


def _compiled(crd: Object, version: Object) -> Structural:
    return structural(version, preserve=crd["spec"].get("preserveUnknownFields") is True)


def _served(
    crd: Object, version: Object, custom: Structural, resources: tuple[Resource, Resource]
) -> Served:
    """`resources` are that of the version and that of the stored one."""
    scale = (version.get("subresources") or {}).get("scale")
    return Served(
        *resources,
        typed=False,
        crd=crd,
        custom=custom,
        custom_type=custom.type,
        definitions=lambda v3: definitions(crd, version, v3=v3),
        printer_columns=tuple(version.get("additionalPrinterColumns") or ()),
        scale_paths=scales.paths_of(scale) if scale else scales.WORKLOAD,
    )


def _resource(crd: Object, version: Object, custom: Structural, storage: str = "") -> Resource:
    spec, name = crd["spec"], version["name"]
    names = crd["status"].get("acceptedNames") or spec["names"]
    verbs = _VERBS
    if crd["metadata"].get("deletionTimestamp"):
        verbs = tuple(verb for verb in verbs if verb != "create")
    return Resource(
        group=spec["group"],
        version=name,
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        namespaced=spec["scope"] == "Namespaced",
        schema=definition_name(spec["group"], name, names["kind"]),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        verbs=verbs,
        subresources=tuple(_subresources(version)),
        strategy=_strategy(version, custom),
        storage=(spec["group"], storage) if storage else None,
        from_storage=_reader(crd, version, custom),
        strategic_merge=False,
        deprecation=_deprecation(spec["group"], version, names["kind"]),
    )


def _deprecation(group: str, version: Object, kind: str) -> str:
    if not version.get("deprecated"):
        return ""
    return str(
        version.get("deprecationWarning") or f"{group}/{version['name']} {kind} is deprecated"
    )


def _subresources(version: Object) -> list[Subresource]:
    has = version.get("subresources") or {}
    found = []
    if "status" in has:
        found.append(Subresource(name="status", verbs=_READ_WRITE))
    if has.get("scale"):
        found.append(Subresource(name="scale", verbs=_READ_WRITE, kind=_SCALE))
    return found


def _reader(crd: Object, version: Object, custom: Structural) -> Callable[[Object], Object] | None:
    """Defaults are applied to what is read as well; a schema without any leaves stored bytes as they are."""
    if not has_defaults((version.get("schema") or {}).get("openAPIV3Schema")):
        return None
    api_version = f"{crd['spec']['group']}/{version['name']}"

    def read(obj: Object) -> Object:
        new: Object = copy(obj)
        new["apiVersion"] = api_version
        custom.default(new)
        return new

    return read


def has_defaults(schema: Any) -> bool:
    """Whether any field of a schema has a default: then objects in the store may lack some."""
    if not isinstance(schema, dict):
        return False
    if "default" in schema:
        return True
    children = list((schema.get("properties") or {}).values())
    children += [schema.get("items"), schema.get("additionalProperties")]
    return any(has_defaults(child) for child in children)


def _strategy(version: Object, custom: Structural) -> Strategy:
    has_status = "status" in (version.get("subresources") or {})
    selectable = tuple(one["jsonPath"].lstrip(".") for one in version.get("selectableFields") or ())

    def drop_status(new: Object) -> None:
        if has_status:
            new.pop("status", None)

    def keep_status(new: Object, old: Object) -> None:
        if has_status:
            new.pop("status", None)
            if "status" in old:
                new["status"] = copy(old["status"])

    def problems(new: Object, old: Object) -> list[FieldError]:
        return custom.validate(new, old)

    def fields(obj: Object) -> Mapping[str, str]:
        return {path: _text(_at(obj, path)) for path in selectable}

    return Strategy(
        default=custom.default,
        prepare_create=drop_status,
        prepare_update=keep_status,
        prepare_status=only_status,
        validate=custom.validate,
        validate_status=problems,
        warnings=bare_finalizer_warnings,
        selectable_fields=fields,
        selectable_field_names=selectable,
        has_status=has_status,
        allow_unconditional_update=False,
    )


def only_status(new: Object, old: Object) -> None:
    """A status write changes nothing else, metadata included; managedFields record it."""
    status = new.get("status")
    owners = new["metadata"].get("managedFields")
    new.clear()
    new.update(copy(old))
    if owners is not None:
        new["metadata"]["managedFields"] = owners
    new.pop("status", None)
    if status is not None:
        new["status"] = status


def _at(obj: Any, path: str) -> Any:
    for part in path.split("."):
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
