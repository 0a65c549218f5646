"""Validation of a pod's volumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from todoku.api import quantities, validation
from todoku.api.errors import (
    FieldError,
    Path,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from todoku.api.meta import Object
from todoku.api.podspec.environment import FILE_FIELDS, field_ref_problems, resource_ref_problems

HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip


def volumes_problems(volumes: Sequence[Object], path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    names: set[str] = set()
    for index, volume in enumerate(volumes):
        at = path / index
        problems += _source_problems(volume, at)
        name = volume.get("name") or ""
        if not name:
            problems.append(required(at / "name"))
            continue
        texts = validation.dns1123_label(name)
        problems += [invalid(at / "name", name, text) for text in texts]
        if name in names:
            problems.append(duplicate(at / "name", name))
        names.add(name)
    return problems


def _source_problems(volume: Object, path: Path) -> list[FieldError]:
    """Exactly one source (validateVolumeSource)."""
    problems: list[FieldError] = []
    seen = 0
    for kind, source in volume.items():
        if kind == "name" or source is None:
            continue
        if seen:
            problems.append(forbidden(path / kind, "may not specify more than 1 volume type"))
        elif kind in _SOURCES:
            problems += _SOURCES[kind](source, path / kind)
        seen += 1
    if not seen:
        problems.append(required(path, "must specify a volume type"))
    return problems


def _empty_dir(source: Object, path: Path) -> list[FieldError]:
    limit = source.get("sizeLimit")
    if limit is None:
        return []
    try:
        negative = quantities.parse(limit) < quantities.ZERO
    except quantities.QuantityError as error:
        return [invalid(path / "sizeLimit", limit, str(error))]
    return (
        [forbidden(path / "sizeLimit", "SizeLimit field must be a valid resource quantity")]
        if negative
        else []
    )


def _host_path(source: Object, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    if not source.get("path"):
        problems.append(required(path / "path"))
    elif ".." in source["path"].split("/"):
        problems.append(invalid(path / "path", source["path"], "must not contain '..'"))
    kind = source.get("type")
    if kind is not None and kind not in HOST_PATH_TYPES:
        problems.append(not_supported(path / "type", kind, HOST_PATH_TYPES))
    return problems


def _mode(source: Object, field: str, path: Path) -> list[FieldError]:
    mode = source.get(field)
    if isinstance(mode, int) and not 0 <= mode <= 0o777:
        text = "must be a number between 0 and 0777 (octal), both inclusive"
        return [invalid(path / field, mode, text)]
    return []


def _items(source: Object, path: Path) -> list[FieldError]:
    """KeyToPath."""
    problems: list[FieldError] = []
    for index, item in enumerate(source.get("items") or ()):
        at = path / "items" / index
        if not item.get("key"):
            problems.append(required(at / "key"))
        problems += file_path_problems(item.get("path") or "", at / "path")
        problems += _mode(item, "mode", at)
    return problems


def file_path_problems(value: str, path: Path) -> list[FieldError]:
    """A relative path that stays inside its volume (validateLocalNonReservedPath)."""
    if not value:
        return [required(path)]
    problems: list[FieldError] = []
    if value.startswith("/"):
        problems.append(invalid(path, value, "must be a relative path"))
    if ".." in value.split("/"):
        problems.append(invalid(path, value, "must not contain '..'"))
    elif value.startswith(".."):
        problems.append(invalid(path, value, "must not start with '..'"))
    return problems


def _secret(source: Object, path: Path) -> list[FieldError]:
    problems = [] if source.get("secretName") else [required(path / "secretName")]
    return problems + _mode(source, "defaultMode", path) + _items(source, path)


def _config_map(source: Object, path: Path) -> list[FieldError]:
    problems = [] if source.get("name") else [required(path / "name")]
    return problems + _mode(source, "defaultMode", path) + _items(source, path)


def _claim(source: Object, path: Path) -> list[FieldError]:
    return [] if source.get("claimName") else [required(path / "claimName")]


def _downward(source: Object, path: Path) -> list[FieldError]:
    problems = _mode(source, "defaultMode", path)
    for index, item in enumerate(source.get("items") or ()):
        at = path / "items" / index
        problems += file_path_problems(item.get("path") or "", at / "path")
        problems += _mode(item, "mode", at)
        field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
        if field is not None:
            problems += field_ref_problems(field, at / "fieldRef", FILE_FIELDS)
            if resource is not None:
                text = "fieldRef and resourceFieldRef can not be specified simultaneously"
                problems.append(invalid(at, "resource", text))
        elif resource is not None:
            problems += resource_ref_problems(
                resource, at / "resourceFieldRef", container_needed=True
            )
        else:
            problems.append(required(at, "one of fieldRef and resourceFieldRef is required"))
    return problems


def _projected(source: Object, path: Path) -> list[FieldError]:
    problems = _mode(source, "defaultMode", path)
    paths: set[str] = set()
    for index, one in enumerate(source.get("sources") or ()):
        at = path / "sources" / index
        given = [kind for kind in _PROJECTIONS if one.get(kind) is not None]
        if len(given) != 1:
            text = "may not specify more than 1 volume type per source" if given else ""
            problems.append(
                forbidden(at / given[1], text)
                if given
                else required(at, "must specify exactly one source")
            )
        for kind in given[:1]:
            problems += _PROJECTIONS[kind](one[kind], at / kind)
            for file in _projected_paths(kind, one[kind]):
                if file in paths:
                    text = "conflicting duplicate paths"
                    problems.append(invalid(path, file, text))
                paths.add(file)
    return problems


def _projected_paths(kind: str, source: Object) -> list[str]:
    if kind in ("serviceAccountToken", "clusterTrustBundle"):
        return [source.get("path") or ""]
    return [item.get("path") or "" for item in source.get("items") or ()]


def _named_projection(source: Object, path: Path) -> list[FieldError]:
    problems = [] if source.get("name") else [required(path / "name")]
    return problems + _items(source, path)


def _token_projection(source: Object, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    seconds = source.get("expirationSeconds", 3600)
    if seconds < 600:
        problems.append(
            invalid(
                path / "expirationSeconds",
                seconds,
                "may not specify a duration less than 10 minutes",
            )
        )
    elif seconds > 1 << 32:
        problems.append(
            invalid(
                path / "expirationSeconds",
                seconds,
                "may not specify a duration larger than 2^32 seconds",
            )
        )
    if not source.get("path"):
        problems.append(required(path / "path"))
    else:
        problems += file_path_problems(source["path"], path / "path")
    return problems


def _bundle_projection(source: Object, path: Path) -> list[FieldError]:
    return file_path_problems(source.get("path") or "", path / "path")


_PROJECTIONS: dict[str, Callable[[Object, Path], list[FieldError]]] = {
    "secret": _named_projection,
    "configMap": _named_projection,
    "downwardAPI": _downward,
    "serviceAccountToken": _token_projection,
    "clusterTrustBundle": _bundle_projection,
    "podCertificate": lambda source, path: [],
}


def _ephemeral(source: Object, path: Path) -> list[FieldError]:
    template = source.get("volumeClaimTemplate")
    if template is None:
        return [required(path / "volumeClaimTemplate")]
    spec = template.get("spec") or {}
    at = path / "volumeClaimTemplate" / "spec"
    problems: list[FieldError] = []
    if not spec.get("accessModes"):
        problems.append(required(at / "accessModes", "at least 1 access mode is required"))
    if "storage" not in ((spec.get("resources") or {}).get("requests") or {}):
        problems.append(required((at / "resources").key("storage")))
    return problems


def _needs(*fields: str) -> Callable[[Object, Path], list[FieldError]]:
    def check(source: Object, path: Path) -> list[FieldError]:
        return [required(path / field) for field in fields if not source.get(field)]

    return check


_SOURCES: dict[str, Callable[[Object, Path], list[FieldError]]] = {
    "emptyDir": _empty_dir,
    "hostPath": _host_path,
    "secret": _secret,
    "configMap": _config_map,
    "persistentVolumeClaim": _claim,
    "downwardAPI": _downward,
    "projected": _projected,
    "ephemeral": _ephemeral,
    "csi": _needs("driver"),
    "nfs": _needs("server", "path"),
    "iscsi": _needs("targetPortal", "iqn"),
    "image": lambda source, path: [],
}
