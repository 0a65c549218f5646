"""Formats of values that several kinds share (k8s.io/apimachinery util/validation, api/validation).

Each function gives the FieldErrors of one value at `path`; `*_problems` functions give messages only.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Any

from todoku.api import quantities
from todoku.api.errors import (
    FieldError,
    Path,
    duplicate,
    invalid,
    not_supported,
    required,
    too_long,
)
from todoku.api.meta import Object
from todoku.api.validation import dns1123_label, dns1123_subdomain, qualified_name_problems

_PATH_FORMAT = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
_HTTP_PATH = re.compile(_PATH_FORMAT)
_DOMAIN_PATH_TEXT = 'must be a domain-prefixed path (such as "acme.io/foo")'


def each(problems_of: Callable[[str], Sequence[str]], value: str, path: Path) -> list[FieldError]:
    """`Invalid value` for every message of a rule."""
    return [invalid(path, value, text) for text in problems_of(value)]


def domain_prefixed_path(value: str, path: Path) -> list[FieldError]:
    """`acme.io/foo` (IsDomainPrefixedPath)."""
    if not value:
        return [required(path)]
    host, _, rest = value.partition("/")
    if not host or not rest:
        return [invalid(path, value, _DOMAIN_PATH_TEXT)]
    problems = each(dns1123_subdomain, host, path)
    if not _HTTP_PATH.fullmatch(rest):
        text = f"Invalid path (regex used for validation is '{_PATH_FORMAT}')"
        problems.append(invalid(path, rest, text))
    return problems


_WILDCARD_FORMAT = r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_WILDCARD = re.compile(_WILDCARD_FORMAT)


def wildcard_subdomain_problems(value: str) -> list[str]:
    """`*.example.com` (IsWildcardDNS1123Subdomain)."""
    if _WILDCARD.fullmatch(value):
        return []
    return [
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist"
        " of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g."
        f" '*.example.com', regex used for validation is '{_WILDCARD_FORMAT}')"
    ]


def domain_name(value: str, path: Path) -> list[FieldError]:
    """A name of at least two labels, maybe with a final dot (IsFullyQualifiedDomainName)."""
    if not value:
        return [required(path)]
    name = value.removesuffix(".")
    problems = dns1123_subdomain(name)
    if problems:
        return [invalid(path, name, ",".join(problems))]
    labels = name.split(".")
    if len(labels) < 2:
        text = "should be a domain with at least two segments separated by dots"
        return [invalid(path, name, text)]
    found = [(label, dns1123_label(label)) for label in labels]
    return [invalid(path, label, ",".join(texts)) for label, texts in found if texts]


def qualified_domain(value: str, path: Path) -> list[FieldError]:
    """A name of at least three labels (IsFullyQualifiedName)."""
    if not value:
        return [required(path)]
    problems = dns1123_subdomain(value)
    if problems:
        return [invalid(path, value, ",".join(problems))]
    if value.count(".") < 2:
        text = "should be a domain with at least three segments separated by dots"
        return [invalid(path, value, text)]
    return []


def driver_name(value: str, path: Path) -> list[FieldError]:
    """The name of a CSI or DRA driver (ValidateCSIDriverName)."""
    if not value:
        return [required(path)]
    problems = [too_long(path, 63)] if len(value) > 63 else []
    return problems + each(dns1123_subdomain, value.lower(), path)


_C_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def c_identifier_problems(value: str) -> list[str]:
    if _C_IDENTIFIER.fullmatch(value):
        return []
    return [
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric"
        " characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is"
        " '[A-Za-z_][A-Za-z0-9_]*')"
    ]


def label_name(value: str, path: Path) -> list[FieldError]:
    """A key of a label (ValidateLabelName)."""
    return each(qualified_name_problems, value, path)


def non_negative_quantity(value: Any, path: Path) -> list[FieldError]:
    try:
        amount = quantities.parse(value)
    except quantities.QuantityError as error:
        return [invalid(path, value, str(error))]
    if amount < quantities.ZERO:
        return [invalid(path, str(amount), "must be greater than or equal to 0")]
    return []


_REASON_FORMAT = r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
_REASON = re.compile(_REASON_FORMAT)
_REASON_TEXT = (
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric"
    " characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or"
    " 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is"
    f" '{_REASON_FORMAT}')"
)
_MAX_REASON_BYTES, _MAX_MESSAGE_BYTES = 1024, 32 * 1024


def conditions(found: Sequence[Object], path: Path) -> list[FieldError]:
    """meta/v1 Conditions (ValidateConditions)."""
    problems: list[FieldError] = []
    seen: set[str] = set()
    for index, one in enumerate(found):
        at, kind = path / index, one.get("type") or ""
        if kind in seen:
            problems.append(duplicate(at / "type", kind))
        seen.add(kind)
        problems += _condition(one, at)
    return problems


def _condition(one: Object, at: Path) -> list[FieldError]:
    problems = each(qualified_name_problems, one.get("type") or "", at / "type")
    status = one.get("status") or ""
    if status not in ("True", "False", "Unknown"):
        problems.append(not_supported(at / "status", status, ("False", "True", "Unknown")))
    if (one.get("observedGeneration") or 0) < 0:
        text = "must be greater than or equal to zero"
        problems.append(invalid(at / "observedGeneration", one["observedGeneration"], text))
    if not one.get("lastTransitionTime"):
        problems.append(required(at / "lastTransitionTime", "must be set"))
    reason = one.get("reason") or ""
    if not reason:
        problems.append(required(at / "reason", "must be set"))
    else:
        if not _REASON.fullmatch(reason):
            problems.append(invalid(at / "reason", reason, _REASON_TEXT))
        if len(reason.encode()) > _MAX_REASON_BYTES:
            problems.append(too_long(at / "reason", _MAX_REASON_BYTES))
    if len((one.get("message") or "").encode()) > _MAX_MESSAGE_BYTES:
        problems.append(too_long(at / "message", _MAX_MESSAGE_BYTES))
    return problems


def interface_address(value: str, path: Path) -> list[FieldError]:
    """An address with the length of its network (IsValidInterfaceAddress)."""
    try:
        parsed = ipaddress.ip_interface(value) if "/" in value else None
    except ValueError:
        parsed = None
    if parsed is None:
        text = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)"
        return [invalid(path, value, text)]
    if str(parsed) != value:
        return [invalid(path, value, f'must be in canonical form ("{parsed}")')]
    return []
