"""Request bodies: JSON, YAML and protobuf decoded into wire objects, with field validation.

fieldValidation (KEP-2885): Strict refuses unknown and duplicate fields, Warn (the default) answers them with
Warning headers, Ignore drops them silently.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import jiter
import yaml

from todoku.api import decoding, errors, goformat, gojson, keeping, schemas
from todoku.api.meta import GroupVersionKind, Object, gvk_of
from todoku.api.schemas import Type
from todoku.apiserver import custom_bodies
from todoku.apiserver.context import Context
from todoku.apiserver.encoding import dumps
from todoku.apiserver.negotiation import JSON, PROTOBUF, YAML
from todoku.wire import protobuf

MAX_STRICT_PROBLEMS = 100  # as many as Go's strict decoder tells of
SPARE_YAML_NODES = 10_000  # that aliases may make, beyond what the text has room for
MAX_NUMBER_BITS = 1024
MAX_YAML_DEPTH = (
    200  # as deep as the JSON parser goes; the C parser recurses without a limit of its own
)
_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def decode(
    content_type: str, body: bytes, default: GroupVersionKind | None = None
) -> tuple[Object, list[str]]:
    """One wire object, a `default` unless it says otherwise, and its duplicate fields.

    Raises BadRequest, UnsupportedMediaType.
    """
    media = media_type(content_type) if content_type else JSON
    if media == PROTOBUF:
        return protobuf.decode(body, (default.api_version, default.kind) if default else None), []
    if media == JSON:
        value, duplicates = parse_json(body)
        return _object(value), duplicates
    if media == YAML:
        value, duplicates = parse_yaml(body)
        return _object(value), duplicates
    raise _unknown_format(JSON, YAML, PROTOBUF)


def _unknown_format(*accepted: str) -> errors.UnsupportedMediaType:
    return errors.UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include:"
        f" {', '.join(accepted)}"
    )


def parse_json(body: bytes) -> tuple[Any, list[str]]:
    """The value and its duplicate fields.  Raises BadRequest."""
    try:
        return decoding.parse_json(body)
    except (ValueError, RecursionError) as problem:
        raise errors.BadRequest(f"couldn't get version/kind; json parse error: {problem}") from None


def parse_yaml(body: bytes) -> tuple[Any, list[str]]:
    """The value and its duplicate keys.  Raises BadRequest; aliases may not multiply the document."""
    if (
        body.lstrip()[:1] == b"{"
    ):  # clients send JSON, which is YAML, and is read twenty times faster
        with contextlib.suppress(ValueError, RecursionError):
            return jiter.from_json(body, catch_duplicate_keys=True), []
    loader = _Loader(body)
    try:
        value = loader.get_single_data()
        _count(value, len(body) + SPARE_YAML_NODES)
    except (AttributeError, KeyError, TypeError) as problem:  # constructors, of a tag's wrong text
        why = "cannot decode a value as its tag says"
        raise errors.BadRequest(f"yaml: {why}") from problem
    except (yaml.YAMLError, RecursionError, ValueError) as problem:
        raise errors.BadRequest(f"yaml: {_yaml_problem(problem)}") from None
    finally:
        loader.dispose()
    return value, loader.duplicates


def _yaml_problem(problem: Exception) -> str:
    """As goyaml tells it: libyaml's words, and the line unless that is the first one."""
    if not isinstance(problem, yaml.MarkedYAMLError) or not problem.problem:
        return str(problem)
    line = problem.problem_mark.line if problem.problem_mark else 0
    if line and isinstance(problem, yaml.scanner.ScannerError):
        line += 1
    elif not line and problem.context_mark:
        line = problem.context_mark.line
    return f"line {line}: {problem.problem}" if line else problem.problem


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


def _count(value: Any, most: int) -> None:
    """Refuse what aliases have blown up, and what JSON cannot carry."""
    waiting, count = [value], 0
    while waiting:
        one = waiting.pop()
        count += 1
        if count > most:
            raise ValueError("document contains excessive aliasing")
        if isinstance(one, dict):
            if not all(isinstance(key, str) for key in one):
                raise ValueError("keys of maps must be strings")
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
        elif not isinstance(one, str | int | float | None):
            raise ValueError(f"values of type {type(one).__name__} are not part of JSON")
        elif isinstance(one, int) and one.bit_length() > MAX_NUMBER_BITS:
            raise ValueError("a number is out of range")


