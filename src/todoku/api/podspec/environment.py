"""Validation of environment variables and of what they, and files, may take from the pod itself."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from todoku.api import quantities, validation
from todoku.api.errors import FieldError, Path, invalid, not_found_field, not_supported, required
from todoku.api.meta import Object
from todoku.api.podspec.paths import backstep_problems

# What a downward API path may name at all (ConvertDownwardAPIFieldLabel); `spec.host` is an old name.
_FIELD_PATHS = frozenset(
    [
        "metadata.annotations",
        "metadata.labels",
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.host",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.phase",
        "status.podIP",
        "status.podIPs",
    ]
)
ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
FILE_FIELDS = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
_SUBSCRIPT = re.compile(r"(.+?)\['(.*)'\]")
RESOURCE_FIELDS = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory",
    "requests.cpu", "requests.ephemeral-storage", "requests.memory",
)  # fmt: skip
_ENV_NAME = re.compile(r"[\x20-\x3c\x3e-\x7e]+")


def env_name_problems(name: str) -> list[str]:
    """IsRelaxedEnvVarName; "" is the caller's to name."""
    if _ENV_NAME.fullmatch(name):
        return []
    return [
        "a valid environment variable name must consist only of printable ASCII characters other than '='"
    ]


_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")


def env_problems(variables: Sequence[Object], path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for index, variable in enumerate(variables):
        name = variable.get("name") or ""
        if not name:
            problems.append(required(path / index / "name"))
        elif not _ENV_NAME.fullmatch(name):
            at = path / index / "name"
            problems += [invalid(at, name, text) for text in env_name_problems(name)]
        if variable.get("valueFrom") is not None:
            problems += _env_source_problems(variable, path / index / "valueFrom")
    return problems


def _env_source_problems(variable: Object, path: Path) -> list[FieldError]:
    source = variable["valueFrom"]
    given = [one for one in _SOURCES if source.get(one) is not None]
    problems: list[FieldError] = []
    for one in given:
        problems += _SOURCE_PROBLEMS[one](source[one], path / one)
    if not given:
        listed = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        problems.append(invalid(path, "", f"must specify one of: {listed}"))
    elif variable.get("value"):
        problems.append(invalid(path, "", "may not be specified when `value` is not empty"))
    elif len(given) > 1:
        problems.append(invalid(path, "", "may not have more than one field specified at a time"))
    return problems


def _key_ref_problems(reference: Object, path: Path) -> list[FieldError]:
    name, key = reference.get("name") or "", reference.get("key") or ""
    problems = [invalid(path / "name", name, text) for text in validation.dns1123_subdomain(name)]
    if not key:
        return [*problems, required(path / "key")]
    texts = validation.config_map_key_problems(key)
    return problems + [invalid(path / "key", key, text) for text in texts]


def _file_ref_problems(reference: Object, path: Path) -> list[FieldError]:
    """validateFileKeySelector."""
    key, volume = reference.get("key") or "", reference.get("volumeName") or ""
    problems: list[FieldError] = []
    if not key:
        problems.append(required(path / "key"))
    else:
        problems += [invalid(path / "key", key, text) for text in env_name_problems(key)]
    if not volume:
        problems.append(required(path / "volumeName"))
    else:
        texts = validation.dns1123_label(volume)
        problems += [invalid(path / "volumeName", volume, text) for text in texts]
    if not reference.get("path"):
        problems.append(required(path / "path"))
    else:
        problems += backstep_problems(reference["path"], path / "path")
    return problems


def file_volume_problems(
    variables: Sequence[Object], path: Path, volumes: Mapping[str, Object]
) -> list[FieldError]:
    """Variables that are read from a file: it must lie in an emptyDir (validateFileKeyRefVolumes)."""
    problems: list[FieldError] = []
    for index, variable in enumerate(variables):
        reference = (variable.get("valueFrom") or {}).get("fileKeyRef")
        if reference is None:
            continue
        at = path / index / "valueFrom" / "fileKeyRef" / "volumeName"
        name = reference.get("volumeName") or ""
        if name not in volumes:
            problems.append(not_found_field(at, name))
        elif volumes[name].get("emptyDir") is None:
            problems.append(invalid(at, name, "referenced volume must be of type emptyDir"))
    return problems


def field_ref_problems(reference: Object, path: Path, allowed: Collection[str]) -> list[FieldError]:
    """A downward API field (validateObjectFieldSelector); `allowed` is sorted."""
    version, field = reference.get("apiVersion") or "", reference.get("fieldPath") or ""
    if not version:
        return [required(path / "apiVersion")]
    if not field:
        return [required(path / "fieldPath")]
    why = _not_convertible(version, field)
    if why:
        return [invalid(path / "fieldPath", field, f"error converting fieldPath: {why}")]
    match = _SUBSCRIPT.fullmatch(field)
    if match:
        key = match.group(2)
        if match.group(1) == "metadata.annotations":
            key = key.lower()
        return [invalid(path, key, text) for text in validation.qualified_name_problems(key)]
    name = "spec.nodeName" if field == "spec.host" else field
    if name not in allowed:
        return [not_supported(path / "fieldPath", name, allowed)]
    return []


def _not_convertible(version: str, field: str) -> str:
    if version != "v1":
        return f"unsupported pod version: {version}"
    match = _SUBSCRIPT.fullmatch(field)
    if match:
        if match.group(1) in ("metadata.annotations", "metadata.labels"):
            return ""
        return f"field label does not support subscript: {field}"
    return "" if field in _FIELD_PATHS else f"field label not supported: {field}"


_UNITS = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
# resource without its prefix -> what a divisor may be, and how the resource is called
_DIVISORS = {
    "cpu": (("1m", "1"), "1m and 1", "cpu"),
    "memory": (_UNITS, ", ".join(_UNITS), "memory"),
    "ephemeral-storage": (_UNITS, ", ".join(_UNITS), "local ephemeral storage"),
    "hugepages": (_UNITS, ", ".join(_UNITS), "hugepages"),
}


def resource_ref_problems(
    reference: Object, path: Path, *, container_needed: bool
) -> list[FieldError]:
    """An amount of a container (validateContainerResourceFieldSelector)."""
    resource = reference.get("resource") or ""
    problems: list[FieldError] = []
    if container_needed and not reference.get("containerName"):
        problems.append(required(path / "containerName"))
    elif not resource:
        problems.append(required(path / "resource"))
    elif resource not in RESOURCE_FIELDS and not _huge(resource):
        problems.append(not_supported(path / "resource", resource, RESOURCE_FIELDS))
    return problems + _divisor_problems(resource, reference.get("divisor"), path)


def _huge(resource: str) -> bool:
    return resource.startswith(("limits.hugepages-", "requests.hugepages-"))


def _divisor_problems(resource: str, divisor: object, path: Path) -> list[FieldError]:
    kind = "hugepages" if _huge(resource) else resource.partition(".")[2]
    if kind not in _DIVISORS or (kind != "hugepages" and resource not in RESOURCE_FIELDS):
        return []
    if not isinstance(divisor, str | int | float) or not quantities.is_quantity(divisor):
        return []
    allowed, listed, called = _DIVISORS[kind]
    shown = quantities.canonical(divisor)
    if shown == "0" or shown in allowed:
        return []
    text = f"only divisor's values {listed} are supported with the {called} resource"
    return [invalid(path / "divisor", resource, text)]


def _env_field(reference: Object, path: Path) -> list[FieldError]:
    return field_ref_problems(reference, path, ENV_FIELDS)


def _env_resource(reference: Object, path: Path) -> list[FieldError]:
    return resource_ref_problems(reference, path, container_needed=False)


_SOURCE_PROBLEMS = {
    "fieldRef": _env_field,
    "resourceFieldRef": _env_resource,
    "configMapKeyRef": _key_ref_problems,
    "secretKeyRef": _key_ref_problems,
    "fileKeyRef": _file_ref_problems,
}


def env_from_problems(sources: Sequence[Object], path: Path) -> list[FieldError]:
    """ValidateEnvFrom; what is wrong with the number of sources is said of the list."""
    problems: list[FieldError] = []
    for index, source in enumerate(sources):
        at = path / index
        if prefix := source.get("prefix"):
            problems += [invalid(at / "prefix", prefix, text) for text in env_name_problems(prefix)]
        given = [one for one in ("configMapRef", "secretRef") if source.get(one) is not None]
        for one in given:
            problems += _env_name_ref(source[one].get("name") or "", at / one / "name")
        if not given:
            problems.append(invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            text = "may not have more than one field specified at a time"
            problems.append(invalid(path, "", text))
    return problems


def _env_name_ref(name: str, path: Path) -> list[FieldError]:
    if not name:
        return [required(path)]
    texts = validation.dns1123_subdomain(validation.without_dash(name))
    return [invalid(path, name, text) for text in texts]
