"""BGP's part of the configuration: peers, communities, advertisements (pure).

Only parsed and validated: this speaker opens no BGP session yet and says so.  Native mode.
Source: MetalLB v0.14.9, BGPPeer v1beta2, BGPAdvertisement and Community v1beta1; RFC 1997, RFC 8092.
"""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from todoku.api.meta import Object
from todoku.loadbalancer.addresses import parse_address
from todoku.loadbalancer.fields import (
    BadConfig,
    Dangling,
    check_unique,
    matchers,
    name_of,
    spec_of,
)
from todoku.loadbalancer.pools import Matcher, Pool

Community = tuple[int, ...]
"""Two 16-bit parts, or three 32-bit parts for a large community."""

_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Peer:
    """A router to peer with.  Times are seconds; None means the protocol's default."""

    name: str
    my_asn: int
    asn: int
    address: str
    port: int
    hold_seconds: float | None
    password: str
    node_selectors: tuple[Matcher, ...]


@dataclass(frozen=True, slots=True)
class Advertisement:
    """How addresses become prefixes.  No peers means all of them."""

    name: str
    nodes: frozenset[str]
    length_v4: int = 32
    length_v6: int = 128
    local_pref: int = 0
    communities: frozenset[Community] = frozenset()
    peers: frozenset[str] = frozenset()


def peers(objects: Sequence[Object], secrets: Iterable[Object]) -> dict[str, Peer]:
    """Every BGPPeer by name.  Raises BadConfig; Dangling while a password Secret is missing."""
    by_name = {name_of(secret): secret for secret in secrets}
    parsed: dict[str, Peer] = {}
    for obj in objects:
        try:
            parsed[name_of(obj)] = _peer(obj, by_name)
        except BadConfig as problem:
            raise type(problem)(f"parsing peer {name_of(obj)} {problem}") from None
    return parsed


def communities(objects: Iterable[Object]) -> dict[str, Community]:
    """The aliases of all Community objects."""
    aliases: dict[str, Community] = {}
    for obj in objects:
        for one in spec_of(obj).get("communities") or ():
            name, value = one.get("name", ""), one.get("value", "")
            try:
                parsed = community(value)
            except BadConfig as problem:
                raise BadConfig(f'parsing community "{name}": {problem}') from None
            if name in aliases:
                raise BadConfig(f'duplicate definition of community "{name}"')
            aliases[name] = parsed
    return aliases


def community(text: str) -> Community:
    """`65000:100` or `large:65000:1:2`."""
    parts = text.split(":")
    if parts[0] == "large":
        if len(parts) != 4:
            raise BadConfig(
                f"invalid community value: expected community to be of format large:X:Y:Z but got {text}"
            )
        return tuple(_section(part, text, 32) for part in parts[1:])
    if len(parts) != 2:
        raise Dangling(f"invalid community format: {text}")
    return tuple(_section(part, text, 16) for part in parts)


def advertisement(
    obj: Object, aliases: Mapping[str, Community], nodes: frozenset[str]
) -> Advertisement:
    """One BGPAdvertisement; `nodes` are those that its nodeSelectors hit."""
    spec = spec_of(obj)
    for field, what in (
        ("ipAddressPools", "ipAddressPools"),
        ("communities", "community"),
        ("peers", "peers"),
    ):
        check_unique(spec.get(field), what)
    matchers(spec, "ipAddressPoolSelectors")
    return Advertisement(
        name=name_of(obj),
        nodes=nodes,
        length_v4=_length(spec, "aggregationLength", 32, "IPv4"),
        length_v6=_length(spec, "aggregationLengthV6", 128, "IPv6"),
        local_pref=int(spec.get("localPref") or 0),
        communities=frozenset(
            aliases[one] if one in aliases else _named(one) for one in spec.get("communities") or ()
        ),
        peers=frozenset(spec.get("peers") or ()),
    )


