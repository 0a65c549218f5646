"""Request bodies: JSON, YAML and protobuf decoded into wire objects, with field validation.

fieldValidation (KEP-2885): Strict refuses unknown and duplicate fields, Warn (the default) answers them with
Warning headers, Ignore drops them silently.
"""

from __future__ import annotations

from typing import Any

import jiter
import yaml

from todoku.api import errors
from todoku.api.meta import GroupVersionKind, Object
from todoku.apiserver.context import Context
from todoku.apiserver.negotiation import JSON, PROTOBUF, YAML
from todoku.wire import protobuf

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_DEPTH = 200


def media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def decode(content_type: str, body: bytes) -> Object:
    """One wire object.  Raises BadRequest, UnsupportedMediaType."""
    media = media_type(content_type) or JSON
    if media == PROTOBUF:
        return protobuf.decode(body)
    if media == JSON:
        return _object(parse_json(body))
    if media == YAML:
        return _object(parse_yaml(body))
    raise errors.UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include:"
        f" {JSON}, {YAML}, {PROTOBUF}"
    )


def parse_json(body: bytes) -> Any:
    try:
        return jiter.from_json(body)
    except (ValueError, RecursionError) as problem:
        raise errors.BadRequest(f"couldn't get version/kind; json parse error: {problem}") from None


def parse_yaml(body: bytes) -> Any:
    try:
        return yaml.load(body, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as problem:
        raise errors.BadRequest(f"error converting YAML to JSON: {problem}") from None


def _object(value: Any) -> Object:
    if not isinstance(value, dict):
        raise errors.BadRequest(
            "couldn't get version/kind; json parse error: json: cannot unmarshal"
            f" {_go_word(value)} into Go value of type struct"
        )
    return value


def _go_word(value: Any) -> str:
    if isinstance(value, list):
        return "array"
    return "string" if isinstance(value, str) else "null" if value is None else "number"


def read_object(context: Context, kind: GroupVersionKind | None = None) -> Object:
    """The object of a create or update: of `kind`, or of the kind and version that the path says."""
    obj: Object = decode(context.content_type, context.body) if context.body else {}
    return settle_kind(obj, kind or context.served.resource.gvk)


def settle_kind(obj: Object, wanted: GroupVersionKind) -> Object:
    """Missing kind, apiVersion and metadata are filled in; other ones than wanted are refused."""
    word = wanted.kind
    kind, version = obj.get("kind") or word, obj.get("apiVersion") or wanted.api_version
    if kind != word or version != wanted.api_version:
        raise errors.BadRequest(
            f'{kind} in version "{_version_of(str(version))}" cannot be handled as a {word}:'
            f" the object provided is unrecognized (must be of type {word}): {version} {kind}"
        )
    obj["kind"], obj["apiVersion"] = word, wanted.api_version
    metadata = obj.get("metadata")
    if metadata is None:
        obj["metadata"] = {}
    elif not isinstance(metadata, dict):
        raise errors.BadRequest(
            f'{word} in version "{wanted.version}" cannot be handled as a {word}: json: cannot'
            f" unmarshal {_go_word(metadata)} into Go struct field {word}.metadata of type"
            " v1.ObjectMeta"
        )
    return obj


def _version_of(api_version: str) -> str:
    return api_version.rpartition("/")[2]
