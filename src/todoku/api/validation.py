"""Rules every object obeys: names, labels, annotations, owners, finalizers (k8s.io/apimachinery api/validation).

The `*_problems` functions give messages (empty: fine); `object_meta` and `object_meta_update` give FieldErrors.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from todoku.api.errors import FieldError, Path, duplicate, forbidden, invalid, required, too_long
from todoku.api.meta import Object, gvk_of

NameRule: TypeAlias = Callable[[str], list[str]]

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = _LABEL + r"(\." + _LABEL + r")*"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_LABEL_RE, _SUBDOMAIN_RE = re.compile(_LABEL), re.compile(_SUBDOMAIN)
_QUALIFIED_RE, _VALUE_RE = re.compile(_QUALIFIED), re.compile(_VALUE)
_DNS1035_RE = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")

_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_DNS1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
    "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_NAME_PART_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_QUALIFIED_TEXT = (
    "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' "
    "(e.g. 'example.com/MyName')"
)
_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation "
    "is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def _max_length(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def dns1123_label(value: str) -> list[str]:
    problems = [_max_length(63)] if len(value) > 63 else []
    if not _LABEL_RE.fullmatch(value):
        problems.append(
            _LABEL_TEXT if not _SUBDOMAIN_RE.fullmatch(value) else "must not contain dots"
        )
    return problems


def dns1123_subdomain(value: str) -> list[str]:
    problems = [_max_length(253)] if len(value) > 253 else []
    if not _SUBDOMAIN_RE.fullmatch(value):
        problems.append(_SUBDOMAIN_TEXT)
    return problems


_UNDERSCORED = r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_UNDERSCORED_RE = re.compile(rf"{_UNDERSCORED}(\.{_UNDERSCORED})*")
_UNDERSCORED_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')"
)


def dns1123_subdomain_with_underscore(value: str) -> list[str]:
    problems = [_max_length(253)] if len(value) > 253 else []
    if not _UNDERSCORED_RE.fullmatch(value):
        problems.append(_UNDERSCORED_TEXT)
    return problems


def dns1035_label(value: str) -> list[str]:
    problems = [_max_length(63)] if len(value) > 63 else []
    if not _DNS1035_RE.fullmatch(value):
        problems.append(_DNS1035_TEXT)
    return problems


def path_segment(value: str) -> list[str]:
    """Names that only need to fit into a URL: RBAC kinds."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{part}'" for part in ("/", "%") if part in value]


def any_name(value: str) -> list[str]:
    return []


def qualified_name_problems(value: str) -> list[str]:
    """Keys of labels, annotations, taints, resources (IsQualifiedName)."""
    parts = value.split("/")
    problems: list[str] = []
    if len(parts) == 2:
        prefix = parts[0]
        if not prefix:
            problems.append("prefix part must be non-empty")
        else:
            problems += [f"prefix part {text}" for text in dns1123_subdomain(prefix)]
    elif len(parts) > 2:
        return [_QUALIFIED_TEXT]
    name = parts[-1]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > 63:
        problems.append("name part must be no more than 63 bytes")
    if not _QUALIFIED_RE.fullmatch(name):
        problems.append(_NAME_PART_TEXT)
    return problems


def label_value_problems(value: str) -> list[str]:
    problems = [_max_length(63)] if len(value) > 63 else []
    if not _VALUE_RE.fullmatch(value):
        problems.append(_VALUE_TEXT)
    return problems


