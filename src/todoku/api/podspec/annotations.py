"""Validation of the annotations that mean something to the server, of pods and their templates."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from todoku.api.errors import FieldError, Path, forbidden, invalid
from todoku.api.meta import Object
from todoku.api.podspec.defaults import containers_of
from todoku.api.podspec.scheduling import toleration_problems
from todoku.api.podspec.security import (
    APPARMOR_CONTAINER,
    apparmor_annotation_problems,
    seccomp_annotation_problems,
)

MIRROR = "kubernetes.io/config.mirror"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_TOLERATIONS = "scheduler.alpha.kubernetes.io/tolerations"
# How Go reads a number: no sign in front of a zero-padded one.
_COST = re.compile(r"-?(0|[1-9][0-9]*)")


def annotation_problems(
    annotations: Mapping[str, str], spec: Object, path: Path
) -> list[FieldError]:
    """ValidatePodSpecificAnnotations."""
    problems: list[FieldError] = []
    if MIRROR in annotations and not spec.get("nodeName"):
        text = "must set spec.nodeName if mirror pod annotation is set"
        problems.append(invalid(path.key(MIRROR), annotations[MIRROR], text))
    if annotations.get(_TOLERATIONS):
        problems += _toleration_problems(annotations[_TOLERATIONS], path)
    cost = annotations.get(DELETION_COST)
    if cost is not None and not _is_cost(cost):
        problems.append(invalid(path.key(DELETION_COST), cost, "must be a 32bit integer"))
    problems += seccomp_annotation_problems(annotations, path)
    names = frozenset(str(one.get("name")) for one in containers_of(spec))
    return problems + apparmor_annotation_problems(annotations, names, path)


def _is_cost(text: str) -> bool:
    return bool(_COST.fullmatch(text)) and -(2**31) <= int(text) < 2**31


def _toleration_problems(text: str, path: Path) -> list[FieldError]:
    try:
        found = json.loads(text)
    except ValueError as error:
        return [invalid(path, _TOLERATIONS, str(error))]
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        shown = "json: cannot unmarshal object into Go value of type []core.Toleration"
        return [invalid(path, _TOLERATIONS, shown)]
    return toleration_problems(found, path / _TOLERATIONS)


def annotation_change_problems(
    new: Mapping[str, str], old: Mapping[str, str], path: Path
) -> list[FieldError]:
    """What may not change in the annotations of a pod (ValidatePodSpecificAnnotationUpdates)."""
    if new == old:
        return []
    problems: list[FieldError] = []
    for key, value in old.items():
        if new.get(key) != value:
            problems += _fixed(key, path, "may not remove or update")
    for key in new:
        if key not in old:
            problems += _fixed(key, path, "may not add")
    return problems


def _fixed(key: str, path: Path, what: str) -> list[FieldError]:
    if key.startswith(APPARMOR_CONTAINER):
        return [forbidden(path.key(key), f"{what} AppArmor annotations")]
    if key == MIRROR:
        return [forbidden(path.key(key), f"{what} mirror pod annotation")]
    return []
