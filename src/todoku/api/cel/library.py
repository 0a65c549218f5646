"""The functions that Kubernetes adds to CEL: url, ip, cidr, quantity, semver, lists, regex, named formats.

Values of opaque types are maps with one tag each (the engine has no opaque results from Python).
Semantics: k8s.io/apiserver pkg/cel/library.
"""

from __future__ import annotations

import functools
import ipaddress
import itertools
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from todoku.api import goregexp, quantities
from todoku.api.cel import authorization, formats
from todoku.api.cel.declarations import (
    BOOL,
    DOUBLE,
    DYN,
    INT,
    LIST,
    MAP,
    STRING,
    Declarations,
    Opaque,
    checked_functions,
    extension_of,
)

_S, _B, _I, _D, _F, _L = STRING, BOOL, INT, DYN, DOUBLE, LIST
_URL, _IP, _CIDR = Opaque("kubernetes.URL"), Opaque("net.IP"), Opaque("net.CIDR")
_QUANTITY, _SEMVER = Opaque("kubernetes.Quantity"), Opaque("kubernetes.Semver")


@functools.cache
def extension() -> Any:
    """All functions as the engine evaluates them."""
    return extension_of(_declared())


@functools.cache
def checked() -> tuple[Any, list[Any]]:
    """The same for type checking, where opaque types have their names: an extension and further functions."""
    return checked_functions(_declared())


def _declared() -> Declarations:
    out = Declarations()
    for part in (
        _lists, _regex, _urls, _addresses, _networks, _quantities, _versions,
        formats.declare, authorization.declare, _patches,
    ):  # fmt: skip
        part(out)
    return out


def _patches(out: Declarations) -> None:
    """The escaping of JSON pointers (RFC 6901)."""
    out.add(
        "jsonpatch.escapeKey",
        _S,
        [_S],
        lambda text: text.replace("~", "~0").replace("/", "~1"),
        member=False,
    )


def _lists(out: Declarations) -> None:
    out.add(
        "isSorted",
        _B,
        [_L],
        lambda items: all(a <= b for a, b in itertools.pairwise(items)),
    )
    out.add("sum", _D, [_L], lambda items: sum(items))
    out.add("min", _D, [_L], _extreme(min))
    out.add("max", _D, [_L], _extreme(max))
    out.add("indexOf", _I, [_L, _D], lambda items, one: items.index(one) if one in items else -1)
    out.add("lastIndexOf", _I, [_L, _D], _last_index)


def _extreme(pick: Callable[[Any], Any]) -> Callable[[list[Any]], Any]:
    def call(items: list[Any]) -> Any:
        if not items:
            raise ValueError("min or max called on an empty list")
        return pick(items)

    return call


def _last_index(items: list[Any], one: Any) -> int:
    return len(items) - 1 - items[::-1].index(one) if one in items else -1


def _regex(out: Declarations) -> None:
    out.add("find", _S, [_S, _S], lambda text, form: next(goregexp.found(form, text), ""))
    out.add("findAll", _L, [_S, _S], lambda text, form: list(goregexp.found(form, text)))
    out.add(
        "findAll",
        _L,
        [_S, _S, _I],
        lambda text, form, n: list(goregexp.found(form, text))[: n if n >= 0 else None],
    )


def _url(text: str) -> dict[str, Any]:
    parts = urlsplit(text)
    if not (parts.scheme or text.startswith("/")):
        raise ValueError(
            f"URL parse error during conversion from string: parse {text!r}: invalid URI for request"
        )
    return {"url": text}


def _is(check: Callable[..., Any]) -> Callable[..., bool]:
    def call(*arguments: Any) -> bool:
        try:
            check(*arguments)
        except ValueError:
            return False
        return True

    return call


