"""The operations that a resource's verbs mean: path, method, what goes in and what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from todoku.api.meta import GroupVersionKind
from todoku.api.resource import Resource, Subresource
from todoku.api.schemas import names_by_kind

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
STATUS = f"{META}.Status"
DELETE_OPTIONS = f"{META}.DeleteOptions"
_STRATEGIC = "application/strategic-merge-patch+json"
_PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    _STRATEGIC,
    "application/apply-patch+yaml",
)
PATCH = f"{META}.Patch"
JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
_WATCHED = (f"{JSON};stream=watch", f"{PROTOBUF};stream=watch")
_DOCS = {
    "list": "list{sub} objects of kind {kind}",
    "create": "create{sub}{article}{kind}",
    "deletecollection": "delete collection of {kind}",
    "get": "read{sub} the specified {kind}",
    "update": "replace{sub} the specified {kind}",
    "patch": "partially update{sub} the specified {kind}",
    "delete": "delete{sub}{article}{kind}",
}

# verb: (HTTP method, x-kubernetes-action, word of the operation id)
_VERBS = {
    "list": ("get", "list", "list"),
    "create": ("post", "post", "create"),
    "deletecollection": ("delete", "deletecollection", "deleteCollection"),
    "get": ("get", "get", "read"),
    "update": ("put", "put", "replace"),
    "patch": ("patch", "patch", "patch"),
    "delete": ("delete", "delete", "delete"),
}
_COLLECTION = ("list", "create", "deletecollection")
_CONNECTS = frozenset({"exec", "attach", "portforward", "proxy"})

PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "list": (
        "allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion",
        "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch",
    ),
    "create": ("dryRun", "fieldManager", "fieldValidation"),
    "update": ("dryRun", "fieldManager", "fieldValidation"),
    "patch": ("dryRun", "fieldManager", "fieldValidation", "force"),
    "delete": ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"),
    "deletecollection": (
        "continue", "dryRun", "fieldSelector", "gracePeriodSeconds", "labelSelector", "limit",
        "orphanDependents", "propagationPolicy", "resourceVersion", "resourceVersionMatch",
        "sendInitialEvents", "timeoutSeconds",
    ),
    "get": (),
}  # fmt: skip

_INTEGERS = frozenset({"limit", "timeoutSeconds", "gracePeriodSeconds"})
_BOOLEANS = frozenset(
    {"allowWatchBookmarks", "watch", "sendInitialEvents", "force", "orphanDependents", "pretty"}
)


def parameter_type(name: str) -> str:
    """The type of a query parameter."""
    if name in _INTEGERS:
        return "integer"
    return "boolean" if name in _BOOLEANS else "string"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path; `body` and `answer` name definitions ("" for none), `consumes` the body's media types,
    `produces` the answer's."""

    path: str
    method: str
    description: str
    verb: str
    action: str
    identifier: str
    kind: GroupVersionKind
    owner: str
    body: str
    consumes: tuple[str, ...]
    answer: str
    produces: tuple[str, ...]
    path_parameters: tuple[str, ...]
    tag: str


def operations(resource: Resource) -> Iterator[Operation]:
    """All operations of a resource and its subresources."""
    base = f"/apis/{resource.group}/{resource.version}" if resource.group else "/api/v1"
    owners: tuple[str, ...] = ("namespace",) if resource.namespaced else ()
    if resource.namespaced:
        scoped = f"{base}/namespaces/{{namespace}}/{resource.plural}"
        if "list" in resource.verbs:
            suffix = "ForAllNamespaces"
            yield _operation(resource, f"{base}/{resource.plural}", "list", (), suffix=suffix)
    else:
        scoped = f"{base}/{resource.plural}"
    for verb in resource.verbs:
        if verb in _COLLECTION:
            yield _operation(resource, scoped, verb, owners)
        elif verb in _VERBS:
            yield _operation(resource, scoped + "/{name}", verb, (*owners, "name"))
    for sub in resource.subresources:
        if sub.name not in _CONNECTS:
            yield from _subresource(resource, sub, scoped, (*owners, "name"))


def _subresource(
    resource: Resource, sub: Subresource, scoped: str, owners: tuple[str, ...]
) -> Iterator[Operation]:
    path = f"{scoped}/{{name}}/{sub.name}"
    for verb in sub.verbs:
        if verb in _VERBS:
            yield _operation(resource, path, verb, owners, sub=sub)


def _operation(
    resource: Resource,
    path: str,
    verb: str,
    owners: tuple[str, ...],
    *,
    sub: Subresource | None = None,
    suffix: str = "",
) -> Operation:
    method, action, word = _VERBS[verb]
    kind, schema = resource.gvk, resource.schema
    if sub is not None and sub.kind is not None:
        kind = sub.kind
        schema = names_by_kind().get(kind, "")
    scope = "Namespaced" if resource.namespaced and not suffix else ""
    name = sub.name.capitalize() if sub is not None else ""
    answer = _answer(verb, schema, sub)
    identifier = f"{word}{_tag(resource, upper=True)}{scope}{resource.kind}{name}{suffix}"
    return Operation(
        path=path,
        method=method,
        description=_description(resource, verb, sub.name if sub is not None else ""),
        verb=verb,
        action=action,
        identifier=identifier,
        kind=kind,
        owner=resource.kind,
        body=_body(verb, schema),
        consumes=_consumes(resource, verb),
        answer=answer,
        produces=_produces(resource, verb) if answer else ("text/plain",),
        path_parameters=owners,
        tag=_tag(resource, upper=False),
    )


def _consumes(resource: Resource, verb: str) -> tuple[str, ...]:
    """kubectl apply reads here which patch it may send."""
    if verb != "patch":
        return (JSON, YAML) if _custom(resource) else ("*/*",)
    return tuple(p for p in _PATCHES if p != _STRATEGIC) if _custom(resource) else _PATCHES


def _custom(resource: Resource) -> bool:
    """Whether a CustomResourceDefinition makes it: no merge keys, no protobuf."""
    return not resource.strategic_merge


def _produces(resource: Resource, verb: str) -> tuple[str, ...]:
    if _custom(resource):
        return (JSON, YAML)
    return (JSON, YAML, PROTOBUF, *(_WATCHED if verb == "list" else ()))


def _description(resource: Resource, verb: str, sub: str) -> str:
    kind = resource.kind
    article = " an " if kind[0] in "AEIOUaeiou" else " a "
    if kind.endswith("s") and not kind.endswith("ss"):
        article = " "
    if verb == "list" and not _custom(resource):
        return f"list or watch objects of kind {kind}"
    return _DOCS[verb].format(sub=f" {sub} of" if sub else "", article=article, kind=kind)


def _body(verb: str, schema: str) -> str:
    if verb in ("create", "update"):
        return schema
    if verb == "patch":
        return PATCH
    return DELETE_OPTIONS if verb in ("delete", "deletecollection") else ""


def _answer(verb: str, schema: str, sub: Subresource | None) -> str:
    if verb in ("delete", "deletecollection"):
        return STATUS
    if verb == "list":
        return f"{schema}List"
    return "" if sub is not None and sub.name == "log" else schema


def _tag(resource: Resource, *, upper: bool) -> str:
    group = (resource.group or "core").removesuffix(".k8s.io")
    words = [part for part in group.replace("-", ".").split(".") if part]
    if upper:
        joined = "".join(word[:1].upper() + word[1:] for word in words)
        return joined + resource.version[:1].upper() + resource.version[1:]
    joined = words[0] + "".join(word[:1].upper() + word[1:] for word in words[1:])
    return f"{joined}_{resource.version}"
