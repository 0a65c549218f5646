"""What one call costs at most, by its function: CEL's own and those of Kubernetes' libraries."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from todoku.api.cel.cost import LIMIT, ONE, ZERO, Range, kind_of

if TYPE_CHECKING:
    from todoku.api.cel.cost import _Call, _Coster

_TEXT, _REGEX = 0.1, 0.25
Estimate: TypeAlias = "tuple[Range, Range | None]"


def estimated(coster: _Coster, call: _Call) -> Estimate:
    """The cost of a call with its arguments, and its result's size if it can be told."""
    function = _BY_FUNCTION.get(call.function)
    found = function(coster, call) if function else None
    if found is None:
        overload = _BY_OVERLOAD.get(call.overload)
        found = overload(coster, call) if overload else None
    return found if found is not None else call.spent(ONE)


Function: TypeAlias = "Callable[[_Coster, _Call], Estimate | None]"


def _nominal(coster: _Coster, call: _Call) -> Estimate:
    return call.spent(ONE)


def _element(coster: _Coster, container: Any) -> tuple[str, Range]:
    """The kind of a list's items and their size, "" if it is no list."""
    type_ = coster.tree.types.get(container.id)
    if type_ is None or type_.WhichOneof("kind") != "list_type":
        return "", ZERO
    size = (
        coster.declared_size((*coster.path(container), "@items"))
        if coster.path(container)
        else None
    )
    return kind_of(type_.list_type.elem_type), size or Range(0, LIMIT)


def _over_items(coster: _Coster, call: _Call) -> Estimate | None:
    """isSorted, sum, min, max, indexOf, lastIndexOf: each item once; texts character by character."""
    if call.target is None:
        return None
    size = coster.size_or_unknown(call.target)
    kind, item = _element(coster, call.target)
    if not kind:
        return call.spent(size.times(_TEXT))
    each = ONE + item.times(_TEXT) if kind == "text" else ONE
    return call.spent(size * each)


def _parsed(coster: _Coster, call: _Call) -> Estimate | None:
    if len(call.args) != 1:
        return None
    size = coster.size_or_unknown(call.args[0])
    return call.spent(size.times(_TEXT), size)


def _same_length(coster: _Coster, call: _Call) -> Estimate | None:
    if call.target is None:
        return None
    size = coster.size_or_unknown(call.target)
    return call.spent(size.times(_TEXT), size)


def _replace(coster: _Coster, call: _Call) -> Estimate | None:
    if call.target is None or len(call.args) < 2:
        return None
    size = coster.size_or_unknown(call.target)
    old, new = coster.size_or_unknown(call.args[0]), coster.size_or_unknown(call.args[1])
    if old.low == 0:  # nothing is found before and after every character
        longest = min(size.high + 1, LIMIT) * new.high + size.high
    elif new.high <= old.low:
        longest = size.high
    else:
        longest = math.ceil(size.high / old.low) * new.high
    if old.high == 0:
        shortest = (size.low + 1) * new.low + size.low
    elif old.high <= new.low:
        shortest = size.low
    else:
        shortest = math.ceil(size.low / old.high) * new.low
    return call.spent(size.times(2 * _TEXT), Range(min(shortest, LIMIT), min(longest, LIMIT)))


def _split(coster: _Coster, call: _Call) -> Estimate | None:
    if call.target is None:
        return None
    size = coster.size_or_unknown(call.target)
    most = size.high
    if len(call.args) > 1 and call.args[1].WhichOneof("kind") == "const_expr":
        most = call.args[1].const_expr.int64_value % 2**64
    return call.spent(size.times(2 * _TEXT), Range(0, most))


def _join(coster: _Coster, call: _Call) -> Estimate | None:
    if call.target is None:
        return None
    count = coster.size_or_unknown(call.target)
    kind, item = _element(coster, call.target)
    size = count * item if kind else ZERO
    if call.args:
        between = Range(max(0, count.low - 1), max(0, count.high - 1))
        size += coster.size_or_unknown(call.args[0]) * between
    return call.spent(size.times(_TEXT), size)


def _find(coster: _Coster, call: _Call) -> Estimate | None:
    if call.target is None or not call.args:
        return None
    size = coster.size_or_unknown(call.target)
    cost = (size + ONE).times(_TEXT) * coster.size_or_unknown(call.args[0]).times(_REGEX)
    return call.spent(cost, Range(0, size.high))


def _contains_address(coster: _Coster, call: _Call) -> Estimate | None:
    if call.target is None or not call.args:
        return None
    address = Range(4, 16)
    cost = (address + address).times(_TEXT)
    if call.function == "containsCIDR":
        cost += address.times(_TEXT) + ONE
    if coster.kind(call.args[0]) == "text":
        cost += coster.size_or_unknown(call.args[0]).times(_TEXT).times(_TEXT)
    return call.spent(cost)