def _urls(out: Declarations) -> None:
    out.add("url", _URL, [_S], _url, member=False)
    out.add("isURL", _B, [_S], _is(_url), member=False)
    out.add("getScheme", _S, [_URL], lambda one: urlsplit(one["url"]).scheme)
    out.add("getHost", _S, [_URL], lambda one: urlsplit(one["url"]).netloc.rpartition("@")[2])
    out.add("getHostname", _S, [_URL], lambda one: urlsplit(one["url"]).hostname or "")
    out.add("getPort", _S, [_URL], lambda one: str(urlsplit(one["url"]).port or ""))
    out.add("getEscapedPath", _S, [_URL], lambda one: urlsplit(one["url"]).path)
    out.add(
        "getQuery",
        MAP,
        [_URL],
        lambda one: parse_qs(urlsplit(one["url"]).query, keep_blank_values=True),
    )


def _address(text: str) -> dict[str, Any]:
    parsed = ipaddress.ip_address(text)
    if "%" in text or getattr(parsed, "ipv4_mapped", None):
        raise ValueError("IP address with zone or IPv4-mapped IPv6 address is not allowed")
    return {"ip": str(parsed)}


def _of(one: dict[str, Any]) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(one["ip"])


def _addresses(out: Declarations) -> None:
    out.add("ip", _IP, [_S], _address, member=False)
    out.add("ip", _IP, [_CIDR], lambda one: {"ip": one["cidr"].partition("/")[0]})
    out.add("isIP", _B, [_S], _is(_address), member=False)
    out.add("ip.isCanonical", _B, [_S], lambda text: _address(text)["ip"] == text, member=False)
    out.add("family", _I, [_IP], lambda one: _of(one).version)
    out.add("isUnspecified", _B, [_IP], lambda one: _of(one).is_unspecified)
    out.add("isLoopback", _B, [_IP], lambda one: _of(one).is_loopback)
    out.add("isLinkLocalMulticast", _B, [_IP], lambda one: _link_local_multicast(_of(one)))
    out.add("isLinkLocalUnicast", _B, [_IP], lambda one: _of(one).is_link_local)
    out.add("isGlobalUnicast", _B, [_IP], lambda one: _global_unicast(_of(one)))


def _link_local_multicast(one: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    ranges = ("224.0.0.0/24", "ff02::/16")
    return any(
        one in network
        for text in ranges
        if (network := ipaddress.ip_network(text)).version == one.version
    )


def _global_unicast(one: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    special = one.is_unspecified or one.is_loopback or one.is_multicast or one.is_link_local
    return not special and str(one) != "255.255.255.255"


_PREFIX_LENGTH = re.compile(r"0|[1-9][0-9]{0,2}")


def _network(text: str) -> dict[str, Any]:
    address, _, length = text.partition("/")
    if not _PREFIX_LENGTH.fullmatch(length):
        raise ValueError(f"network address parse error during conversion from string: {text!r}")
    _address(address)
    interface = ipaddress.ip_interface(text)
    return {"cidr": f"{interface.ip}/{interface.network.prefixlen}"}


def _net(one: dict[str, Any]) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(one["cidr"], strict=False)


def _networks(out: Declarations) -> None:
    out.add("cidr", _CIDR, [_S], _network, member=False)
    out.add("isCIDR", _B, [_S], _is(_network), member=False)
    out.add("prefixLength", _I, [_CIDR], lambda one: _net(one).prefixlen)
    out.add("masked", _CIDR, [_CIDR], lambda one: {"cidr": str(_net(one))})
    out.add("containsIP", _B, [_CIDR, _S], lambda one, text: _of(_address(text)) in _net(one))
    out.add("containsIP", _B, [_CIDR, _IP], lambda one, other: _of(other) in _net(one))
    out.add(
        "containsCIDR", _B, [_CIDR, _S], lambda one, text: _within(_net(_network(text)), _net(one))
    )
    out.add("containsCIDR", _B, [_CIDR, _CIDR], lambda one, other: _within(_net(other), _net(one)))


def _within(inner: Any, outer: Any) -> bool:
    return bool(inner.version == outer.version and inner.subnet_of(outer))


def _quantity(text: str) -> dict[str, Any]:
    return {"quantity": quantities.canonical(text)}


def _amount(one: dict[str, Any]) -> quantities.Quantity:
    return quantities.parse(one["quantity"])


def _whole(one: dict[str, Any]) -> int:
    value = _amount(one).value
    if value.denominator != 1 or abs(value) >= 2**63:
        raise ValueError("cannot convert value to integer")
    return value.numerator


def _quantities(out: Declarations) -> None:
    out.add("quantity", _QUANTITY, [_S], _quantity, member=False)
    out.add("isQuantity", _B, [_S], quantities.is_quantity, member=False)
    out.add(
        "sign", _I, [_QUANTITY], lambda one: (_amount(one).value > 0) - (_amount(one).value < 0)
    )
    out.add("isInteger", _B, [_QUANTITY], lambda one: _amount(one).value.denominator == 1)
    out.add("asInteger", _I, [_QUANTITY], _whole)
    out.add("asApproximateFloat", _F, [_QUANTITY], lambda one: float(_amount(one).value))
    for name, join in (("add", lambda a, b: a + b), ("sub", lambda a, b: a - b)):
        out.add(
            name, _QUANTITY, [_QUANTITY, _QUANTITY], _joined(join, lambda other: _amount(other))
        )
        out.add(
            name, _QUANTITY, [_QUANTITY, _I], _joined(join, lambda other: quantities.parse(other))
        )


def _joined(
    join: Callable[[Any, Any], Any], read: Callable[[Any], Any]
) -> Callable[[Any, Any], Any]:
    return lambda one, other: {"quantity": str(join(_amount(one), read(other)))}


_SEMVER_TEXT = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z.-]+))?(?:\+([0-9A-Za-z.-]+))?"
)