def label_problems(found: Mapping[str, Any] | None, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for key, value in (found or {}).items():
        problems += [invalid(path, key, text) for text in qualified_name_problems(key)]
        problems += [invalid(path, value, text) for text in label_value_problems(value)]
    return problems


ANNOTATIONS_LIMIT_BYTES = 256 * 1024


def annotation_problems(found: Mapping[str, Any] | None, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    total = 0
    for key, value in (found or {}).items():
        problems += [invalid(path, key, text) for text in qualified_name_problems(key.lower())]
        total += len(key.encode()) + len(str(value).encode())
    if total > ANNOTATIONS_LIMIT_BYTES:
        problems.append(too_long(path, ANNOTATIONS_LIMIT_BYTES))
    return problems


def object_meta(
    metadata: Object,
    *,
    namespaced: bool,
    name_rule: NameRule = dns1123_subdomain,
    path: Path | None = None,
    plain_finalizers: bool = False,
) -> list[FieldError]:
    """Problems of an object's metadata (ValidateObjectMeta).

    `plain_finalizers` is for kinds outside core validation, whose finalizers need no domain.
    """
    at = path or Path("metadata")
    problems: list[FieldError] = []
    if prefix := metadata.get("generateName"):
        problems += [
            invalid(at / "generateName", prefix, t) for t in _prefix_problems(prefix, name_rule)
        ]
    if name := metadata.get("name"):
        problems += [invalid(at / "name", name, text) for text in name_rule(name)]
    else:
        problems.append(required(at / "name", "name or generateName is required"))
    problems += _namespace_problems(metadata, namespaced, at)
    if metadata.get("generation", 0) < 0:
        text = "must be greater than or equal to 0"
        problems.append(invalid(at / "generation", metadata["generation"], text))
    problems += label_problems(metadata.get("labels"), at / "labels")
    problems += annotation_problems(metadata.get("annotations"), at / "annotations")
    problems += owner_references(metadata.get("ownerReferences") or (), at / "ownerReferences")
    found = metadata.get("finalizers") or ()
    problems += finalizers(found, at / "finalizers", plain=plain_finalizers)
    return problems


def _prefix_problems(prefix: str, rule: NameRule) -> list[str]:
    return rule(without_dash(prefix))


def without_dash(prefix: str) -> str:
    """A prefix of names as it must be judged: what is added to a trailing dash is not there yet."""
    return prefix[:-2] + "a" if len(prefix) > 1 and prefix.endswith("-") else prefix


def _namespace_problems(metadata: Object, namespaced: bool, at: Path) -> list[FieldError]:
    namespace = metadata.get("namespace", "")
    if not namespaced:
        text = "not allowed on this type"
        return [forbidden(at / "namespace", text)] if namespace else []
    if not namespace:
        return [required(at / "namespace")]
    return [invalid(at / "namespace", namespace, text) for text in dns1123_label(namespace)]


def owner_references(owners: Sequence[Object], path: Path) -> list[FieldError]:
    """ValidateOwnerReferences; the paths name the list, not its items."""
    problems: list[FieldError] = []
    controller = ""
    for owner in owners:
        if not gvk_of(owner).version:
            value, text = owner.get("apiVersion", ""), "version must not be empty"
            problems.append(invalid(path / "apiVersion", value, text))
        for field in ("kind", "name", "uid"):
            if not owner.get(field):
                problems.append(invalid(path / field, "", "must not be empty"))
        if owner.get("apiVersion") == "v1" and owner.get("kind") == "Event":
            text = "/v1, Kind=Event is disallowed from being an owner"
            problems.append(invalid(path, owner, text))
        if owner.get("controller"):
            name = f"{owner.get('kind', '')}/{owner.get('name', '')}"
            if controller:
                text = f'Only one reference can have Controller set to true. Found "true" in references for {controller} and {name}'
                problems.append(invalid(path, list(owners), text))
            else:
                controller = name
    return problems


_STANDARD_FINALIZERS = ("orphan", "foregroundDeletion", "kubernetes")


def finalizers(found: Sequence[str], path: Path, *, plain: bool = False) -> list[FieldError]:
    problems: list[FieldError] = []
    for index, one in enumerate(found):
        problems += finalizer_name(one, path, path if plain else path / index, plain=plain)
    if "orphan" in found and "foregroundDeletion" in found:
        text = "finalizer orphan and foregroundDeletion cannot be both set"
        problems.append(invalid(path, list(found), text))
    return problems


def finalizer_name(
    name: str, path: Path, domain_path: Path, *, plain: bool = False
) -> list[FieldError]:
    """`domain_path` is where a missing domain is said (validateFinalizerName)."""
    problems = [invalid(path, name, text) for text in qualified_name_problems(name)]
    if not plain and "/" not in name and name not in _STANDARD_FINALIZERS:
        text = "name is neither a standard finalizer name nor is it fully qualified"
        problems.append(invalid(domain_path, name, text))
    return problems


def bare_finalizer_warnings(new: Object, old: Object | None) -> list[str]:
    """What writers of custom resources are told of finalizers that have no domain; unchanged ones say nothing."""
    found = new["metadata"].get("finalizers") or []
    if old is not None and found == (old["metadata"].get("finalizers") or []):
        return []
    return [
        f'metadata.finalizers: "{one}": prefer a domain-qualified finalizer name including a path (/)'
        " to avoid accidental conflicts with other finalizer writers"
        for one in found
        if "/" not in one and one not in _STANDARD_FINALIZERS
    ]


def object_meta_update(new: Object, old: Object, path: Path | None = None) -> list[FieldError]:
    """Problems of a change of metadata (ValidateObjectMetaUpdate); what the server owns is restored before."""
    at = path or Path("metadata")
    problems: list[FieldError] = []
    if old.get("deletionTimestamp"):
        extra = sorted(set(new.get("finalizers") or ()) - set(old.get("finalizers") or ()))
        if extra:
            shown = "no new finalizers can be added if the object is being deleted, found new finalizers "
            listed = "[]string{" + ", ".join(f'"{one}"' for one in extra) + "}"
            problems.append(forbidden(at / "finalizers", shown + listed))
    if not new.get("resourceVersion") and "resourceVersion" in old:
        problems.append(invalid(at / "resourceVersion", "", "must be specified for an update"))
    if new.get("generation", 0) < old.get("generation", 0):
        problems.append(
            invalid(at / "generation", new.get("generation", 0), "must not be decremented")
        )
    for field in (
        "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
    ):  # fmt: skip
        problems += immutable(new.get(field), old.get(field), at / field)
    return problems


def immutable(new: Any, old: Any, path: Path) -> list[FieldError]:
    """`field is immutable` if the two differ; absent and empty are the same."""
    if new == old or (not new and not old and not isinstance(new, bool)):
        return []
    return [invalid(path, new, "field is immutable")]


_ADDRESS_TEXT = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_CIDR_TEXT = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def repeats(values: Iterable[Hashable]) -> frozenset[int]:
    """Where values stand that have come before."""
    first: dict[Hashable, int] = {}
    return frozenset(
        index for index, one in enumerate(values) if first.setdefault(one, index) < index
    )


def address_problems(value: str, path: Path, kept: Collection[str] = ()) -> list[FieldError]:
    """An IP address that all readers read alike, or one of those `kept` from before (IsValidIPForLegacyField, strict)."""
    if value in kept:
        return []
    try:
        parsed = ipaddress.ip_address(value)
    except ValueError:
        if has_leading_zeros(value):
            return [invalid(path, value, "must not have leading 0s")]
        return [invalid(path, value, _ADDRESS_TEXT)]
    if "%" in value:
        return [invalid(path, value, _ADDRESS_TEXT)]
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        return [invalid(path, value, "must not be an IPv4-mapped IPv6 address")]
    return []


def is_address(text: str) -> bool:
    """Whether it is an IP address, of either family."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def cidr_problems(value: str, path: Path, kept: Collection[str] = ()) -> list[FieldError]:
    """A network in its plain form, or one of those `kept` (IsValidCIDRForLegacyField, strict)."""
    if value in kept:
        return []
    address, slash, length = value.partition("/")
    zeros = has_leading_zeros(address)
    try:
        interface = ipaddress.ip_interface(f"{without_zeros(address)}/{length}")
    except ValueError:
        return [invalid(path, value, _CIDR_TEXT)]
    if not slash or not length.isdigit() or "%" in value:
        return [invalid(path, value, _CIDR_TEXT)]
    if zeros or (len(length) > 1 and length.startswith("0")):
        return [invalid(path, value, "must not have leading 0s in IP or prefix length")]
    if isinstance(interface.ip, ipaddress.IPv6Address) and interface.ip.ipv4_mapped:
        return [invalid(path, value, "must not have an IPv4-mapped IPv6 address")]
    if interface.ip != interface.network.network_address:
        return [invalid(path, value, "must not have bits set beyond the prefix length")]
    return []


def without_zeros(address: str) -> str:
    """An IPv4 address as those read it who skip leading zeros."""
    if not has_leading_zeros(address):
        return address
    return ".".join(part.lstrip("0") or "0" for part in address.split("."))


def family_of(address: str) -> int:
    """4 or 6, also for addresses that are only tolerated; 0 for what is no address."""
    try:
        parsed = ipaddress.ip_address(without_zeros(address))
    except ValueError:
        return 0
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return 4 if mapped else parsed.version


def has_leading_zeros(address: str) -> bool:
    """Whether it is an IPv4 address but for zeros in front, which some read as octal."""
    parts = address.split(".")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() for part in parts):
        return False
    return all(int(part) < 256 for part in parts) and any(
        len(part) > 1 and part.startswith("0") for part in parts
    )


def non_negative(value: Any, path: Path) -> list[FieldError]:
    if isinstance(value, int) and value < 0:
        return [invalid(path, value, "must be greater than or equal to 0")]
    return []


def in_range(value: int, low: int, high: int, path: Path) -> list[FieldError]:
    if low <= value <= high:
        return []
    return [invalid(path, value, f"must be between {low} and {high}, inclusive")]


def port_number(value: Any, path: Path) -> list[FieldError]:
    return in_range(value if isinstance(value, int) else 0, 1, 65535, path)


_PORT_NAME = re.compile(r"[-a-z0-9]+")


def port_name_problems(value: str) -> list[str]:
    """IANA service names (IsValidPortName)."""
    problems: list[str] = []
    if len(value) > 15:
        problems.append("must be no more than 15 characters")
    if not _PORT_NAME.fullmatch(value):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search(r"[a-z]", value):
        problems.append("must contain at least one letter (a-z)")
    if "--" in value:
        problems.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        problems.append("must not begin or end with a hyphen")
    return problems


_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")


def config_map_key_problems(value: str) -> list[str]:
    problems: list[str] = []
    if len(value) > 253:
        problems.append(_max_length(253))
    if not _CONFIG_KEY.fullmatch(value):
        problems.append(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
            "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
        )
    if value == ".":
        problems.append("must not be '.'")
    elif value == "..":
        problems.append("must not be '..'")
    elif value.startswith(".."):
        problems.append("must not start with '..'")
    return problems


def duplicates(values: Sequence[Any], path: Path) -> list[FieldError]:
    """`Duplicate value` for each repeated item, at its index."""
    seen: list[Any] = []
    problems: list[FieldError] = []
    for index, value in enumerate(values):
        if value in seen:
            problems.append(duplicate(path / index, value))
        seen.append(value)
    return problems
