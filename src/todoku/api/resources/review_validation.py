"""The access reviews of authorization.k8s.io: what may be asked.

Semantics: pkg/apis/authorization/validation of kube-apiserver.
"""

from __future__ import annotations

from todoku.api import errors
from todoku.api.errors import FieldError, Path
from todoku.api.internals import rendered
from todoku.api.meta import Object
from todoku.api.selectors import field_requirement_problems, requirement_problems

_SPEC = Path("spec")
_ATTRIBUTES = _SPEC / "resourceAttributes"


def subject_problems(review: Object) -> list[FieldError]:
    """Of a SubjectAccessReview."""
    return _subject(review.get("spec") or {}) + _metadata(review)


def own_problems(review: Object) -> list[FieldError]:
    """Of a SelfSubjectAccessReview."""
    spec = review.get("spec") or {}
    return _one_of(spec) + _attributes(spec) + _metadata(review)


def local_problems(review: Object, namespace: str) -> list[FieldError]:
    """Of a LocalSubjectAccessReview, whose own namespace is `namespace`."""
    spec = review.get("spec") or {}
    problems = _subject(spec) + _metadata(review, besides=" except for namespace")
    attributes, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if attributes is not None and attributes.get("namespace", "") != namespace:
        text = "must match metadata.namespace"
        at = _ATTRIBUTES / "namespace"
        problems.append(errors.invalid(at, attributes.get("namespace", ""), text))
    if other is not None:
        value = rendered(other, "NonResourceAttributes")
        text = "disallowed on this kind of request"
        problems.append(errors.invalid(_SPEC / "nonResourceAttributes", value, text))
    return problems


def _subject(spec: Object) -> list[FieldError]:
    problems = _one_of(spec)
    if not spec.get("user") and not spec.get("groups"):
        text = "at least one of user or group must be specified"
        problems.append(errors.invalid(_SPEC / "user", "", text))
    return problems + _attributes(spec)


def _one_of(spec: Object) -> list[FieldError]:
    resources, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resources is not None and other is not None:
        value = rendered(other, "NonResourceAttributes")
        text = "cannot be specified in combination with resourceAttributes"
        return [errors.invalid(_SPEC / "nonResourceAttributes", value, text)]
    if resources is None and other is None:
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [errors.invalid(_ATTRIBUTES, None, text)]
    return []


def _attributes(spec: Object) -> list[FieldError]:
    problems: list[FieldError] = []
    attributes = spec.get("resourceAttributes") or {}
    for field, judge in (
        ("fieldSelector", field_requirement_problems),
        ("labelSelector", requirement_problems),
    ):
        selector, path = attributes.get(field), _ATTRIBUTES / field
        if selector is None:
            continue
        raw, requirements = selector.get("rawSelector"), selector.get("requirements")
        if raw and requirements:
            text = "may not specified at the same time as requirements"
            problems.append(errors.invalid(path / "rawSelector", raw, text))
        if not raw and not requirements:
            text = f"when {path} is specified, requirements or rawSelector is required"
            problems.append(errors.required(path / "requirements", text))
        for index, one in enumerate(requirements or ()):
            problems += judge(one, path / "requirements" / index)
    return problems


def _metadata(review: Object, besides: str = "") -> list[FieldError]:
    given = review.get("metadata") or {}
    ignored = {"managedFields"} | ({"namespace"} if besides else set())
    metadata = {key: value for key, value in given.items() if value}
    if metadata.keys() <= ignored:
        return []
    metadata.pop("managedFields", None)
    return [errors.invalid(Path("metadata"), metadata, f"must be empty{besides}")]
