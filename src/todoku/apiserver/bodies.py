"""Request bodies: JSON, YAML and protobuf decoded into wire objects, with field validation.

fieldValidation (KEP-2885): Strict refuses unknown and duplicate fields, Warn (the default) answers them with
Warning headers, Ignore drops them silently.
"""

from __future__ import annotations

from typing import Any

import yaml

from todoku.api import decoding, errors, keeping, schemas
from todoku.api.meta import GroupVersionKind, Object
from todoku.api.schemas import Type
from todoku.apiserver.context import Context
from todoku.apiserver.negotiation import JSON, PROTOBUF, YAML
from todoku.wire import protobuf

MAX_YAML_NODES = 1_000_000
MAX_YAML_DEPTH = (
    200  # as deep as the JSON parser goes; the C parser recurses without a limit of its own
)
_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def decode(content_type: str, body: bytes) -> tuple[Object, list[str]]:
    """One wire object and its duplicate fields.  Raises BadRequest, UnsupportedMediaType."""
    media = media_type(content_type) or JSON
    if media == PROTOBUF:
        return protobuf.decode(body), []
    if media == JSON:
        value, duplicates = parse_json(body)
        return _object(value), duplicates
    if media == YAML:
        value, duplicates = parse_yaml(body)
        return _object(value), duplicates
    raise errors.UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include:"
        f" {JSON}, {YAML}, {PROTOBUF}"
    )


def parse_json(body: bytes) -> tuple[Any, list[str]]:
    """The value and its duplicate fields.  Raises BadRequest."""
    try:
        return decoding.parse_json(body)
    except (ValueError, RecursionError) as problem:
        raise errors.BadRequest(f"couldn't get version/kind; json parse error: {problem}") from None


def parse_yaml(body: bytes) -> tuple[Any, list[str]]:
    """The value and its duplicate keys.  Raises BadRequest; aliases may not multiply the document."""
    loader = _Loader(body)
    try:
        value = loader.get_single_data()
        _count(value)
    except (yaml.YAMLError, RecursionError, ValueError) as problem:
        raise errors.BadRequest(f"error converting YAML to JSON: yaml: {problem}") from None
    finally:
        loader.dispose()
    return value, loader.duplicates


