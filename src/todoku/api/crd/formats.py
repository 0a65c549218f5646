"""String formats that CRD schemas know; unknown formats are not checked, but warned of.

Semantics: supportedVersionedFormats of apiextensions-apiserver pkg/apiserver/validation and strfmt of kube-openapi.
A dash in a format's name does not count: `date-time` is `datetime`.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any
from urllib.parse import urlsplit

from todoku.api import times
from todoku.api.meta import Object
from todoku.api.schemas import Schema

_NAME = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_BYTE_PAIR = "[0-9A-Fa-f]{2}"
_MAC = "|".join(
    [rf"{_BYTE_PAIR}(?:{mark}{_BYTE_PAIR}){{{size - 1}}}" for mark in ":-" for size in (6, 8, 20)]
    + [rf"[0-9A-Fa-f]{{4}}(?:\.[0-9A-Fa-f]{{4}}){{{size // 2 - 1}}}" for size in (6, 8, 20)]
)
_CARD = (
    "4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}"
    r"|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11}"
)
_SHADE = r"\s*(?:0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*"
_BASE64 = "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})"
_CLOCK = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:.\d+)?(?:z|[+-]\d{2}:\d{2})", re.ASCII)
_SPAN = re.compile(r"\s*(?:\d+\s*[A-Za-zµ]+\s*)+", re.ASCII)
_UNIT = re.compile(
    "(?i)ns|nano.*|us|µs|micro.*|ms|milli.*|s|sec.*|m|min.*|h|hr|hour.*|d|day.*|w|wk|week.*"
)
# One label, or several of which the last has no two dashes in a row; letters and symbols of any script are an `a`.
_HOSTNAME = re.compile(
    "[a0-9](?:-?[a0-9]{0,62})?|(?:[a0-9](?:[-a0-9]{0,61}[a0-9])?\\.)+[a0-9](?:-?[a0-9]){1,62}"
)
_ATOM = r"[\w!#$%&'*+\-/=?^`{|}~\u0080-\U0010ffff]+"
_QUOTED = r'"(?:[^"\\\r\n]|\\.)*"'
_ADDRESS = rf"(?:{_ATOM}(?:\.{_ATOM})*|{_QUOTED})@(?:{_ATOM}(?:\.{_ATOM})*|\[[^\[\]\\\s]+\])"
_EMAIL = rf"\s*(?:{_ADDRESS}|(?:(?:{_ATOM}|{_QUOTED}|\.)\s*)*<{_ADDRESS}>)\s*"
_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_NO_HOST = re.compile(r"[^\w\-.~!$&'()*+,;=:\[\]<>\"%\u0080-\U0010ffff]")


def _like(expression: str) -> Callable[[str], bool]:
    compiled = re.compile(expression, re.ASCII)
    return lambda value: compiled.fullmatch(value) is not None


def _uuid(version: str = "[0-9a-f]", variant: str = "[0-9a-f]") -> Callable[[str], bool]:
    return _like(
        f"(?i:[0-9a-f]{{8}}-?[0-9a-f]{{4}}-?{version}[0-9a-f]{{3}}-?{variant}[0-9a-f]{{3}}-?[0-9a-f]{{12}})"
    )


def _uri(value: str) -> bool:
    """What Go's url.ParseRequestURI takes: an absolute URI or an absolute path."""
    if value == "*":
        return True
    if any(char < " " or char == "\x7f" for char in value):
        return False
    scheme, colon, rest = value.partition(":")
    if not (colon and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.\-]*", scheme)):
        if not value.startswith("/"):
            return False
        rest = value
    elif not rest.startswith("/"):
        return True
    try:
        parts = urlsplit(rest)
        port = parts.netloc.rpartition("@")[2].rpartition("]")[2].partition(":")[2]
    except ValueError:
        return False
    if _NO_HOST.search(parts.netloc.rpartition("@")[2]) or (port and not port.isdecimal()):
        return False
    return not _ESCAPE.search(parts.path)


def _hostname(value: str) -> bool:
    if len(value.encode()) > 255 or any(len(one.encode()) > 63 for one in value.split(".")):
        return False
    plain = ("a" if unicodedata.category(one)[0] in "LS" else one for one in value)
    return _HOSTNAME.fullmatch("".join(plain)) is not None


def _ip(mark: str) -> Callable[[str], bool]:
    def fits(value: str) -> bool:
        return mark in value and "%" not in value and _parses(ipaddress.ip_address, value)

    return fits


def _cidr(value: str) -> bool:
    address, _, size = value.partition("/")
    plain = "%" not in address and size.isascii() and size.isdecimal()
    return plain and _parses(ipaddress.ip_interface, f"{address}/{int(size)}")


