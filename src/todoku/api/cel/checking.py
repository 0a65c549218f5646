"""Type checking: expressions over variables whose structure is known, compiled but never evaluated.

Structures become message types of a descriptor pool made for the purpose; the engine checks selections and overloads
against them as cel-go does against declared types.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from todoku.api.cel import wording
from todoku.api.cel.declarations import Opaque
from todoku.api.cel.engine import CelError, checked_environment, compiled
from todoku.api.cel.values import escape
from todoku.api.schemas import Type


@dataclass(frozen=True, slots=True)
class ListOf:
    items: Kind


@dataclass(frozen=True, slots=True)
class MapOf:
    values: Kind


@dataclass(frozen=True, slots=True)
class Message:
    """A structure by its name in `Structures`."""

    name: str


Kind: TypeAlias = str | ListOf | MapOf | Message
"""string, int, bool, double, bytes, timestamp, duration or dyn; or one of the composed."""


@dataclass(slots=True)
class Structures:
    """Message types by name; each maps field names to kinds.  Recursion is by name."""

    fields: dict[str, dict[str, Kind]] = field(default_factory=dict)
    _named: dict[int, str] = field(default_factory=dict)
    _held: list[Type] = field(default_factory=list)  # an id is a key while its object lives

    def add(self, name: str, fields: Mapping[str, Kind]) -> Message:
        self.fields[name] = dict(fields)
        return Message(name)

    def of_type(self, type_: Type, name: str) -> Kind:
        """The kind of a schema's type; structures below it are added, named by their definition or `name`."""
        if type_.kind == "struct" and type_.fields:
            return self._struct(type_, name)
        if type_.kind == "list" and type_.items is not None:
            return ListOf(self.of_type(type_.items, f"{name}.@idx"))
        if type_.kind == "map" and type_.items is not None:
            return MapOf(self.of_type(type_.items, f"{name}.@elem"))
        return _SCALARS.get(type_.kind, "dyn")

    def _struct(self, type_: Type, name: str) -> Message:
        known = self._named.get(id(type_))
        if known is not None:
            return Message(known)
        named = type_.name if type_.name and type_.name not in self.fields else name
        self._named[id(type_)] = named
        self._held.append(type_)
        fields = self.fields[named] = {}
        for key, child in type_.fields.items():
            fields[escape(key)] = self.of_type(child, f"{name}.{key}")
        return Message(named)


_SCALARS = {
    "string": "string", "integer": "int", "number": "double", "boolean": "bool", "bytes": "bytes",
    "time": "timestamp", "microtime": "timestamp",
}  # fmt: skip


class Checker:
    """Checks expressions one by one; `define` makes the type of one a field of `variables` for those that follow."""

    def __init__(self, structures: Structures, variables: Mapping[str, Kind | Opaque]) -> None:
        self._pool = _Pool(structures)
        self._declared = {
            name: kind if isinstance(kind, Opaque) else self._pool.type(kind)
            for name, kind in variables.items()
        }
        self._defined: dict[str, Kind] = {}
        self._environment: Any = None

    def check(self, expression: str) -> str:
        """The type of an expression as clients read it: `bool`, `list(string)`.  Raises CelError."""
        return self._pool.readable(wording.go_type(self._type_name(expression)))

    def compiled(self, expression: str) -> Any:
        """The engine's expression.  Raises CelError."""
        if self._environment is None:
            self._environment = checked_environment(self._declared, self._pool.pool)
        try:
            return compiled(self._environment, expression, self._declared)
        except CelError as error:
            raise CelError(self._pool.readable(str(error))) from None

    def define(self, name: str, expression: str) -> str:
        """Check an expression and let `variables.NAME` stand for it; if it fails, for anything.  Raises CelError."""
        self._defined[name] = "dyn"
        try:
            found = self._type_name(expression)
            self._defined[name] = self._pool.kind(found)
        finally:
            self._declared["variables"] = self._pool.type(self._pool.add_variables(self._defined))
            self._environment = None
        return self._pool.readable(wording.go_type(found))

    def _type_name(self, expression: str) -> str:
        return str(self.compiled(expression).return_type().name())


