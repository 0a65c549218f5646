"""The `authorizer` of admission expressions: `authorizer.group('').resource('pods').check('create').allowed()`.

Checks are maps that collect what is asked; `check` hands it, as a `Question`, to whoever evaluates (`answering`).
Semantics: k8s.io/apiserver pkg/cel/library, authz.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from todoku.api import validation
from todoku.api.cel.declarations import BOOL, STRING, Declarations, Opaque

AUTHORIZER = Opaque("kubernetes.authorization.Authorizer")
RESOURCE_CHECK = Opaque("kubernetes.authorization.ResourceCheck")
_PATH_CHECK = Opaque("kubernetes.authorization.PathCheck")
_GROUP_CHECK = Opaque("kubernetes.authorization.GroupCheck")
_DECISION = Opaque("kubernetes.authorization.Decision")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a check asks.  `service_account` is who for ("" means the sender of the request); `path` excludes the rest."""

    verb: str
    service_account: str = ""
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    allowed: bool
    reason: str = ""
    error: str = ""


Decide = Callable[[Question], Answer]
_decide: contextvars.ContextVar[Decide] = contextvars.ContextVar("todoku_cel_decide")


@contextlib.contextmanager
def answering(decide: Decide) -> Iterator[None]:
    """Expressions evaluated inside are answered by `decide`."""
    token = _decide.set(decide)
    try:
        yield
    finally:
        _decide.reset(token)


def value_of(*, group: str, resource: str, subresource: str, namespace: str, name: str) -> Any:
    """The `authorizer` of a request for that resource."""
    check = {
        "group": group,
        "resource": resource,
        "subresource": subresource,
        "namespace": namespace,
        "name": name,
    }
    return {"service_account": "", "requestResource": {"service_account": "", **check}}


def declare(out: Declarations) -> None:
    out.add("path", _PATH_CHECK, [AUTHORIZER, STRING], _path)
    out.add("group", _GROUP_CHECK, [AUTHORIZER, STRING], _with("group"))
    out.add("serviceAccount", AUTHORIZER, [AUTHORIZER, STRING, STRING], _service_account)
    out.add("resource", RESOURCE_CHECK, [_GROUP_CHECK, STRING], _resource)
    for name, key in (
        ("subresource", "subresource"), ("namespace", "namespace"), ("name", "name"),
        ("fieldSelector", "field_selector"), ("labelSelector", "label_selector"),
    ):  # fmt: skip
        out.add(name, RESOURCE_CHECK, [RESOURCE_CHECK, STRING], _with(key))
    for kind in (_PATH_CHECK, RESOURCE_CHECK):
        out.add("check", _DECISION, [kind, STRING], _check)
    out.add("allowed", BOOL, [_DECISION], lambda one: one["allowed"])
    out.add("reason", STRING, [_DECISION], lambda one: one["reason"])
    out.add("errored", BOOL, [_DECISION], lambda one: bool(one["error"]))
    out.add("error", STRING, [_DECISION], lambda one: one["error"])


def _with(key: str) -> Callable[[Mapping[str, Any], str], dict[str, Any]]:
    def call(one: Mapping[str, Any], value: str) -> dict[str, Any]:
        return {**_open(one), key: value}

    return call


def _open(one: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked so far, without the authorizer's own field."""
    if "service_account" not in one:
        raise ValueError("no such overload")
    return {key: value for key, value in one.items() if key != "requestResource"}


def _path(one: Mapping[str, Any], path: str) -> dict[str, Any]:
    if not path.strip():
        raise ValueError("path must not be empty")
    return {**_open(one), "path": path}


def _resource(one: Mapping[str, Any], resource: str) -> dict[str, Any]:
    if not resource.strip():
        raise ValueError("resource must not be empty")
    return {**_open(one), "resource": resource}


def _service_account(one: Mapping[str, Any], namespace: str, name: str) -> dict[str, Any]:
    if validation.dns1123_subdomain(name):
        raise ValueError("Invalid service account name")
    if validation.dns1123_label(namespace):
        raise ValueError("Invalid service account namespace")
    return {"service_account": f"system:serviceaccount:{namespace}:{name}"}


def _check(one: Mapping[str, Any], verb: str) -> dict[str, Any]:
    answer = _decide.get()(Question(verb=verb, **_open(one)))
    return {"allowed": answer.allowed, "reason": answer.reason, "error": answer.error}
