"""Checked syntax trees: what the engine's `serialize` gives, decoded.

Field numbers: cel/expr/checked.proto and syntax.proto (google/cel-spec).
"""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

_PACKAGE = "cel.expr"
_TYPES = {"bool": 8, "int64": 3, "uint64": 4, "double": 1, "string": 9, "bytes": 12, "enum": 5}
# message: {field: (number, type or message, repeated)}; "oneof kind" groups are read by WhichOneof.
_CONSTANT = {
    "null_value": (1, "int64"), "bool_value": (2, "bool"), "int64_value": (3, "int64"),
    "uint64_value": (4, "uint64"), "double_value": (5, "double"), "string_value": (6, "string"),
    "bytes_value": (7, "bytes"),
}  # fmt: skip
_KINDS: dict[str, dict[str, tuple[int, str]]] = {
    "Constant": _CONSTANT,
    "Expr": {
        "const_expr": (3, "Constant"), "ident_expr": (4, "Ident"), "select_expr": (5, "Select"),
        "call_expr": (6, "Call"), "list_expr": (7, "CreateList"), "struct_expr": (8, "CreateStruct"),
        "comprehension_expr": (9, "Comprehension"),
    },
    "Type": {
        "dyn": (1, "Empty"), "null": (2, "enum"), "primitive": (3, "enum"), "wrapper": (4, "enum"),
        "well_known": (5, "enum"), "list_type": (6, "ListType"), "map_type": (7, "MapType"),
        "message_type": (9, "string"), "type_param": (10, "string"), "type": (11, "Type"),
        "abstract_type": (14, "AbstractType"),
    },
}  # fmt: skip
_PLAIN: dict[str, dict[str, tuple[int, str]]] = {
    "Empty": {},
    "Expr": {"id": (2, "int64")},
    "Ident": {"name": (1, "string")},
    "Select": {"operand": (1, "Expr"), "field": (2, "string"), "test_only": (3, "bool")},
    "Call": {"target": (1, "Expr"), "function": (2, "string"), "args": (3, "*Expr")},
    "CreateList": {"elements": (1, "*Expr")},
    "Entry": {"id": (1, "int64"), "field_key": (2, "string"), "map_key": (3, "Expr"), "value": (4, "Expr")},
    "CreateStruct": {"message_name": (1, "string"), "entries": (2, "*Entry")},
    "Comprehension": {
        "iter_var": (1, "string"), "iter_range": (2, "Expr"), "accu_var": (3, "string"), "accu_init": (4, "Expr"),
        "loop_condition": (5, "Expr"), "loop_step": (6, "Expr"), "result": (7, "Expr"), "iter_var2": (8, "string"),
    },
    "ListType": {"elem_type": (1, "Type")},
    "MapType": {"key_type": (1, "Type"), "value_type": (2, "Type")},
    "AbstractType": {"name": (1, "string"), "parameter_types": (2, "*Type")},
    "Reference": {"name": (1, "string"), "overload_id": (3, "*string")},
    # Maps travel as repeated entries.
    "ReferenceEntry": {"key": (1, "int64"), "value": (2, "Reference")},
    "TypeEntry": {"key": (1, "int64"), "value": (2, "Type")},
    "CheckedExpr": {"references": (2, "*ReferenceEntry"), "types": (3, "*TypeEntry"), "expr": (4, "Expr")},
    "Any": {"type_url": (1, "string"), "value": (2, "bytes")},
}  # fmt: skip


@functools.cache
def _messages() -> dict[str, Any]:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="syntax", package=_PACKAGE, syntax="proto3")
    for name in dict.fromkeys((*_PLAIN, *_KINDS)):
        message = file.message_type.add(name=name)
        for key, (number, kind) in _PLAIN.get(name, {}).items():
            _add(message, key, number, kind)
        if name in _KINDS:
            message.oneof_decl.add(name="kind")
            for key, (number, kind) in _KINDS[name].items():
                _add(message, key, number, kind).oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _PLAIN
    }


def _add(message: Any, name: str, number: int, kind: str) -> Any:
    plain = kind.removeprefix("*")
    made = message.field.add(name=name, number=number, label=3 if kind != plain else 1)
    if plain in _TYPES:
        made.type = _TYPES[plain]
    else:
        made.type, made.type_name = 11, f".{_PACKAGE}.{plain}"
    return made


class Tree:
    """An expression with the type of each of its parts and the overloads of its calls, by the part's id.

    `names` says how often each variable is named.
    """

    def __init__(self, serialized: bytes) -> None:
        messages = _messages()
        checked = messages["CheckedExpr"].FromString(messages["Any"].FromString(serialized).value)
        self.expr: Any = checked.expr
        self.types: dict[int, Any] = {one.key: one.value for one in checked.types}
        self.overloads = {
            one.key: tuple(one.value.overload_id)
            for one in checked.references
            if one.value.overload_id
        }
        self.names = Counter(one.value.name for one in checked.references if one.value.name)