def _compared(coster: _Coster, call: _Call) -> Estimate:
    """As long as the shorter side, at most."""
    if any(coster.kind(one) == "opaque" for one in call.args):
        return call.spent(ONE)
    shorter = min(coster.size_or_unknown(one).high for one in call.args)
    return call.spent(Range(1 if shorter else 0, shorter).times(_TEXT))


def _prefix(coster: _Coster, call: _Call) -> Estimate | None:
    if len(call.args) != 1:
        return None
    return call.spent(coster.size_or_unknown(call.args[0]).times(_TEXT))


def _in_list(coster: _Coster, call: _Call) -> Estimate | None:
    if len(call.args) != 2:
        return None
    return call.spent(coster.size_or_unknown(call.args[1]))


def _matches(coster: _Coster, call: _Call) -> Estimate | None:
    if call.target is None or len(call.args) != 1:
        return None
    text = (coster.size_or_unknown(call.target) + ONE).times(_TEXT)
    return call.spent(text * coster.size_or_unknown(call.args[0]).times(_REGEX))


def _contains(coster: _Coster, call: _Call) -> Estimate | None:
    if call.target is None or len(call.args) != 1:
        return None
    text = coster.size_or_unknown(call.target).times(_TEXT)
    return call.spent(text * coster.size_or_unknown(call.args[0]).times(_TEXT))


def _logical(coster: _Coster, call: _Call) -> Estimate:
    """The right side may never be looked at."""
    left, right = call.costs
    return Range(left.low, (left + right).high), None


def _conditional(coster: _Coster, call: _Call) -> Estimate:
    condition, yes, no = call.costs
    size = coster.size_or_unknown(call.args[1]) | coster.size_or_unknown(call.args[2])
    return condition + (yes | no), size


def _concatenated(coster: _Coster, call: _Call) -> Estimate | None:
    if len(call.args) != 2:
        return None
    size = coster.size_or_unknown(call.args[0]) + coster.size_or_unknown(call.args[1])
    return call.spent(ONE if call.overload == "add_list" else size.times(_TEXT), size)


def _to_bytes(coster: _Coster, call: _Call) -> Estimate | None:
    size = coster.size_or_unknown(call.args[0])
    return call.spent(size.times(_TEXT), Range(size.low, min(4 * size.high, LIMIT)))


def _to_string(coster: _Coster, call: _Call) -> Estimate | None:
    size = coster.size_or_unknown(call.args[0])
    return call.spent(size.times(_TEXT), Range(size.low // 4, size.high))


def _format(coster: _Coster, call: _Call) -> Estimate | None:
    if call.target is None or not call.args:
        return None
    size = coster.size_or_unknown(call.target)
    return call.spent(size.times(_TEXT), size + coster.size_or_unknown(call.args[0]))


_NOMINAL = (
    "masked", "prefixLength", "family", "isUnspecified", "isLoopback", "isLinkLocalMulticast", "isLinkLocalUnicast",
    "isGlobalUnicast", "sign", "asInteger", "isInteger", "asApproximateFloat", "isGreaterThan", "isLessThan",
    "compareTo", "add", "sub", "major", "minor", "patch", "getScheme", "getHostname", "getHost", "getPort",
    "getEscapedPath", "getQuery",
)  # fmt: skip
_BY_FUNCTION: dict[str, Function] = {
    **dict.fromkeys(_NOMINAL, _nominal),
    **dict.fromkeys(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"), _over_items),
    **dict.fromkeys(("lowerAscii", "upperAscii", "substring", "trim"), _same_length),
    **dict.fromkeys(("find", "findAll"), _find),
    **dict.fromkeys(("containsIP", "containsCIDR"), _contains_address),
    "url": _parsed,
    "replace": _replace,
    "split": _split,
    "join": _join,
    "format": _format,
}
_ORDERED = tuple(
    f"{name}_{kind}"
    for name in ("less", "less_equals", "greater", "greater_equals")
    for kind in ("string", "bytes")
)
_BY_OVERLOAD: dict[str, Function] = {
    **dict.fromkeys(("equals", "not_equals", *_ORDERED), _compared),
    **dict.fromkeys(("starts_with_string", "ends_with_string"), _prefix),
    **dict.fromkeys(("logical_or", "logical_and"), _logical),
    **dict.fromkeys(("add_string", "add_bytes", "add_list"), _concatenated),
    "in_list": _in_list,
    **dict.fromkeys(("matches_string", "matches"), _matches),
    "contains_string": _contains,
    "conditional": _conditional,
    "string_to_bytes": _to_bytes,
    "bytes_to_string": _to_string,
}
