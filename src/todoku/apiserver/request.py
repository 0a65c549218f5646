"""What one request is: who asks (`User`), for what (`RequestInfo`), and how a path is read.

The reading of paths follows RequestInfoResolver (k8s.io/apiserver endpoints/request): the same words
(verb, resource, subresource, …) reach authorization, admission and audit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from todoku.apiserver.options import flag

SYSTEM_MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
ANONYMOUS = "system:anonymous"


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated identity (authentication.k8s.io UserInfo)."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def info(self) -> dict[str, object]:
        """The wire form used by reviews and AdmissionReview."""
        body: dict[str, object] = {"username": self.name}
        if self.uid:
            body["uid"] = self.uid
        if self.groups:
            body["groups"] = list(self.groups)
        if self.extra:
            body["extra"] = {key: list(values) for key, values in self.extra.items()}
        return body


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request shows of its sender.  `certificate` is the verified peer certificate (DER), or b"".

    `headers` is case-insensitive to reads with `.get`; `path` is without its query.
    """

    certificate: bytes
    headers: Mapping[str, str]
    path: str = ""


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """One request in the words of authorization.  For non-resource requests only `verb` and `path` count.

    `verb` is get, list, watch, create, update, patch, delete, deletecollection for resources, else the HTTP
    method in lower case.  `parts` are the path segments after the subresource (as in `…/proxy/a/b`).
    """

    verb: str
    path: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    parts: tuple[str, ...] = ()
    label_selector: str = ""
    field_selector: str = ""

    @property
    def is_resource(self) -> bool:
        return bool(self.resource)

    @property
    def resource_name(self) -> str:
        """The dotted name: `deployments.apps`, `pods`."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_STREAMS = frozenset({"exec", "attach", "portforward", "proxy", "log"})


def is_stream(info: RequestInfo) -> bool:
    """Whether the request may go on for ever (upstream's long-running check, but for watches)."""
    return info.subresource in _STREAMS or info.verb == "proxy"


_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch"}
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})


def read_path(method: str, path: str, query: Mapping[str, str]) -> RequestInfo:
    """Read a request line.  Never fails: what is no resource path is a non-resource request."""
    rest = [part for part in path.split("/") if part]
    plain = RequestInfo(verb=method.lower(), path=path)
    if len(rest) >= 3 and rest[0] == "api":
        group, version, rest = "", rest[1], rest[2:]
    elif len(rest) >= 4 and rest[0] == "apis":
        group, version, rest = rest[1], rest[2], rest[3:]
    else:
        return plain
    verb = _VERBS.get(method, "delete" if method == "DELETE" else method.lower())
    if rest[0] == "watch" and len(rest) > 1:  # the deprecated /watch/ prefix
        verb, rest = "watch", rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
    resource = rest[0]
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if not name and verb == "get":
        verb = "watch" if flag(query, "watch") else "list"
    elif not name and verb == "delete":
        verb = "deletecollection"
    return RequestInfo(
        verb=verb,
        path=path,
        group=group,
        version=version,
        resource=resource,
        subresource=subresource,
        namespace=namespace,
        name=name,
        parts=tuple(rest[3:]),
        label_selector=query.get("labelSelector", ""),
        field_selector=query.get("fieldSelector", ""),
    )
