"""The engine's messages as cel-go words them: clients and their tests match on the latter."""

from __future__ import annotations

import re
from collections.abc import Collection

_SUFFIX = re.compile(r" \[[A-Z_]+\]$")
_POSITION = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)$")
_UNDECLARED = re.compile(r"undeclared reference to '([\w.]+)' \(in container ''\)$")
_PLAIN = (
    (re.compile(r"undefined field '([^']*)' not found in struct '[^']*'"), r"undefined field '\1'"),
    (
        re.compile(r"expression of type '(.*)' cannot be the operand of a select operation"),
        r"type '\1' does not support field selection",
    ),
    (re.compile("cannot be the range of a comprehension"), "cannot be range of a comprehension"),
)

_OVERLOAD = re.compile(r"found no matching overload for '([^']+)' applied to '\((.*)\)'")

_FAILURES = (
    (re.compile(r'Key not found in map : "(.*)"$'), r"no such key: \1"),
    (re.compile(r"Key not found in map : (.*)$"), r"no such key: \1"),
    (re.compile(r"Index error: index=(-?\d+) size=\d+$"), r"index out of bounds: \1"),
    (re.compile(r"divide by zero$"), "division by zero"),
    (re.compile(r"No matching overloads found : .*$"), "no such overload"),
    (re.compile(r"Applying SELECT to non-message type$"), "no such overload"),
    (
        re.compile(r"Iteration budget exceeded$"),
        "operation cancelled: actual cost limit exceeded",
    ),
    (re.compile(r"int64 overflow$"), "integer overflow"),
)
_GO_TYPES = {
    "NULL": "null_type",
    "TIMESTAMP": "google.protobuf.Timestamp",
    "DURATION": "google.protobuf.Duration",
}


def compile_problem(text: str, declared: Collection[str]) -> str:
    """The text of a failed compilation; `declared` are the variables there are."""
    lines = _SUFFIX.sub("", text.removeprefix("INVALID_ARGUMENT: ").strip()).split("\n")
    number = 0
    while number < len(lines):
        match = _POSITION.match(lines[number])
        if match is not None and "'*error*'" in match.group(3):
            del lines[number : number + 3]  # follows from another error
            continue
        if match is not None:
            below = lines[number + 1 : number + 3]
            lines[number : number + 3] = _error(match, below, declared)
        number += 1
    return "\n".join(lines)


def _error(match: re.Match[str], below: list[str], declared: Collection[str]) -> list[str]:
    """One error with the line of source and the caret that follow it."""
    row, column, message = match.group(1), int(match.group(2)), match.group(3)
    unknown = _UNDECLARED.match(message)
    if unknown and "." in unknown.group(1):
        root, _, rest = unknown.group(1).partition(".")
        if root in declared:
            message = f"undefined field '{rest.rpartition('.')[2]}'"
        else:
            message = f"undeclared reference to '{root}' (in container '')"
            column = _column_of(root, below, column)
            below = [*below[:1], f" | {'.' * (column - 1)}^"]
    for pattern, plain in _PLAIN:
        message = pattern.sub(plain, message)
    message = _OVERLOAD.sub(lambda found: _overload(found, below, column), message)
    return [f"ERROR: <input>:{row}:{column}: {message}", *below]


def _overload(match: re.Match[str], below: list[str], column: int) -> str:
    """Calls of members show the type they are called on before the others."""
    name, types = match.group(1), _split(match.group(2), "()")
    before = below[0].removeprefix(" | ")[: column - 1].rstrip() if below else ""
    if types and re.search(rf"\.\s*{re.escape(name)}$", before):
        applied = f"{types[0]}.({', '.join(types[1:])})"
        return f"found no matching overload for '{name}' applied to '{applied}'"
    return match.group()


def _column_of(root: str, below: list[str], column: int) -> int:
    """Where the name stands whose selection the engine points at."""
    source = below[0].removeprefix(" | ") if below else ""
    found = source.rfind(root, 0, column)
    return found + 1 if found >= 0 else column


def failure(text: str) -> str:
    """The text of a failed evaluation, without the engine's code and source listing."""
    head = _SUFFIX.sub("", text.split("\n", 1)[0])
    code, separator, rest = head.partition(": ")
    plain = rest if separator and code.replace("_", "").isupper() else head
    for pattern, worded in _FAILURES:
        if pattern.search(plain):
            return pattern.sub(worded, plain)
    return plain


def go_type(name: str) -> str:
    """`LIST<STRING>` is `list(string)` to clients; names of messages stay."""
    outer, inner = parameters(name)
    if inner:
        return f"{outer.lower()}({', '.join(go_type(one) for one in inner)})"
    if name in _GO_TYPES:
        return _GO_TYPES[name]
    return name.lower() if name.isupper() else name


def parameters(name: str) -> tuple[str, list[str]]:
    """`MAP<STRING, INT>` is MAP of STRING and INT; a plain type has no parameters."""
    outer, bracket, inner = name.partition("<")
    return outer, _split(inner.removesuffix(">")) if bracket else []


def _split(text: str, brackets: str = "<>") -> list[str]:
    """The parameters of a type, at its own level."""
    parts, depth = [""], 0
    for character in text:
        depth += {brackets[0]: 1, brackets[1]: -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [one.strip() for one in parts]
