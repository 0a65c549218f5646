"""Validation of environment variables and of what they, and files, may take from the pod itself."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from todoku.api import validation
from todoku.api.errors import (
    FieldError,
    Path,
    invalid,
    not_supported,
    required,
)
from todoku.api.meta import Object

_FIELD_PATHS = (
    "metadata.annotations",
    "metadata.labels",
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
ENV_FIELDS = tuple(
    one for one in _FIELD_PATHS if one not in ("metadata.annotations", "metadata.labels")
)
FILE_FIELDS = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
_SUBSCRIPT = re.compile(r"metadata\.(annotations|labels)\['(.+)'\]")
RESOURCE_FIELDS = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory",
    "requests.cpu", "requests.ephemeral-storage", "requests.memory",
)  # fmt: skip


_ENV_NAME = re.compile(r"[\x20-\x3c\x3e-\x7e]+")


def _env_name_problems(name: str) -> list[str]:
    if _ENV_NAME.fullmatch(name):
        return []
    return [
        "a valid environment variable name must consist only of printable ASCII characters other than '='"
    ]


_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")


def env_problems(variables: Sequence[Object], path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for index, variable in enumerate(variables):
        at = path / index
        name = variable.get("name") or ""
        if not name:
            problems.append(required(at / "name"))
        else:
            problems += [invalid(at / "name", name, text) for text in _env_name_problems(name)]
        if variable.get("valueFrom") is not None:
            problems += _env_source_problems(variable, at / "valueFrom")
    return problems


def _env_source_problems(variable: Object, path: Path) -> list[FieldError]:
    source = variable["valueFrom"]
    given = [one for one in _SOURCES if source.get(one) is not None]
    problems: list[FieldError] = []
    if "fieldRef" in given:
        problems += field_ref_problems(source["fieldRef"], path / "fieldRef", ENV_FIELDS)
    if "resourceFieldRef" in given:
        at = path / "resourceFieldRef"
        problems += resource_ref_problems(source["resourceFieldRef"], at, container_needed=False)
    for one in ("configMapKeyRef", "secretKeyRef"):
        if one in given:
            problems += _key_ref_problems(source[one], path / one)
    if not given:
        listed = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        problems.append(invalid(path, "", f"must specify one of: {listed}"))
    elif variable.get("value"):
        problems.append(invalid(path, "", "may not be specified when `value` is not empty"))
    elif len(given) > 1:
        problems.append(invalid(path, "", "may not have more than one field specified at a time"))
    return problems


def _key_ref_problems(reference: Object, path: Path) -> list[FieldError]:
    key = reference.get("key") or ""
    if not key:
        return [required(path / "key")]
    return [invalid(path / "key", key, text) for text in validation.config_map_key_problems(key)]


def field_ref_problems(reference: Object, path: Path, allowed: Collection[str]) -> list[FieldError]:
    """A downward API field; `metadata.labels['x']` only where labels can be read one by one."""
    if not reference.get("apiVersion"):
        return [required(path / "apiVersion")]
    field = reference.get("fieldPath") or ""
    if not field:
        return [required(path / "fieldPath")]
    match = _SUBSCRIPT.fullmatch(field)
    if match:
        key = match.group(2)
        texts = validation.qualified_name_problems(
            key if match.group(1) == "labels" else key.lower()
        )
        return [invalid(path, key, text) for text in texts]
    if field not in _FIELD_PATHS:
        text = f"error converting fieldPath: field label not supported: {field}"
        return [invalid(path / "fieldPath", field, text)]
    if field not in allowed:
        return [not_supported(path / "fieldPath", field, sorted(allowed))]
    return []


def resource_ref_problems(
    reference: Object, path: Path, *, container_needed: bool
) -> list[FieldError]:
    if container_needed and not reference.get("containerName"):
        return [required(path / "containerName")]
    resource = reference.get("resource") or ""
    if not resource:
        return [required(path / "resource")]
    prefix = resource.partition("hugepages-")[0]
    if resource not in RESOURCE_FIELDS and prefix not in ("limits.", "requests."):
        return [not_supported(path / "resource", resource, RESOURCE_FIELDS)]
    return []


def env_from_problems(sources: Sequence[Object], path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for index, source in enumerate(sources):
        at = path / index
        if prefix := source.get("prefix"):
            problems += [
                invalid(at / "prefix", prefix, text) for text in _env_name_problems(prefix)
            ]
        given = [one for one in ("configMapRef", "secretRef") if source.get(one) is not None]
        for one in given:
            if not source[one].get("name"):
                problems.append(required(at / one / "name"))
        if not given:
            problems.append(invalid(at, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            problems.append(invalid(at, "", "may not have more than one field specified at a time"))
    return problems