def _parses(parse: Callable[[str], Any], value: str) -> bool:
    try:
        parse(value)
    except ValueError:
        return False
    return True


def _isbn10(value: str) -> bool:
    digits = re.sub(r"[\s-]+", "", value)
    if not re.fullmatch(r"\d{9}[\dX]", digits, re.ASCII):
        return False
    values = [10 if one == "X" else int(one) for one in digits]
    return sum((index + 1) * one for index, one in enumerate(values)) % 11 == 0


def _isbn13(value: str) -> bool:
    digits = re.sub(r"[\s-]+", "", value)
    if not re.fullmatch(r"\d{13}", digits, re.ASCII):
        return False
    return sum(int(one) * (3 if index % 2 else 1) for index, one in enumerate(digits)) % 10 == 0


def _creditcard(value: str) -> bool:
    digits = re.sub("[^0-9]+", "", value)
    if not re.fullmatch(_CARD, digits):
        return False
    doubled = [int(one) * (2 if index % 2 else 1) for index, one in enumerate(reversed(digits))]
    return sum(one - 9 if one > 9 else one for one in doubled) % 10 == 0


def _date(value: str) -> bool:
    return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII)) and _parses(
        date.fromisoformat, value
    )


def _datetime(value: str) -> bool:
    day, _, clock = value.lower().partition("t")
    return _date(day) and _CLOCK.fullmatch(clock) is not None


def _duration(value: str) -> bool:
    """A Go duration, or numbers with units as Scala writes them: `2 days`."""
    if _parses(times.parse_duration, value):
        return True
    units = re.findall("[A-Za-zµ]+", value)
    return bool(_SPAN.fullmatch(value)) and any(_UNIT.fullmatch(one) for one in units)


FORMATS: dict[str, Callable[[str], bool]] = {
    "bsonobjectid": _like("[0-9a-fA-F]{24}"),
    "uri": _uri,
    "email": _like(_EMAIL),
    "hostname": _hostname,
    "ipv4": _ip("."),
    "ipv6": _ip(":"),
    "cidr": _cidr,
    "mac": _like(_MAC),
    "uuid": _uuid(),
    "uuid3": _uuid("3"),
    "uuid4": _uuid("4", "[89ab]"),
    "uuid5": _uuid("5", "[89ab]"),
    "isbn": lambda value: _isbn10(value) or _isbn13(value),
    "isbn10": _isbn10,
    "isbn13": _isbn13,
    "creditcard": _creditcard,
    "ssn": _like(r"\d{3}[- ]\d{2}[- ]\d{4}"),
    "hexcolor": _like("#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "rgbcolor": _like(rf"rgb\({_SHADE},{_SHADE},{_SHADE}\)"),
    "byte": _like(_BASE64),
    "password": lambda value: True,
    "date": _date,
    "duration": _duration,
    "datetime": _datetime,
    "quantity": lambda value: True,  # known, yet nothing checks it
    "k8sshortname": lambda value: len(value) <= 63 and bool(re.fullmatch(_NAME, value)),
    "k8slongname": lambda value: (
        len(value) <= 253 and bool(re.fullmatch(rf"{_NAME}(?:\.{_NAME})*", value))
    ),
}
_OF_NUMBERS = {"integer": ("int32", "int64"), "number": ("float", "double")}


def format_problem(name: str, value: str) -> bool:
    """Whether the value is not of the format."""
    check = FORMATS.get(name.replace("-", ""))
    return check is not None and not check(value)


def format_warnings(new: Object, old: Object | None) -> list[str]:
    """Warnings of the formats in a definition that mean nothing here, but for those that it had before."""
    if old is not None and old.get("spec") == new.get("spec"):
        return []
    found = _unrecognized(new)
    known = _unrecognized(old) if found and old else {}
    return [f'unrecognized format "{one}"' for one in found if one not in known]


def _unrecognized(definition: Object) -> dict[str, None]:
    found: dict[str, None] = {}
    for version in definition["spec"].get("versions") or ():
        for schema in _schemas((version.get("schema") or {}).get("openAPIV3Schema")):
            form, kind = schema.get("format"), schema.get("type")
            if form and not _recognized(form, kind):
                found[form] = None
    return found


def _recognized(form: str, kind: str | None) -> bool:
    if kind in (None, "", "string"):
        return form.replace("-", "") in FORMATS
    return form in _OF_NUMBERS.get(kind, ())


def _schemas(schema: Any) -> Iterator[Schema]:
    """The schema and all below, each before what is inside it."""
    waiting = [schema]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, dict):
            continue
        yield one
        inside = [one[key] for key in ("items", "additionalProperties", "not") if key in one]
        for key in ("allOf", "oneOf", "anyOf"):
            inside += one.get(key) or ()
        inside += (one.get("properties") or {}).values()
        waiting += reversed(inside)