def _object(value: Any) -> Object:
    if value is None:
        return {}  # Go's decoder leaves the object as it is
    if not isinstance(value, dict):
        raise errors.BadRequest(
            "couldn't get version/kind; json parse error: json: cannot unmarshal"
            f" {gojson.kind(value)} into Go value of type {_TYPE_META}"
        )
    return value


_TYPE_META = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'


def read_object(context: Context, kind: GroupVersionKind | None = None) -> Object:
    """The object of a create or update: of `kind`, or of the kind and version that the path says."""
    default = kind or context.served.resource.gvk
    word = default.kind
    media = media_type(context.content_type)
    if context.served.custom is not None and kind is None and media == PROTOBUF:
        raise _unknown_format(JSON, YAML)  # what has no Go type has no message either
    try:
        obj, duplicates = decode(context.content_type, context.body, default)
    except errors.BadRequest as error:
        raise errors.BadRequest(
            f"the object provided is unrecognized (must be of type {word}): {error.message} ({_summary(context.body)})"
        ) from error
    if kind is None or kind == context.served.resource.gvk:
        wanted, type_ = context.served.resource.gvk, context.served.type
        custom = context.served.custom is not None
    else:
        wanted, type_ = kind, schemas.type_of(schemas.names_by_kind()[kind])
        custom = False
    settle_kind(obj, wanted, custom=custom)
    return checked(context, obj, type_, wanted, duplicates)


def _summary(body: bytes) -> str:
    """The beginning of a body that is no object: as it is if it looks like JSON, else in hexadecimal."""
    if not body:
        return "<empty>"
    head = body[:30]
    shown = head.decode(errors="replace") if body.startswith(b"{") else head.hex()
    return f"{shown} ..." if len(body) > len(head) else shown


def read_configuration(context: Context, kind: GroupVersionKind | None = None) -> Object:
    """The object of an apply patch (YAML, of which JSON is a part) to the resource's kind or to `kind`.

    Applying it says whether it fits its schema.
    """
    try:
        value, duplicates = parse_yaml(context.body)
    except errors.BadRequest as error:
        text = f"error decoding YAML: error converting YAML to JSON: {error.message}"
        raise errors.BadRequest(text) from error
    obj = _object(value)
    wanted, found = kind or context.served.resource.gvk, gvk_of(obj)
    if found != wanted:
        shown = f"{found.group}/{found.version}, Kind={found.kind}"
        raise errors.BadRequest(f"invalid object type: {shown}")
    settle_kind(obj, wanted)
    if duplicates and validation_mode(context) == "Strict":
        text = f"error converting YAML to JSON: {_yaml_duplicates(duplicates)}"
        raise errors.BadRequest(f"error strict decoding YAML: {text}")
    if validation_mode(context) != "Ignore":
        context.warnings.extend(duplicates)
    return obj


def _yaml_duplicates(duplicates: list[str]) -> str:
    return "\n  ".join(["yaml: unmarshal errors:", *duplicates])


def settle_kind(obj: Object, wanted: GroupVersionKind, *, custom: bool = False) -> None:
    """Missing kind, apiVersion and metadata are filled in; other ones than wanted are refused."""
    if custom:
        custom_bodies.settle_kind(obj, wanted)
        custom_bodies.check_metadata(obj["metadata"], wanted)
        return
    word, found = wanted.kind, _declared(obj, wanted)
    if found != wanted:
        if (found.group, found.kind) == (wanted.group, word) and found in schemas.names_by_kind():
            raise errors.BadRequest(
                f"the API version in the data ({found.api_version}) does not match the expected API version"
                f" ({wanted.api_version})"
            )
        raise errors.BadRequest(
            f'{found.kind} in version "{found.version}" cannot be handled as a {word}: {_unlike(found, wanted)}'
        )
    obj["kind"], obj["apiVersion"] = word, wanted.api_version
    metadata = obj.get("metadata")
    if metadata is None:
        obj["metadata"] = {}
    elif not isinstance(metadata, dict):
        raise errors.BadRequest(
            f'{word} in version "{wanted.version}" cannot be handled as a {word}: json: cannot'
            f" unmarshal {gojson.kind(metadata)} into Go struct field {word}.metadata of type"
            " v1.ObjectMeta"
        )


