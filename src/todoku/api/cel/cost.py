"""The most that evaluating an expression can cost, in CEL's units, before any value is known.

Sizes of variables come from their declaration.  Semantics: cel-go checker/cost.go with the estimator of
k8s.io/apiserver pkg/cel/library/cost.go; the API refuses rules by these numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from todoku.api.cel.declared import Declared
from todoku.api.cel.syntax import Tree

LIMIT = 2**64 - 1  # sums and products stop here
_LIST, _MAP, _STRUCT = 10, 30, 40


@dataclass(frozen=True, slots=True)
class Range:
    """From the least to the most of a size or a cost."""

    low: int
    high: int

    def __add__(self, other: Range) -> Range:
        return Range(min(self.low + other.low, LIMIT), min(self.high + other.high, LIMIT))

    def __mul__(self, other: Range) -> Range:
        return Range(min(self.low * other.low, LIMIT), min(self.high * other.high, LIMIT))

    def __or__(self, other: Range) -> Range:
        return Range(min(self.low, other.low), max(self.high, other.high))

    def times(self, factor: float) -> Range:
        return Range(_scaled(self.low, factor), _scaled(self.high, factor))


def _scaled(value: int, factor: float) -> int:
    return min(math.ceil(float(value) * factor), LIMIT)


ZERO, ONE = Range(0, 0), Range(1, 1)
UNKNOWN = Range(0, LIMIT)


@dataclass(frozen=True, slots=True)
class Entry:
    """The sizes of a container's keys and values."""

    container: str
    key: Range
    value: Range


@dataclass(frozen=True, slots=True)
class _Local:
    """A variable that the expression itself has made."""

    path: tuple[str, ...]
    size: Range | None
    entry: Entry | None = None


def max_cost(tree: Tree, variables: Mapping[str, Declared]) -> int:
    """The worst case for any values of the declared variables."""
    return _Coster(tree, variables).cost(tree.expr).high


@dataclass(slots=True)
class _Call:
    """One overload of a call: the sizes and paths of its arguments, and what these cost."""

    expr: Any
    function: str
    overload: str
    target: Any
    args: Sequence[Any]
    costs: Sequence[Range]

    def spent(self, cost: Range, size: Range | None = None) -> tuple[Range, Range | None]:
        """The cost of the call itself and of its arguments; `size` is its result's."""
        return sum(self.costs, cost), size


