"""The documents themselves.  `definitions` are in the v2 form (`#/definitions/…`), built-in and custom together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from todoku import KUBERNETES_VERSION
from todoku.api.meta import Object
from todoku.api.openapi.defaults import with_defaults
from todoku.api.openapi.operations import PARAMETERS, Operation, operations, parameter_type
from todoku.api.resource import Resource

_V2_REF, _V3_REF = "#/definitions/", "#/components/schemas/"
_INFO = {"title": "Kubernetes", "version": KUBERNETES_VERSION}
_NAMESPACE = "object name and auth scope, such as for teams and projects"
_PRETTY = (
    "If 'true', then the output is pretty printed. Defaults to 'false' unless the user-agent indicates a browser or"
    " command-line HTTP tool (curl and wget)."
)

Definitions = Mapping[str, Object]


def v3_path(group: str, version: str) -> str:
    """The key of a group and version in the v3 index: `api/v1`, `apis/apps/v1`."""
    return f"apis/{group}/{version}" if group else f"api/{version}"


def v3_document(resources: Iterable[Resource], definitions: Definitions) -> Object:
    """OpenAPI 3.0 of the resources of one group and version."""
    paths: Object = {}
    wanted: list[str] = []
    for resource in resources:
        wanted += [resource.schema, f"{resource.schema}List"]
        for one in operations(resource):
            item = paths.setdefault(one.path, _v3_item(one))
            item[one.method] = _v3_operation(one, definitions)
            wanted += [one.body, one.answer]
    schemas = {
        name: with_defaults(name, _as_v3(definitions[name]))
        for name in closure(wanted, definitions)
    }
    return {
        "openapi": "3.0.0",
        "info": _INFO,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "BearerToken": {
                    "type": "apiKey",
                    "description": "Bearer Token authentication",
                    "name": "authorization",
                    "in": "header",
                }
            },
        },
    }


def closure(names: Sequence[str], definitions: Definitions) -> list[str]:
    """The named definitions and all that they refer to, sorted."""
    found: set[str] = set()
    waiting = [name for name in names if name in definitions]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [one for one in _references(definitions[name]) if one in definitions]
    return sorted(found)


def _references(schema: Any) -> Iterable[str]:
    if isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix(_V2_REF)
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _as_v3(schema: Any) -> Any:
    if isinstance(schema, dict):
        out = {key: _as_v3(value) for key, value in schema.items()}
        reference = out.get("$ref")
        if isinstance(reference, str):
            out["$ref"] = reference.replace(_V2_REF, _V3_REF)
            if len(out) > 1:  # OpenAPI 3.0 allows nothing beside a reference
                return {"allOf": [{"$ref": out.pop("$ref")}], **out}
        return out
    if isinstance(schema, list):
        return [_as_v3(value) for value in schema]
    return schema


def _v3_reference(name: str, definitions: Definitions) -> Object:
    return {"$ref": _V3_REF + name} if name in definitions else {"type": "object"}


def _v3_item(one: Operation) -> Object:
    parameters: list[Object] = [
        {**each, "schema": {"type": "string", "uniqueItems": True}} for each in _shared(one)
    ]
    return {"parameters": parameters}


def _shared(one: Operation) -> Iterator[Object]:
    """The parameters of all operations on a path."""
    for name in one.path_parameters:
        text = _NAMESPACE if name == "namespace" else f"name of the {one.owner}"
        yield {"name": name, "in": "path", "description": text, "required": True}
    yield {"name": "pretty", "in": "query", "description": _PRETTY}


def _v3_operation(one: Operation, definitions: Definitions) -> Object:
    kind = {"group": one.kind.group, "version": one.kind.version, "kind": one.kind.kind}
    answer = _v3_reference(one.answer, definitions) if one.answer else {"type": "string"}
    content = {media: {"schema": answer} for media in one.produces}
    operation: Object = {
        "tags": [one.tag],
        "description": one.description,
        "operationId": one.identifier,
        "parameters": [
            {
                "name": name,
                "in": "query",
                "schema": {"type": parameter_type(name), "uniqueItems": True},
            }
            for name in PARAMETERS[one.verb]
        ],
        "responses": {
            code: {"description": text, "content": content} for code, text in _codes(one)
        },
        "x-kubernetes-action": one.action,
        "x-kubernetes-group-version-kind": kind,
    }
    if one.body:
        schema = _v3_reference(one.body, definitions)
        operation["requestBody"] = {
            "content": {each: {"schema": schema} for each in one.consumes},
            "required": one.verb not in ("delete", "deletecollection"),
        }
    return operation


def _codes(one: Operation) -> list[tuple[str, str]]:
    found = [("200", "OK")]
    if one.verb in ("create", "update", "patch"):
        found.append(("201", "Created"))
    if one.verb in ("create", "delete"):
        found.append(("202", "Accepted"))
    return [*found, ("401", "Unauthorized")]


def v2_document(resources: Iterable[Resource], definitions: Definitions) -> Object:
    """OpenAPI 2.0 of all resources."""
    paths: Object = {}
    wanted: list[str] = []
    for resource in resources:
        wanted += [resource.schema, f"{resource.schema}List"]
        for one in operations(resource):
            item = paths.setdefault(one.path, _v2_item(one))
            item[one.method] = _v2_operation(one, definitions)
            wanted += [one.body, one.answer]
    return {
        "swagger": "2.0",
        "info": _INFO,
        "paths": paths,
        "definitions": {name: definitions[name] for name in closure(wanted, definitions)},
        "securityDefinitions": {
            "BearerToken": {
                "type": "apiKey",
                "description": "Bearer Token authentication",
                "name": "authorization",
                "in": "header",
            }
        },
        "security": [{"BearerToken": []}],
    }


def _v2_item(one: Operation) -> Object:
    parameters: list[Object] = [
        {**each, "type": "string", "uniqueItems": True} for each in _shared(one)
    ]
    return {"parameters": parameters}


def _v2_operation(one: Operation, definitions: Definitions) -> Object:
    kind = {"group": one.kind.group, "version": one.kind.version, "kind": one.kind.kind}
    parameters: list[Object] = []
    if one.body:
        required = one.verb not in ("delete", "deletecollection")
        body: Object = {
            "name": "body",
            "in": "body",
            "schema": _v2_reference(one.body, definitions),
        }
        parameters.append(body | ({"required": True} if required else {}))
    parameters += [
        {"name": name, "in": "query", "type": parameter_type(name), "uniqueItems": True}
        for name in PARAMETERS[one.verb]
    ]
    answer = _v2_reference(one.answer, definitions) if one.answer else {"type": "string"}
    return {
        "description": one.description,
        "operationId": one.identifier,
        "tags": [one.tag],
        "schemes": ["https"],
        "consumes": list(one.consumes),
        "produces": list(one.produces),
        "parameters": parameters,
        "responses": {
            code: {"description": text, "schema": answer}
            if code != "401"
            else {"description": text}
            for code, text in _codes(one)
        },
        "x-kubernetes-action": one.action,
        "x-kubernetes-group-version-kind": kind,
    }


def _v2_reference(name: str, definitions: Definitions) -> Object:
    return {"$ref": _V2_REF + name} if name in definitions else {"type": "object"}
