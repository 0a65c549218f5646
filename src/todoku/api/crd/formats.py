"""String formats that CRD schemas know (kube-openapi strfmt); unknown formats are not checked."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import uuid
from collections.abc import Callable
from datetime import date
from urllib.parse import urlsplit

from todoku.api import times

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_HOSTNAME = re.compile(
    r"([a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)*"
)
_MAC = re.compile(r"([0-9A-Fa-f]{2}[:-]){5,7}[0-9A-Fa-f]{2}|([0-9A-Fa-f]{4}\.){2,3}[0-9A-Fa-f]{4}")
_COLOR = re.compile(r"#?([a-fA-F0-9]{3}|[a-fA-F0-9]{6})")


def _tries(check: Callable[[str], object]) -> Callable[[str], bool]:
    def fits(value: str) -> bool:
        try:
            check(value)
        except (ValueError, binascii.Error):
            return False
        return True

    return fits


def _uuid(version: int) -> Callable[[str], bool]:
    def fits(value: str) -> bool:
        try:
            parsed = uuid.UUID(value)
        except ValueError:
            return False
        return not version or parsed.version == version

    return fits


def _uri(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return bool(parts.scheme) or value.startswith("/")


def _cidr(value: str) -> bool:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return "/" in value


FORMATS: dict[str, Callable[[str], bool]] = {
    "bsonobjectid": lambda value: bool(re.fullmatch(r"[0-9a-fA-F]{24}", value)),
    "uri": _uri,
    "email": lambda value: bool(_EMAIL.fullmatch(value)),
    "hostname": lambda value: len(value) < 256 and bool(_HOSTNAME.fullmatch(value)),
    "ipv4": _tries(ipaddress.IPv4Address),
    "ipv6": _tries(ipaddress.IPv6Address),
    "cidr": _cidr,
    "mac": lambda value: bool(_MAC.fullmatch(value)),
    "uuid": _uuid(0),
    "uuid3": _uuid(3),
    "uuid4": _uuid(4),
    "uuid5": _uuid(5),
    "isbn": lambda value: bool(
        re.fullmatch(r"(97[89])?\d{9}[\dX]", value.replace("-", "").replace(" ", ""))
    ),
    "hexcolor": lambda value: bool(_COLOR.fullmatch(value)),
    "byte": _tries(lambda value: base64.b64decode(value, validate=True)),
    "date": _tries(date.fromisoformat),
    "duration": _tries(times.parse_duration),
    "datetime": times.is_time,
    "date-time": times.is_time,
}


def format_problem(name: str, value: str) -> bool:
    """Whether the value is not of the format."""
    check = FORMATS.get(name)
    return check is not None and not check(value)