class _Pool:
    """The descriptors of structures; their names there are plain, since CEL reads dots as selections."""

    def __init__(self, structures: Structures) -> None:
        from google.protobuf import (
            descriptor_pb2,
            descriptor_pool,
            duration_pb2,
            struct_pb2,
            timestamp_pb2,
        )

        self.pool = descriptor_pool.DescriptorPool()
        self._files: list[str] = []
        self._inner: dict[str, str] = {}
        for known in (struct_pb2, timestamp_pb2, duration_pb2):
            copied = descriptor_pb2.FileDescriptorProto()
            known.DESCRIPTOR.CopyToProto(copied)
            self.pool.Add(copied)
            self._files.append(copied.name)
        self._add(structures.fields)

    def _add(self, structures: Mapping[str, Mapping[str, Kind]]) -> None:
        from google.protobuf import descriptor_pb2

        name = f"todoku/structures{len(self._files)}.proto"
        file = descriptor_pb2.FileDescriptorProto(name=name, syntax="proto3")
        file.dependency.extend(self._files)
        for one in structures:
            self._inner[one] = f"Structure{len(self._inner)}_"
        for one, fields in structures.items():
            message = file.message_type.add(name=self._inner[one])
            # A schema may have both fooBar and foo_bar, which are one name in protobuf's JSON.
            message.options.deprecated_legacy_json_field_conflicts = True
            for number, (key, kind) in enumerate(fields.items(), start=1):
                _field(message, (key, number), kind, self._inner)
        self.pool.Add(file)
        self._files.append(name)

    def add_variables(self, fields: Mapping[str, Kind]) -> Message:
        """A structure of all variables so far."""
        name = f"kubernetes.variables{len(self._files)}"
        self._add({name: fields})
        return Message(name)

    def readable(self, text: str) -> str:
        """With the names of structures as they were given."""
        return _INNER.sub(lambda match: self._names.get(match.group(), match.group()), text)

    @property
    def _names(self) -> Mapping[str, str]:
        return {inner: name for name, inner in self._inner.items()}

    def type(self, kind: Kind) -> Any:
        """The engine's type."""
        from cel_expr_python import cel

        if isinstance(kind, ListOf):
            return cel.Type.List(self.type(kind.items))
        if isinstance(kind, MapOf):
            return cel.Type.Map(cel.Type.STRING, self.type(kind.values))
        if isinstance(kind, Message):
            return cel.Type(self._inner[kind.name])
        return getattr(cel.Type, kind.upper())

    def kind(self, name: str) -> Kind:
        """The kind of an engine's type by its name; what a field cannot hold is anything."""
        if name in self._names:
            return Message(self._names[name])
        outer, parameters = wording.parameters(name)
        if outer == "LIST":
            return ListOf(self.kind(parameters[0]))
        if outer == "MAP" and parameters[0] == "STRING":
            return MapOf(self.kind(parameters[1]))
        return name.lower() if name.lower() in (*_NUMBERS, *_WELL_KNOWN) else "dyn"


_INNER = re.compile(r"\bStructure\d+_")
_NUMBERS = {"double": 1, "int": 3, "bool": 8, "string": 9, "bytes": 12}  # FieldDescriptorProto.Type
_MESSAGE, _OPTIONAL, _REPEATED = 11, 1, 3
_WELL_KNOWN = {
    "dyn": ".google.protobuf.Value",
    "timestamp": ".google.protobuf.Timestamp",
    "duration": ".google.protobuf.Duration",
}


def _field(message: Any, place: tuple[str, int], kind: Kind, inner: Mapping[str, str]) -> None:
    key, _ = place
    entry = _entry_name(key)
    if isinstance(kind, ListOf):
        _plain(message, place, _REPEATED, kind.items, inner)
    elif isinstance(kind, MapOf) and all(one.name != entry for one in message.nested_type):
        made = message.nested_type.add(name=entry)
        made.options.map_entry = True
        _plain(made, ("key", 1), _OPTIONAL, "string", inner)
        _plain(made, ("value", 2), _OPTIONAL, kind.values, inner)
        _set(message, place, _REPEATED, f".{message.name}.{entry}")
    else:
        _plain(message, place, _OPTIONAL, kind, inner)


def _plain(
    message: Any, place: tuple[str, int], label: int, kind: Kind, inner: Mapping[str, str]
) -> None:
    """Descriptors know no lists or maps inside lists or maps: below, they are of anything."""
    key, number = place
    if isinstance(kind, Message):
        _set(message, place, label, f".{inner[kind.name]}")
    elif isinstance(kind, ListOf | MapOf):
        nested = "ListValue" if isinstance(kind, ListOf) else "Struct"
        _set(message, place, label, f".google.protobuf.{nested}")
    elif kind in _WELL_KNOWN:
        _set(message, place, label, _WELL_KNOWN[kind])
    else:
        made = message.field.add(name=key, json_name=key, number=number, type=_NUMBERS[kind])
        made.label = label


def _entry_name(key: str) -> str:
    """What protobuf insists on: `matchLabels` has the entries MatchLabelsEntry."""
    words = [word for word in key.split("_") if word]
    return "".join(word[:1].upper() + word[1:] for word in words) + "Entry"


def _set(message: Any, place: tuple[str, int], label: int, type_name: str) -> None:
    key, number = place
    made = message.field.add(
        name=key, json_name=key, number=number, type=_MESSAGE, type_name=type_name
    )
    made.label = label


__all__ = ["Checker", "ListOf", "MapOf", "Message", "Structures"]