def _semver(text: str) -> dict[str, Any]:
    if not _SEMVER_TEXT.fullmatch(text):
        raise ValueError(f"invalid semantic version: {text}")
    return {"semver": text}


def _lenient_semver(text: str, normalize: bool) -> dict[str, Any]:
    """With `normalize`, `v1.02` is 1.2.0: a leading v and zeros go, a missing minor or patch number is 0."""
    if not normalize:
        return _semver(text)
    parts = [_without_zeros(part) for part in text.removeprefix("v").split(".", 2)]
    if len(parts) < 3 and set(parts[-1]) & {"+", "-"}:
        raise ValueError("short version cannot contain PreRelease/Build meta data")
    return _semver(".".join([*parts, "0", "0"][: max(3, len(parts))]))


def _without_zeros(part: str) -> str:
    rest = part.lstrip("0")
    return part if rest == part else rest if rest[:1].isdigit() else f"0{rest}"


def _rank(one: dict[str, Any]) -> tuple[Any, ...]:
    """The order of semver.org: numbers, then pre-releases before the release."""
    match = _SEMVER_TEXT.fullmatch(one["semver"])
    assert match is not None
    numbers = tuple(int(match.group(i)) for i in (1, 2, 3))
    before = match.group(4)
    if before is None:
        return (*numbers, 1, ())
    parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in before.split("."))
    return (*numbers, 0, parts)


def _compare(one: dict[str, Any], other: dict[str, Any]) -> int:
    """Quantities and versions share the names of their comparisons."""
    if ("semver" in one) != ("semver" in other):
        raise ValueError("no such overload")
    a: Any = _rank(one) if "semver" in one else _amount(one).value
    b: Any = _rank(other) if "semver" in other else _amount(other).value
    return int(a > b) - int(a < b)


def _versions(out: Declarations) -> None:
    out.add("semver", _SEMVER, [_S], _semver, member=False)
    out.add("isSemver", _B, [_S], _is(_semver), member=False)
    out.add("semver", _SEMVER, [_S, _B], _lenient_semver, member=False)
    out.add("isSemver", _B, [_S, _B], _is(_lenient_semver), member=False)
    for index, name in enumerate(("major", "minor", "patch")):
        out.add(name, _I, [_SEMVER], functools.partial(_part, index))
    for kind in (_SEMVER, _QUANTITY):
        out.add("compareTo", _I, [kind, kind], _compare)
        out.add("isLessThan", _B, [kind, kind], lambda one, other: _compare(one, other) < 0)
        out.add("isGreaterThan", _B, [kind, kind], lambda one, other: _compare(one, other) > 0)


def _part(index: int, one: dict[str, Any]) -> int:
    return int(_rank(one)[index])