class _Loader(_BaseLoader):  # type: ignore[misc]
    """Safe YAML 1.1 whose timestamps stay text, as JSON knows none; notes keys that are set twice."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.duplicates: list[str] = []
        self._depth = 0

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        """The parser calls this for each node it enters."""
        self._depth += 1
        if self._depth > MAX_YAML_DEPTH:
            raise yaml.YAMLError("exceeded max depth")

    def ascend_resolver(self) -> None:
        self._depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value
            if isinstance(key, str):
                if key in seen:
                    line = key_node.start_mark.line + 1
                    self.duplicates.append(f'line {line}: key "{key}" already set in map')
                seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [one for one in resolvers if one[0] != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _BaseLoader.yaml_implicit_resolvers.items()
}


def _count(value: Any) -> None:
    """Refuse what aliases have blown up, and keys that JSON cannot carry."""
    waiting, count = [value], 0
    while waiting:
        one = waiting.pop()
        count += 1
        if count > MAX_YAML_NODES:
            raise ValueError("document contains excessive aliasing")
        if isinstance(one, dict):
            if not all(isinstance(key, str) for key in one):
                raise ValueError("keys of maps must be strings")
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


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
    obj, duplicates = decode(context.content_type, context.body) if context.body else ({}, [])
    if kind is None or kind == context.served.resource.gvk:
        wanted, type_ = context.served.resource.gvk, context.served.type
    else:
        wanted, type_ = kind, schemas.type_of(schemas.names_by_kind()[kind])
    settle_kind(obj, wanted)
    return checked(context, obj, type_, wanted, duplicates)


def read_configuration(context: Context) -> Object:
    """The object of an apply patch (YAML, of which JSON is a part)."""
    value, duplicates = parse_yaml(context.body)
    obj = _object(value)
    for key in ("apiVersion", "kind"):
        if not obj.get(key):
            raise errors.BadRequest(f"invalid object type: {key} must be set in an apply patch")
    wanted = context.served.resource.gvk
    settle_kind(obj, wanted)
    return checked(context, obj, context.served.type, wanted, duplicates)


def settle_kind(obj: Object, wanted: GroupVersionKind) -> None:
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


def _version_of(api_version: str) -> str:
    return api_version.rpartition("/")[2]


_METADATA = Type("struct", fields={"metadata": schemas.type_of(schemas.OBJECT_META)}, open=True)


def _right(context: Context, obj: Object, type_: Type, kind: GroupVersionKind) -> Object | None:
    """A new object of a built-in kind with nothing wrong in it; None where there is, or may be."""
    if context.served.custom is not None and kind == context.served.resource.gvk:
        return None
    return keeping.kept(obj, type_)


def _unknown(context: Context, obj: Object, type_: Type, kind: GroupVersionKind) -> list[str]:
    """The fields that will not be kept, after checking the types that Go's decoder checks.

    Of a custom resource that is its metadata only; its schema checks the rest, as part of validation.
    """
    custom = context.served.custom
    if custom is not None and kind == context.served.resource.gvk:
        decoding.check_types(obj, _METADATA, kind=kind.kind, version=kind.version)
        unknown = decoding.strict_problems(obj, _METADATA)
        return list(dict.fromkeys([*unknown, *custom.unknown(obj)]))
    decoding.check_types(obj, type_, kind=kind.kind, version=kind.version)
    return decoding.strict_problems(obj, type_)


def _kept(context: Context, obj: Object, type_: Type, kind: GroupVersionKind) -> Object:
    """A new object without what is not kept."""
    custom = context.served.custom
    if custom is None or kind != context.served.resource.gvk:
        result: Object = decoding.normalize(obj, type_)
        return result
    return custom.prune(obj)


def readmitted(context: Context, obj: Object) -> Object:
    """An object that mutating webhooks or policies have replaced: its types checked, unknown fields dropped.

    Raises InternalError when they made something that is no object of its kind any more.
    """
    served = context.served
    try:
        if served.custom is not None:
            decoding.check_types(
                obj, _METADATA, kind=served.resource.kind, version=served.resource.version
            )
        else:
            gvk = served.resource.gvk
            decoding.check_types(obj, served.type, kind=gvk.kind, version=gvk.version)
    except errors.BadRequest as error:
        raise errors.InternalError(f"Internal error occurred: {error.message}") from error
    return _kept(context, obj, served.type, served.resource.gvk)


def checked(
    context: Context,
    obj: Object,
    type_: Type,
    kind: GroupVersionKind,
    duplicates: list[str],
) -> Object:
    """The object as its type keeps it; what it does not keep is refused, warned of or ignored.

    Raises BadRequest for a value of a wrong type, and under Strict for unknown and duplicate fields.
    """
    mode = validation_mode(context)
    if not duplicates and (right := _right(context, obj, type_, kind)) is not None:
        return right
    problems = [*duplicates, *_unknown(context, obj, type_, kind)]
    if mode != "Ignore":
        if problems and mode == "Strict":
            raise errors.BadRequest(
                f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}:'
                f" strict decoding error: {', '.join(problems)}"
            )
        context.warnings.extend(problems)
    return _kept(context, obj, type_, kind)


def checked_patch(context: Context, obj: Object, duplicates: list[str]) -> Object:
    """The result of a patch, checked like an object that was sent; under Strict worded as a bad patch."""
    served = context.served
    kind = served.resource.gvk
    mode = validation_mode(context)
    if not duplicates and (right := _right(context, obj, served.type, kind)) is not None:
        return right
    problems = [*duplicates, *_unknown(context, obj, served.type, kind)]
    if mode != "Ignore":
        if problems and mode == "Strict":
            text = f"strict decoding error: {', '.join(problems)}"
            problem = errors.invalid(
                errors.Path("patch"), context.body.decode(errors="replace"), text
            )
            raise errors.Invalid.of("", "", "", [problem])
        context.warnings.extend(problems)
    return _kept(context, obj, served.type, kind)


def validation_mode(context: Context) -> str:
    mode = context.query.get("fieldValidation") or "Warn"
    if mode not in ("Ignore", "Strict", "Warn"):
        path = errors.Path("fieldValidation")
        problem = errors.not_supported(path, mode, ("", "Ignore", "Strict", "Warn"))
        kind = {"create": "CreateOptions", "patch": "PatchOptions"}.get(
            context.info.verb, "UpdateOptions"
        )
        raise errors.Invalid.of(kind, "meta.k8s.io", "", [problem])
    return mode
