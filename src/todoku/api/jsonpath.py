"""The subset of JSONPath that CRDs use (k8s.io/client-go util/jsonpath, without ranges): `.a.b[0].c`,
`['a.b']`, `[*]`, `[?(@.type=="Ready")]`, slices, `..name`.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias


class JsonPathError(ValueError):
    """The text is not a JSONPath of the supported subset."""


@dataclass(frozen=True, slots=True)
class Field:
    name: str


@dataclass(frozen=True, slots=True)
class Index:
    index: int


@dataclass(frozen=True, slots=True)
class Slice:
    start: int | None
    stop: int | None
    step: int | None


@dataclass(frozen=True, slots=True)
class Wildcard:
    pass


@dataclass(frozen=True, slots=True)
class Recursive:
    name: str


@dataclass(frozen=True, slots=True)
class Filter:
    left: Path
    operator: str  # "" tests presence
    right: Any  # a Path or a literal


Step: TypeAlias = Field | Index | Slice | Wildcard | Recursive | Filter
Path: TypeAlias = tuple[Step, ...]

_FIELD = re.compile(r"\.((?:[^\s.,\[\]$@{}\\]|\\.)+)")
_QUOTED = re.compile(r"\[\s*(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")\s*\]")
_INDEX = re.compile(r"\[\s*(-?\d+)\s*\]")
_SLICE = re.compile(r"\[\s*(-?\d*)\s*:\s*(-?\d*)\s*(?::\s*(-?\d*)\s*)?\]")
_FILTER = re.compile(r"\[\?\(\s*(.*?)\s*\)\]")
_COMPARISON = re.compile(r"(@[^=!<>]*?)\s*(?:(==|!=|<=|>=|<|>)\s*(.+))?")
_MISSING = object()


@functools.lru_cache(maxsize=1024)
def parse(text: str) -> Path:
    """Read a path; `{.a}` and `$.a` mean `.a`.  Raises JsonPathError."""
    body = text.strip()
    if body.startswith("{") and body.endswith("}"):
        body = body[1:-1].strip()
    body = body.removeprefix("$")
    if body and body[0] not in ".[":
        body = f".{body}"
    return tuple(_steps(body, text))


def _steps(body: str, text: str) -> Iterator[Step]:
    position = 0
    while position < len(body):
        step, position = _step(body, position, text)
        if step is not None:
            yield step


def _step(body: str, at: int, text: str) -> tuple[Step | None, int]:
    if body.startswith("..", at):
        match = _FIELD.match(body, at + 1)
        if match:
            return Recursive(_plain(match.group(1))), match.end()
    for token in (".*", "[*]"):
        if body.startswith(token, at):
            return Wildcard(), at + len(token)
    if match := _FIELD.match(body, at):
        return Field(_plain(match.group(1))), match.end()
    if match := _QUOTED.match(body, at):
        return Field(_plain(match.group(1) or match.group(2) or "")), match.end()
    if match := _INDEX.match(body, at):
        return Index(int(match.group(1))), match.end()
    if match := _SLICE.match(body, at):
        bounds = [int(one) if one else None for one in match.groups()]
        return Slice(*bounds), match.end()
    if match := _FILTER.match(body, at):
        return _filter(match.group(1), text), match.end()
    if body[at:] == ".":
        return None, len(body)
    raise JsonPathError(f"unrecognized or unsupported JSONPath: {text}")


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _filter(expression: str, text: str) -> Filter:
    match = _COMPARISON.fullmatch(expression)
    if not match:
        raise JsonPathError(f"unrecognized filter in JSONPath: {text}")
    left, operator, right = match.groups()
    return Filter(parse(left[1:] or "."), operator or "", _operand(right) if operator else None)


def _operand(text: str) -> Any:
    if text.startswith("@"):
        return parse(text[1:] or ".")
    if text[:1] in "'\"" and text[-1:] == text[:1]:
        return _plain(text[1:-1])
    try:
        return json.loads(text)
    except ValueError as error:
        raise JsonPathError(f"unrecognized operand in JSONPath filter: {text}") from error


def find(path: Path, value: Any) -> list[Any]:
    """All values at the path, in order; missing keys give none."""
    found = [value]
    for step in path:
        if isinstance(
            step, Recursive
        ):  # else `..a..a` finds what is nested as often as there are ways to it
            found = list({id(one): one for one in found}.values())
        found = [child for one in found for child in _children(step, one)]
    return found


def _children(step: Step, value: Any) -> list[Any]:
    if isinstance(step, Field):
        return [value[step.name]] if isinstance(value, dict) and step.name in value else []
    if isinstance(step, Wildcard):
        return list(value.values()) if isinstance(value, dict) else _listed(value)
    if isinstance(step, Recursive):
        return list(_descend(step.name, value))
    if not isinstance(value, list):
        return []
    if isinstance(step, Index):
        return [value[step.index]] if -len(value) <= step.index < len(value) else []
    if isinstance(step, Slice):
        return value[slice(step.start, step.stop, step.step)] if step.step != 0 else []
    return [one for one in value if _holds(step, one)]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _descend(name: str, value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        if name in value:
            yield value[name]
        for child in value.values():
            yield from _descend(name, child)
    elif isinstance(value, list):
        for child in value:
            yield from _descend(name, child)


def _holds(test: Filter, value: Any) -> bool:
    found = find(test.left, value)
    if not test.operator:
        return bool(found)
    left = found[0] if found else _MISSING
    right = test.right
    if isinstance(right, tuple):
        others = find(right, value)
        right = others[0] if others else _MISSING
    if _MISSING in (left, right):
        return False
    return _compare(left, test.operator, right)


def _compare(left: Any, operator: str, right: Any) -> bool:
    if operator == "==":
        return bool(left == right)
    if operator == "!=":
        return bool(left != right)
    try:
        return bool(_ORDER[operator](left, right))
    except TypeError:
        return False


_ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}
