"""Which FlowSchema a request belongs to; pure.

The first match in the order of matchingPrecedence, then name; `catch-all` takes what nothing else does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from todoku.api.meta import Object
from todoku.apiserver.request import RequestInfo, User

_SERVICE_ACCOUNT = "system:serviceaccount:"
CATCH_ALL = "catch-all"


def in_order(schemas: Iterable[Object]) -> list[Object]:
    return sorted(
        schemas,
        key=lambda one: (one["spec"].get("matchingPrecedence", 0), one["metadata"]["name"]),
    )


def match(schemas: Sequence[Object], user: User, info: RequestInfo) -> Object:
    """The schema of a request; `schemas` are in order and one of them is `catch-all`."""
    for schema in schemas:
        if any(_rule(one, user, info) for one in schema["spec"].get("rules") or ()):
            return schema
    return next(one for one in schemas if one["metadata"]["name"] == CATCH_ALL)


def distinguisher(schema: Object, user: User, info: RequestInfo) -> str:
    """What tells the flows of a schema apart."""
    method = (schema["spec"].get("distinguisherMethod") or {}).get("type")
    if method == "ByUser":
        return user.name
    return info.namespace if method == "ByNamespace" else ""


def _rule(rule: Object, user: User, info: RequestInfo) -> bool:
    if not any(_subject(one, user) for one in rule.get("subjects") or ()):
        return False
    if info.is_resource:
        return any(_resource(one, info) for one in rule.get("resourceRules") or ())
    return any(_url(one, info) for one in rule.get("nonResourceRules") or ())


def _subject(subject: Object, user: User) -> bool:
    match subject.get("kind"):
        case "User":
            return (subject.get("user") or {}).get("name") in ("*", user.name)
        case "Group":
            name = (subject.get("group") or {}).get("name")
            return name == "*" or name in user.groups
        case "ServiceAccount":
            account = subject.get("serviceAccount") or {}
            namespace, name = account.get("namespace", ""), account.get("name", "")
            prefix = f"{_SERVICE_ACCOUNT}{namespace}:"
            return user.name.startswith(prefix) if name == "*" else user.name == prefix + name
    return False


def _resource(rule: Object, info: RequestInfo) -> bool:
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    return (
        _has(rule.get("verbs"), info.verb)
        and _has(rule.get("resources"), resource)
        and _has(rule.get("apiGroups"), info.group)
        and (
            _has(rule.get("namespaces"), info.namespace)
            if info.namespace
            else bool(rule.get("clusterScope"))
        )
    )


def _url(rule: Object, info: RequestInfo) -> bool:
    if not _has(rule.get("verbs"), info.verb):
        return False
    for url in rule.get("nonResourceURLs") or ():
        if url in ("*", info.path) or info.path.startswith(url.removesuffix("*").rstrip("/") + "/"):
            return True
    return False


def _has(names: Any, wanted: str) -> bool:
    return bool(names) and (wanted in names or names == ["*"])