@dataclass(slots=True)
class _Coster:
    tree: Tree
    variables: Mapping[str, Declared]
    paths: dict[int, tuple[str, ...]] = field(default_factory=dict)
    sizes: dict[int, Range] = field(default_factory=dict)
    entries: dict[int, Entry] = field(default_factory=dict)
    scopes: dict[str, list[_Local]] = field(default_factory=dict)

    # -- expressions

    def cost(self, expr: Any) -> Range:
        kind = expr.WhichOneof("kind")
        if kind == "ident_expr":
            local = self._local(expr.ident_expr.name)
            self.paths[expr.id] = local.path if local else (expr.ident_expr.name,)
            return ONE
        handler = {
            "select_expr": self._select,
            "call_expr": self._call,
            "list_expr": self._list,
            "struct_expr": self._struct,
            "comprehension_expr": self._comprehension,
        }.get(kind or "")
        return handler(expr) if handler else ZERO

    def _select(self, expr: Any) -> Range:
        select = expr.select_expr
        cost = self.cost(select.operand)
        if select.test_only:
            return cost
        if self._is_record(select.operand):
            cost += ONE
        self.paths[expr.id] = (*self.path(select.operand), select.field)
        return cost

    def _call(self, expr: Any) -> Range:
        call = expr.call_expr
        if call.function == "dyn" and len(call.args) == 1:
            cost = ONE + self.cost(call.args[0])
            self._same_size(expr, call.args[0])
            return cost
        costs = [self.cost(one) for one in call.args]
        target = call.target if call.HasField("target") else None
        total = self.cost(target) if target is not None else ZERO
        spent: Range | None = None
        size: Range | None = None
        for overload in self.tree.overloads.get(expr.id, ()):
            found, result = self._overload(
                _Call(expr, call.function, overload, target, call.args, costs)
            )
            spent = found if spent is None else spent | found
            if result is not None:
                size = result if size is None else size | result
            size = self._indexed(expr, overload, size)
            if size is None:
                size = self.size(expr)
        if spent is None:
            return ZERO
        if size is not None:
            self.sizes[expr.id] = size
        return total + spent

    def _indexed(self, expr: Any, overload: str, size: Range | None) -> Range | None:
        """The path and size of an item or a value."""
        part = {"index_list": "@items", "index_map": "@values"}.get(overload)
        if part is None or not expr.call_expr.args:
            return size
        container = expr.call_expr.args[0]
        self.paths[expr.id] = (*self.path(container), part)
        entry = self.entry(container)
        return entry.value if entry else None

    def _list(self, expr: Any) -> Range:
        cost = Range(_LIST, _LIST)
        value = Range(LIMIT, 0) if expr.list_expr.elements else ZERO
        for one in expr.list_expr.elements:
            cost += self.cost(one)
            value |= self.size_or_unknown(one)
        self.entries[expr.id] = Entry("list", ONE, value)
        return cost

    def _struct(self, expr: Any) -> Range:
        if expr.struct_expr.message_name:
            costs = (self.cost(one.value) for one in expr.struct_expr.entries)
            return sum(costs, Range(_STRUCT, _STRUCT))
        cost = Range(_MAP, _MAP)
        key = value = Range(LIMIT, 0) if expr.struct_expr.entries else ZERO
        for one in expr.struct_expr.entries:
            cost += self.cost(one.map_key) + self.cost(one.value)
            key |= self.size_or_unknown(one.map_key)
            value |= self.size_or_unknown(one.value)
        self.entries[expr.id] = Entry("map", key, value)
        return cost

    def _comprehension(self, expr: Any) -> Range:
        loop = expr.comprehension_expr
        cost = self.cost(loop.iter_range) + self.cost(loop.accu_init)
        if _is_bind(loop):
            self._push(loop.accu_var, self._bound(loop.accu_init))
            cost += self.cost(loop.result)
            self._pop(loop.accu_var)
            self._same_size(expr, loop.result)
            return cost
        self._push(loop.accu_var, self._bound(loop.accu_init))
        names = self._push_loop(loop)
        each = self.cost(loop.loop_condition)
        each = self.cost(loop.loop_step) + each
        for name in names:
            self._pop(name)
        cost += self.cost(loop.result)
        self._pop(loop.accu_var)
        count = self.size_or_unknown(loop.iter_range)
        cost += count * each
        self._loop_size(expr, loop, count)
        return cost

    def _loop_size(self, expr: Any, loop: Any, count: Range) -> None:
        start = loop.accu_init.WhichOneof("kind")
        if start == "const_expr":
            size = self.size(loop.accu_init)
            if size is not None:
                self.sizes[expr.id] = size
        elif start in ("list_expr", "struct_expr"):
            self.sizes[expr.id] = count
            entry = self.entry(loop.loop_step)
            if entry is not None:
                self.entries[expr.id] = entry

    # -- variables that the expression makes

    def _bound(self, expr: Any) -> _Local:
        return _Local(self.path(expr), self.size(expr), self.entry(expr))

    def _push_loop(self, loop: Any) -> list[str]:
        entry, path = self.entry(loop.iter_range), self.path(loop.iter_range)
        container = entry.container if entry else self.kind(loop.iter_range)
        key = _Local(
            (*path, "@indices" if container == "list" else "@keys"), entry.key if entry else None
        )
        value = _Local(
            (*path, "@items" if container == "list" else "@values"), entry.value if entry else None
        )
        if loop.iter_var2:
            self._push(loop.iter_var, key)
            self._push(loop.iter_var2, value)
            return [loop.iter_var, loop.iter_var2]
        self._push(loop.iter_var, value if container == "list" else key)
        return [loop.iter_var]

    def _push(self, name: str, local: _Local) -> None:
        self.scopes.setdefault(name, []).append(local)

    def _pop(self, name: str) -> None:
        self.scopes[name].pop()

    def _local(self, name: str) -> _Local | None:
        stack = self.scopes.get(name)
        return stack[-1] if stack else None

    # -- sizes

    def _ident_local(self, expr: Any) -> _Local | None:
        if expr.WhichOneof("kind") != "ident_expr":
            return None
        return self._local(expr.ident_expr.name)

    def path(self, expr: Any) -> tuple[str, ...]:
        local = self._ident_local(expr)
        return local.path if local else self.paths.get(expr.id, ())

    def kind(self, expr: Any) -> str:
        return kind_of(self.tree.types.get(expr.id))

    def _is_record(self, expr: Any) -> bool:
        """Whether it has fields; below what the checker knows, its declaration tells."""
        kind = self.kind(expr)
        if kind == "dyn":
            found = self.declared(self.path(expr))
            return found is not None and found.kind in ("object", "map")
        return kind in ("map", "struct", "param")

    def _same_size(self, expr: Any, other: Any) -> None:
        size, entry = self.size(other), self.entry(other)
        if size is not None:
            self.sizes[expr.id] = size
        if entry is not None:
            self.entries[expr.id] = entry

    def size(self, expr: Any) -> Range | None:
        """None if nothing is known of it."""
        known = self.sizes.get(expr.id) or _literal_size(expr)
        if known is not None:
            return known
        found = self.declared_size(self.path(expr))
        if found is not None:
            self.sizes[expr.id] = found
            return found
        if kind_of(self.tree.types.get(expr.id)) == "scalar":
            return ONE
        local = self._ident_local(expr)
        return local.size if local else None

    def size_or_unknown(self, expr: Any) -> Range:
        return self.size(expr) or UNKNOWN

    def entry(self, expr: Any) -> Entry | None:
        found = self.entries.get(expr.id)
        if found is None:
            local = self._ident_local(expr)
            found = local.entry if local else None
        return found

    def declared(self, path: tuple[str, ...]) -> Declared | None:
        """What the path below a variable leads to; names that are no variables (`int`) are sized as `self` is."""
        here = self.variables.get(path[0], self.variables.get("self")) if path else None
        for part in path[1:]:
            if here is None:
                return None
            if part in ("@items", "@values"):
                here = here.element
            elif part == "@keys":
                return Declared("string") if here.kind == "map" else None
            else:
                here = here.fields.get(part)
        return here

    def declared_size(self, path: tuple[str, ...]) -> Range | None:
        found = self.declared(path)
        return Range(0, found.max_elements) if found is not None else None

    # -- calls

    def _overload(self, call: _Call) -> tuple[Range, Range | None]:
        from todoku.api.cel.call_costs import estimated

        return estimated(self, call)