def check_duplicates(objects: Sequence[Object]) -> None:
    """Refuse the same BGPAdvertisement listed twice, name and all."""
    for (i, one), (j, other) in combinations(enumerate(objects, 1), 2):
        if one == other:
            raise BadConfig(
                f"duplicate definition of bgpadvertisements. advertisement {i} and {j} are equal"
            )


def check_pool(pool: Pool, advertisements: Sequence[Advertisement]) -> None:
    """Aggregation must not be shorter than a pool's prefixes, nor local preferences contradict."""
    for one in advertisements:
        _check_aggregation(pool, one)
    for earlier, later in combinations(advertisements, 2):
        if not _compatible(earlier, later, {cidr.version for cidr in pool.cidrs}):
            raise BadConfig(
                f"invalid local preference {later.local_pref}: local preferernce {earlier.local_pref} "
                "was already set for the same type of BGP update. Check existing BGP advertisements "
                "with common pools and aggregation lengths"
            )


def check_native_peers(objects: Iterable[Object]) -> None:
    """Fields of BGPPeer that only FRR understands."""
    for obj in objects:
        spec = spec_of(obj)
        for is_set, what in (
            (bool(spec.get("bfdProfile")), "bfd-profile set"),
            (bool(_seconds(spec.get("keepaliveTime"))), "keepalive-time set"),
            (bool(spec.get("vrf")), "vrf set"),
            (spec.get("connectTime") is not None, "connect time set"),
            (bool(spec.get("enableGracefulRestart")), "EnableGracefulRestart flag set"),
            (bool(spec.get("disableMP")), "disable MP flag set"),
            (bool(spec.get("dynamicASN")), "dynamicASN set"),
        ):
            if is_set:
                raise BadConfig(f"peer {spec.get('peerAddress', '')} has {what} on native bgp mode")


def check_native_communities(
    advertisements: Iterable[Object], community_objects: Iterable[Object]
) -> None:
    """Large communities need FRR; texts that do not parse are somebody else's problem here."""
    for obj in advertisements:
        for text in spec_of(obj).get("communities") or ():
            _check_small(text, f'BGP advertisement "{name_of(obj)}"')
    for obj in community_objects:
        for one in spec_of(obj).get("communities") or ():
            _check_small(one.get("value", ""), f'BGP community CR "{name_of(obj)}"')


def _check_small(text: str, where: str) -> None:
    try:
        large = len(community(text)) == 3
    except BadConfig:
        return
    if large:
        raise BadConfig(
            f'native BGP mode only supports legacy communities, {where} has non legacy community "{text}"'
        )


def _peer(obj: Object, secrets: Mapping[str, Object]) -> Peer:
    spec = spec_of(obj)
    _check_asns(spec)
    hold = _hold_seconds(spec)
    _check_addresses(spec)
    return Peer(
        name=name_of(obj),
        my_asn=int(spec["myASN"]),
        asn=int(spec.get("peerASN") or 0),
        address=spec["peerAddress"],
        port=int(spec.get("peerPort") or 179),
        hold_seconds=hold,
        node_selectors=matchers(spec, "nodeSelectors"),
        password=_password(obj, secrets),
    )


def _check_asns(spec: Object) -> None:
    asn, dynamic = spec.get("peerASN") or 0, spec.get("dynamicASN") or ""
    if not spec.get("myASN"):
        raise BadConfig("missing local ASN")
    if not asn and not dynamic:
        raise BadConfig("missing peer ASN and dynamicASN")
    if asn and dynamic:
        raise BadConfig("both peer ASN and dynamicASN specified")
    if dynamic not in ("", "internal", "external"):
        raise BadConfig(f"invalid dynamicASN {dynamic}")
    if asn == spec["myASN"] and spec.get("ebgpMultiHop"):
        raise BadConfig("invalid ebgp-multihop parameter set for an ibgp peer")


