"""YAML for people: values together with the line each stands on, so that a problem can name it (pure).

Duplicate keys are problems, as YAML 1.2 says; aliases and the usual scalars work.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

Where: TypeAlias = tuple[str | int, ...]
"""A path into a document: `("nodes", 0, "address")`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a file: where, what, and what to do about it."""

    line: int
    field: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        named = f"{self.field}: " if self.field else ""
        return f"{where}{named}{self.message}" + (f" ({self.remedy})" if self.remedy else "")


class BadFile(ValueError):
    """A file with problems, all of them collected."""

    def __init__(self, name: str, problems: list[Problem]) -> None:
        self.name, self.problems = name, sorted(problems, key=lambda one: one.line)
        listed = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{name} is not usable:\n{listed}")


@dataclass(slots=True)
class Located:
    """A parsed document and the line of every path in it."""

    value: Any
    lines: dict[Where, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, where: Where) -> int:
        """The line of a path, or of the nearest parent that has one."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)

    def problem(self, where: Where, message: str, remedy: str = "") -> None:
        """Note a problem at a path."""
        self.problems.append(Problem(self.line(where), dotted(where), message, remedy))


def dotted(where: Where) -> str:
    """`nodes[0].address`."""
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def parse(text: str, name: str) -> Located:
    """Parse one document.  Raises BadFile for what is not YAML at all, naming the line."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise BadFile(name, [_syntax(error)]) from error
    located = Located(None)
    if node is not None:
        located.value = _value(node, (), located)
    return located


def _value(node: yaml.Node, where: Where, located: Located) -> Any:
    located.lines.setdefault(where, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, where, located)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*where, i), located) for i, item in enumerate(node.value)]
    return _scalar(node)


def _mapping(node: yaml.MappingNode, where: Where, located: Located) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = _scalar(key_node)
        name = key if isinstance(key, str) else str(key)
        line = key_node.start_mark.line + 1
        if name in found:
            place = dotted((*where, name))
            located.problems.append(Problem(line, place, "is given twice", "keep one of them"))
        located.lines[(*where, name)] = line
        found[name] = _value(value_node, (*where, name), located)
    return found


def _scalar(node: yaml.Node) -> Hashable:
    constructor = yaml.constructor.SafeConstructor()
    value: Hashable = constructor.construct_object(node)
    return value


def _syntax(error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark is not None else 0
    words = getattr(error, "problem", None) or str(error)
    return Problem(line, "", f"not YAML: {words}")