def _declared(obj: Object, wanted: GroupVersionKind) -> GroupVersionKind:
    """What the object says it is; what it does not say is as wanted."""
    found = gvk_of(obj)
    if not obj.get("apiVersion"):
        found = found._replace(group=wanted.group, version=wanted.version)
    return found if obj.get("kind") else found._replace(kind=wanted.kind)


def _unlike(found: GroupVersionKind, wanted: GroupVersionKind) -> str:
    """Why an object of one kind cannot be read as one of another."""
    if found not in schemas.names_by_kind():
        scheme = "pkg/api/legacyscheme/scheme.go:30"
        return f'no kind "{found.kind}" is registered for version "{found.api_version}" in scheme "{scheme}"'
    package = wanted.group.partition(".")[0] or "core"
    return f"converting ({found.version}.{found.kind}) to ({package}.{wanted.kind}): unknown conversion"


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
        custom_bodies.check_metadata(obj["metadata"], kind)
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
            custom_bodies.check_metadata(obj.get("metadata"), served.resource.gvk)
        else:
            gvk = served.resource.gvk
            decoding.check_types(obj, served.type, kind=gvk.kind, version=gvk.version)
    except errors.BadRequest as error:
        raise errors.InternalError.of(error.message) from error
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
    unknown = _unknown(context, obj, type_, kind)
    if mode != "Ignore":
        media = media_type(context.content_type) or JSON
        problems = [*duplicates, *unknown]
        if duplicates and unknown and context.served.custom is None and media == JSON:
            problems = decoding.in_order(context.body, problems)
        if media == JSON and context.served.custom is None:
            problems = problems[:MAX_STRICT_PROBLEMS]
        if problems and mode == "Strict":
            if duplicates and media == YAML:
                problems = [_yaml_duplicates(duplicates), *unknown]
            raise errors.BadRequest(
                f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}:'
                f" strict decoding error: {', '.join(problems)}"
            )
        context.warnings.extend(problems)
    return _kept(context, obj, type_, kind)


@dataclass(frozen=True, slots=True)
class Patched:
    """What a patch was: the duplicate fields of its body, and the patch itself if it was a strategic one."""

    duplicates: tuple[str, ...] = ()
    strategic: Object | None = None

    def refusal(self, obj: Object, problem: str) -> errors.Invalid:
        """The result `obj` is no object of its kind: a strategic patch is quoted, of others their result."""
        value = dumps(obj).decode() if self.strategic is None else goformat.plain(self.strategic)
        return errors.Invalid.of("", "", "", [errors.invalid(errors.Path("patch"), value, problem)])


def checked_patch(context: Context, obj: Object, patched: Patched) -> Object:
    """The result of a patch, checked like an object that was sent.  Raises Invalid, which names the patch."""
    served = context.served
    kind = served.resource.gvk
    mode = validation_mode(context)
    if (found := _declared(obj, kind)) != kind:
        raise patched.refusal(obj, _unlike(found, kind))
    if not patched.duplicates and (right := _right(context, obj, served.type, kind)) is not None:
        return right
    try:
        problems = [*patched.duplicates, *_unknown(context, obj, served.type, kind)]
    except errors.BadRequest as error:
        problem = error.message.partition(f"cannot be handled as a {kind.kind}: ")[2]
        if patched.strategic is not None:
            problem = decoding.conversion_problem(obj, served.type) or problem
        raise patched.refusal(obj, problem) from error
    if mode != "Ignore":
        if problems and mode == "Strict":
            raise patched.refusal(obj, f"strict decoding error: {', '.join(problems)}")
        context.warnings.extend(problems)
    return _kept(context, obj, served.type, kind)


def validation_mode(context: Context) -> str:
    return context.query.get("fieldValidation") or "Warn"