def _check_addresses(spec: Object) -> None:
    for field, what, needed in (
        ("peerAddress", "BGPPeer address", True),
        ("routerID", "router ID", False),
        ("sourceAddress", "source IP", False),
    ):
        text = spec.get(field) or ""
        if (text or needed) and parse_address(text) is None:
            raise BadConfig(f'invalid {what} "{text}"')


def _hold_seconds(spec: Object) -> float | None:
    hold, keepalive = _seconds(spec.get("holdTime")), _seconds(spec.get("keepaliveTime"))
    if hold is None and keepalive is None:
        return None
    if hold is None:
        hold = 3 * (keepalive or 0)
    if keepalive is None:
        keepalive = hold / 3
    if int(hold) in (1, 2):
        raise BadConfig(
            f'invalid BGPPeer timers: invalid hold time "{spec.get("holdTime")}": must be 0 or >=3s'
        )
    if keepalive > hold:
        raise BadConfig(
            f'invalid BGPPeer timers: invalid keepaliveTime "{spec.get("keepaliveTime")}", '
            f'must be lower than holdTime "{spec.get("holdTime")}"'
        )
    return hold


def _password(obj: Object, secrets: Mapping[str, Object]) -> str:
    spec, where = spec_of(obj), f'"{obj["metadata"].get("namespace", "")}"/"{name_of(obj)}"'
    plain = spec.get("password") or ""
    reference = (spec.get("passwordSecret") or {}).get("name") or ""
    if plain and reference:
        raise BadConfig(f"can not have both password and secret ref set in peer config {where}")
    if not reference:
        return plain
    secret = secrets.get(reference)
    if secret is None:
        raise Dangling(f"secret ref not found for peer config {where}")
    if secret.get("type") != "kubernetes.io/basic-auth":
        raise BadConfig(
            f'secret type mismatch on "{reference}", type "kubernetes.io/basic-auth" is expected'
        )
    data = secret.get("data") or {}
    if "password" not in data:
        raise BadConfig(f'password not specified in the secret "{reference}"')
    return base64.b64decode(data["password"]).decode()


def _named(text: str) -> Community:
    try:
        return community(text)
    except BadConfig as problem:
        raise type(problem)(f'invalid community "{text}" in BGP advertisement: {problem}') from None


def _section(text: str, whole: str, bits: int) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) >= 1 << bits:
        raise BadConfig(f'invalid community value: invalid section "{text}" of community "{whole}"')
    return int(text)


def _length(spec: Object, field: str, limit: int, family: str) -> int:
    value = spec.get(field)
    length = limit if value is None else int(value)
    if length > limit:
        raise BadConfig(f"invalid aggregation length {length} for {family}")
    return length


def _check_aggregation(pool: Pool, one: Advertisement) -> None:
    """A range becomes several prefixes; only the shortest of an entry counts."""
    for text, cidrs in pool.entries:
        length = one.length_v4 if cidrs[0].version == 4 else one.length_v6
        shortest = min(cidr.prefixlen for cidr in cidrs)
        if length < shortest:
            raise BadConfig(
                f"invalid aggregation length {length}: prefix {shortest} in this pool is more specific "
                f"than the aggregation length for addresses {text}"
            )


def _compatible(one: Advertisement, other: Advertisement, versions: set[int]) -> bool:
    """Whether two advertisements of one pool may differ in local preference: they never meet on a route."""
    if one.local_pref == other.local_pref:
        return True
    apart_v4 = one.length_v4 != other.length_v4
    apart_v6 = one.length_v6 != other.length_v6
    if (4 not in versions or apart_v4) and (6 not in versions or apart_v6):
        return True
    if one.peers and other.peers and not one.peers & other.peers:
        return True
    return not one.nodes & other.nodes


def _seconds(text: str | None) -> float | None:
    """A Go duration such as `1m30s` in seconds."""
    if text is None:
        return None
    parts = _DURATION.findall(text)
    if "".join(number + unit for number, unit in parts) != text and text != "0":
        raise BadConfig(f'invalid duration "{text}"')
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
