"""`format.NAME()` and `format.named(NAME)`: Kubernetes' named formats of strings (k8s.io/apiserver pkg/cel/library).

`validate` and `format.named` give optionals, which the engine makes from expressions only: `selected` writes a
selection of an optional field behind their calls, and the functions return maps that have the field or not.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from todoku.api import times, validation
from todoku.api.cel.declarations import STRING, STRINGS, Declarations, Opaque, OptionalOf

_FORMAT = Opaque("kubernetes.NamedFormat")
_UUID = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_CALLS = re.compile(r"\.\s*validate\s*\(|\bformat\s*\.\s*named\s*\(")
_STRINGS = re.compile(
    r"""[rR]?(?:\"\"\"[\s\S]*?\"\"\"|'''[\s\S]*?'''|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
)
SELECTION = ".?found"
Check = Callable[[str], list[str]]


def _prefix(check: Check) -> Check:
    """A name that more will follow may end in a dash."""
    return lambda text: check(text[:-1] + "a" if text.endswith("-") and len(text) > 1 else text)


def _uri(text: str) -> list[str]:
    parts = urlsplit(text)
    if parts.scheme or text.startswith("/"):
        return []
    return [f'parse "{text}": invalid URI for request' if text else 'parse "": empty url']


def _one(problem: str, valid: Callable[[str], Any]) -> Check:
    def check(text: str) -> list[str]:
        try:
            return [] if valid(text) else [problem]
        except (ValueError, binascii.Error):
            return [problem]

    return check


FORMATS: Mapping[str, Check] = {
    "dns1123Label": validation.dns1123_label,
    "dns1123Subdomain": validation.dns1123_subdomain,
    "dns1035Label": validation.dns1035_label,
    "qualifiedName": validation.qualified_name_problems,
    "dns1123LabelPrefix": _prefix(validation.dns1123_label),
    "dns1123SubdomainPrefix": _prefix(validation.dns1123_subdomain),
    "dns1035LabelPrefix": _prefix(validation.dns1035_label),
    "labelValue": validation.label_value_problems,
    "uri": _uri,
    "uuid": _one("does not match the UUID format", _UUID.fullmatch),
    "byte": _one("invalid base64", lambda text: base64.b64decode(text, validate=True) or not text),
    "date": _one("invalid date", datetime.date.fromisoformat),
    "datetime": _one("invalid datetime", lambda text: times.parse(text) is not None),
}


def declare(out: Declarations) -> None:
    for name in FORMATS:
        impl = functools.partial(_named, name)
        out.add(f"format.{name}", _FORMAT, [], impl, member=False)
    out.add("format.named", OptionalOf(_FORMAT), [STRING], _optional_format, member=False)
    out.add("validate", OptionalOf(STRINGS), [_FORMAT, STRING], _validate)


def _named(name: str) -> dict[str, Any]:
    return {"format": name}


def _optional_format(name: str) -> dict[str, Any]:
    return {"found": _named(name)} if name in FORMATS else {}


def _validate(one: Mapping[str, Any], text: str) -> dict[str, Any]:
    problems = FORMATS[one["format"]](text)
    return {"found": problems} if problems else {}


def selected(expression: str) -> str:
    """The expression with `.?found` behind each call that gives an optional."""
    if "validate" not in expression and "named" not in expression:
        return expression
    blank = blanked(expression)
    ends = [closing(blank, match.end()) for match in _CALLS.finditer(blank)]
    for end in sorted((one for one in ends if one), reverse=True):
        expression = f"{expression[:end]}{SELECTION}{expression[end:]}"
    return expression


def blanked(expression: str) -> str:
    """The expression with its strings made of underscores, as long as it was."""
    return _STRINGS.sub(lambda match: "_" * len(match.group()), expression)


def closing(text: str, start: int) -> int:
    """Behind the bracket that closes what was opened before `start`; 0 if none does."""
    depth = 1
    for index in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if depth == 0:
            return index + 1
    return 0