def _is_bind(loop: Any) -> bool:
    """cel.bind is a loop over nothing."""
    condition = loop.loop_condition
    return (
        loop.iter_range.WhichOneof("kind") == "list_expr"
        and not loop.iter_range.list_expr.elements
        and condition.WhichOneof("kind") == "const_expr"
        and condition.const_expr.WhichOneof("kind") == "bool_value"
        and not condition.const_expr.bool_value
    )


def _literal_size(expr: Any) -> Range | None:
    kind = expr.WhichOneof("kind")
    if kind == "const_expr":
        constant = expr.const_expr
        if constant.WhichOneof("kind") in ("string_value", "bytes_value"):
            size = len(constant.string_value or constant.bytes_value)
        else:
            size = 1
    elif kind == "list_expr":
        size = len(expr.list_expr.elements)
    elif kind == "struct_expr" and not expr.struct_expr.message_name:
        size = len(expr.struct_expr.entries)
    else:
        return None
    return Range(size, size)


_STRING, _BYTES = 5, 6


def kind_of(type_: Any) -> str:
    """`map`, `list`, `struct`, `param`, `text` (strings and bytes), `scalar`, `opaque`, `optional` or `dyn`."""
    kind = type_.WhichOneof("kind") if type_ is not None else None
    if kind == "primitive":
        return "text" if type_.primitive in (_STRING, _BYTES) else "scalar"
    if kind == "well_known":
        return "dyn" if type_.well_known == 1 else "scalar"
    if kind == "abstract_type":
        if type_.abstract_type.name != "optional_type":
            return "opaque"  # a quantity, a version, an address
        parameters = type_.abstract_type.parameter_types
        return "scalar" if parameters and kind_of(parameters[0]) == "scalar" else "optional"
    return {
        "map_type": "map",
        "list_type": "list",
        "message_type": "struct",
        "type_param": "param",
    }.get(kind or "", "dyn")
