"""What expressions in admission may use, and how they are checked when they are written.

The variables and their types are those of k8s.io/apiserver pkg/admission/plugin/cel; `object`, `oldObject` and `params`
may be anything there, and have the types of their schemas when a policy is checked against what it matches.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from todoku.api.cel import authorization
from todoku.api.cel.checking import Checker, Kind, ListOf, MapOf, Message, Structures
from todoku.api.cel.declarations import Opaque
from todoku.api.cel.engine import CelError

BOOL, STRING, STRING_OR_NULL = ("bool",), ("string",), ("string", "null_type")
_TEXTS = MapOf("string")


def _structures() -> tuple[Structures, dict[str, Kind | Opaque]]:
    """`request` and `namespaceObject`."""
    found = Structures()
    kind = found.add(
        "kubernetes.GroupVersionKind", dict.fromkeys(("group", "version", "kind"), "string")
    )
    resource = found.add(
        "kubernetes.GroupVersionResource", dict.fromkeys(("group", "version", "resource"), "string")
    )
    user = found.add(
        "kubernetes.UserInfo",
        {
            "username": "string",
            "uid": "string",
            "groups": ListOf("string"),
            "extra": MapOf(ListOf("string")),
        },
    )
    request = found.add(
        "kubernetes.AdmissionRequest",
        {
            "kind": kind,
            "resource": resource,
            "subResource": "string",
            "requestKind": kind,
            "requestResource": resource,
            "requestSubResource": "string",
            "name": "string",
            "namespace": "string",
            "operation": "string",
            "userInfo": user,
            "dryRun": "bool",
            "options": "dyn",
        },
    )
    return found, {"request": request, "namespaceObject": _namespace(found)}


def _namespace(found: Structures) -> Message:
    metadata = found.add(
        "kubernetes.NamespaceMetadata",
        {
            "name": "string",
            "generateName": "string",
            "namespace": "string",
            "labels": _TEXTS,
            "annotations": _TEXTS,
            "UID": "string",
            "creationTimestamp": "timestamp",
            "deletionGracePeriodSeconds": "int",
            "deletionTimestamp": "timestamp",
            "generation": "int",
            "resourceVersion": "string",
            "finalizers": ListOf("string"),
        },
    )
    condition = found.add(
        "kubernetes.NamespaceCondition",
        {
            "status": "string",
            "type": "string",
            "lastTransitionTime": "timestamp",
            "message": "string",
            "reason": "string",
        },
    )
    spec = found.add("kubernetes.NamespaceSpec", {"finalizers": ListOf("string")})
    status = found.add(
        "kubernetes.NamespaceStatus", {"conditions": ListOf(condition), "phase": "string"}
    )
    return found.add("kubernetes.Namespace", {"metadata": metadata, "spec": spec, "status": status})


def checker(
    *,
    params: bool,
    authorizer: bool = True,
    structures: Structures | None = None,
    typed: dict[str, Kind] | None = None,
) -> Checker:
    """A checker of its own, which may `define` variables.

    `typed` gives `object`, `oldObject` or `params` a kind, of `structures`; they may be anything otherwise.
    """
    own, variables = _structures()
    if structures is not None:
        own.fields |= structures.fields
    variables |= {"object": "dyn", "oldObject": "dyn"}
    if params:
        variables["params"] = "dyn"
    if authorizer:
        variables["authorizer"] = authorization.AUTHORIZER
        variables["authorizer.requestResource"] = authorization.RESOURCE_CHECK
    return Checker(own, variables | (typed or {}))


@functools.cache
def plain_checker(*, params: bool, authorizer: bool = True) -> Checker:
    """A shared checker for expressions without variables of their own."""
    return checker(params=params, authorizer=authorizer)


def problem(of: Checker, expression: str, returns: Sequence[str]) -> str:
    """Why an expression may not stand where one of the types `returns` is wanted; "" if it may."""
    try:
        found = of.check(expression)
    except CelError as error:
        return str(error)
    if found in returns:
        return ""
    wanted = returns[0] if len(returns) == 1 else f"one of [{' '.join(returns)}]"
    return f"must evaluate to {wanted} but got {found}"
