"""Validation of FlowSchemas and PriorityLevelConfigurations (pkg/apis/flowcontrol/validation)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from todoku.api.errors import FieldError, Path, forbidden, invalid, not_supported, required
from todoku.api.formats import each
from todoku.api.internals import rendered
from todoku.api.meta import Object
from todoku.api.validation import dns1123_label, dns1123_subdomain

_SPEC = Path("spec")
_EXEMPT = "exempt"
_MAX_PRECEDENCE, _MAX_QUEUES, _MAX_HASH_BITS = 10_000, 10_000_000, 60
_METHODS = ("ByNamespace", "ByUser")
_VERBS = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
)

_ALL: Object = {
    "resourceRules": [
        {
            "verbs": ["*"],
            "apiGroups": ["*"],
            "resources": ["*"],
            "clusterScope": True,
            "namespaces": ["*"],
        }
    ],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
}


def _all_of(*groups: str) -> list[Object]:
    return [{"subjects": [{"kind": "Group", "group": {"name": one}} for one in groups], **_ALL}]


# The specs that a server works by, whatever becomes of the objects.
MANDATORY_SCHEMAS: Mapping[str, Object] = {
    "exempt": {
        "priorityLevelConfiguration": {"name": "exempt"},
        "matchingPrecedence": 1,
        "rules": _all_of("system:masters"),
    },
    "catch-all": {
        "priorityLevelConfiguration": {"name": "catch-all"},
        "matchingPrecedence": 10000,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": _all_of("system:unauthenticated", "system:authenticated"),
    },
}
MANDATORY_LEVELS: Mapping[str, Object] = {
    "exempt": {
        "type": "Exempt",
        "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0},
    },
    "catch-all": {
        "type": "Limited",
        "limited": {
            "nominalConcurrencyShares": 5,
            "lendablePercent": 0,
            "limitResponse": {"type": "Reject"},
        },
    },
}


def _fixed(
    name: str, spec: Object, specs: Mapping[str, Object], struct: str, besides: str = ""
) -> list[FieldError]:
    """The mandatory objects stay as they are, but for the field `besides`."""
    wanted = specs.get(name)
    if wanted is None or _said(spec, besides) == _said(wanted, besides):
        return []
    but = f" except the 'spec.{besides}' field" if besides else ""
    text = f"spec of '{name}'{but} must equal the fixed value"
    return [invalid(_SPEC, rendered(spec, struct), text)]


def _said(value: Any, besides: str = "") -> Any:
    """A value without what is empty in it, which says as much as what is absent."""
    if isinstance(value, dict):
        kept = {key: _said(one) for key, one in value.items() if key != besides}
        return {
            key: one for key, one in kept.items() if one not in (None, "", []) and one is not False
        }
    return [_said(one) for one in value] if isinstance(value, list) else value


def schema_problems(schema: Object) -> list[FieldError]:
    spec, name = schema.get("spec") or {}, schema["metadata"].get("name", "")
    precedence, at = spec.get("matchingPrecedence") or 0, _SPEC / "matchingPrecedence"
    problems: list[FieldError] = []
    if precedence <= 0:
        problems.append(invalid(at, precedence, "must be a positive value"))
    if precedence > _MAX_PRECEDENCE:
        problems.append(invalid(at, precedence, f"must not be greater than {_MAX_PRECEDENCE}"))
    if precedence == 1 and name != _EXEMPT:
        text = "only the schema named 'exempt' may have matchingPrecedence 1"
        problems.append(invalid(at, precedence, text))
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in _METHODS:
        shown = rendered(method, "FlowDistinguisherMethod")
        problems.append(not_supported(_SPEC / "distinguisherMethod" / "type", shown, _METHODS))
    level = (spec.get("priorityLevelConfiguration") or {}).get("name") or ""
    at = _SPEC / "priorityLevelConfiguration" / "name"
    if level:
        problems += each(dns1123_subdomain, level, at)
    else:
        problems.append(required(at, "must reference a priority level"))
    for index, rule in enumerate(spec.get("rules") or ()):
        problems += _rule(rule, _SPEC / "rules" / index)
    return problems + _fixed(name, spec, MANDATORY_SCHEMAS, "FlowSchemaSpec")


def _rule(rule: Object, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    if not rule.get("subjects"):
        problems.append(required(at / "subjects", "subjects must contain at least one value"))
    for index, subject in enumerate(rule.get("subjects") or ()):
        problems += _subject(subject, at / "subjects" / index)
    if not rule.get("resourceRules") and not rule.get("nonResourceRules"):
        text = "at least one of resourceRules and nonResourceRules has to be non-empty"
        problems.append(required(at, text))
    for index, one in enumerate(rule.get("resourceRules") or ()):
        problems += _resource_rule(one, at / "resourceRules" / index)
    for index, one in enumerate(rule.get("nonResourceRules") or ()):
        problems += _path_rule(one, at / "nonResourceRules" / index)
    return problems


def _subject(subject: Object, at: Path) -> list[FieldError]:
    """What the kind names, and nothing else."""
    kind = subject.get("kind") or ""
    if kind not in _SUBJECTS:
        return [not_supported(at / "kind", kind, sorted(_SUBJECTS))]
    field, rule = _SUBJECTS[kind]
    if subject.get(field) is None:
        text = f"{field} is required when subject kind is '{kind}'"
        problems = [required(at / field, text)]
    else:
        problems = rule(subject[field], at / field)
    for other, (name, _) in _SUBJECTS.items():
        if other != kind and subject.get(name) is not None:
            text = f"{name} is forbidden when subject kind is not '{other}'"
            problems.append(forbidden(at / name, text))
    return problems


def _named(subject: Object, at: Path) -> list[FieldError]:
    return [] if subject.get("name") else [required(at / "name")]


def _service_account(subject: Object, at: Path) -> list[FieldError]:
    name, namespace = subject.get("name") or "", subject.get("namespace") or ""
    problems = _named(subject, at)
    if name and name != "*":
        problems += each(dns1123_subdomain, name, at / "name")
    if namespace:
        return problems + each(dns1123_label, namespace, at / "namespace")
    text = "must specify namespace for service account"
    return [*problems, required(at / "namespace", text)]


# kind -> (its field, its rule); in the order that others are forbidden.
_SUBJECTS: Mapping[str, tuple[str, Callable[[Object, Path], list[FieldError]]]] = {
    "ServiceAccount": ("serviceAccount", _service_account),
    "User": ("user", _named),
    "Group": ("group", _named),
}


def _verbs(rule: Object, at: Path) -> list[FieldError]:
    verbs = rule.get("verbs") or []
    if not verbs:
        return [required(at / "verbs", "verbs must contain at least one value")]
    if "*" in verbs:
        return _alone(verbs, "verbs", at / "verbs")
    if all(one in _VERBS for one in verbs):
        return []
    return [not_supported(at / "verbs", verbs, _VERBS)]


def _alone(values: Sequence[str], word: str, at: Path) -> list[FieldError]:
    """`*` stands for all others."""
    if "*" not in values or len(values) == 1:
        return []
    return [invalid(at, list(values), f"if '*' is present, must not specify other {word}")]


def _resource_rule(rule: Object, at: Path) -> list[FieldError]:
    problems = _verbs(rule, at)
    for field, one, word in (
        ("apiGroups", "api group", "api groups"),
        ("resources", "resource", "resources"),
    ):
        values = rule.get(field) or []
        if not values:
            text = f"resource rules must supply at least one {one}"
            problems.append(required(at / field, text))
        problems += _alone(values, word, at / field)
    namespaces = rule.get("namespaces") or []
    path = at / "namespaces"
    if not namespaces and not rule.get("clusterScope"):
        text = "resource rules that are not cluster scoped must supply at least one namespace"
        return [*problems, required(path, text)]
    if "*" in namespaces:
        return problems + _alone(namespaces, "namespaces", path)
    intro = "each member of this list must be '*' or a DNS-1123 label; "
    return problems + [
        invalid(path / index, one, intro + text)
        for index, one in enumerate(namespaces)
        for text in dns1123_label(one)
    ]


def _path_rule(rule: Object, at: Path) -> list[FieldError]:
    problems = _verbs(rule, at)
    urls, path = rule.get("nonResourceURLs") or [], at / "nonResourceURLs"
    if not urls:
        text = "nonResourceURLs must contain at least one value"
        return [*problems, required(path, text)]
    if "*" in urls:
        return problems + _alone(urls, "non-resource URLs", path)
    for index, url in enumerate(urls):
        if text := _url_problem(url):
            problems.append(invalid(path / index, url, text))
    return problems


def _url_problem(url: str) -> str:
    if not url:
        return "must not be empty"
    if url == "/":
        return ""
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    stars = url.count("*")
    if stars > 1 or (stars == 1 and not url.endswith("/*")):
        return "wildcard can only do suffix matching"
    return ""


def level_problems(level: Object) -> list[FieldError]:
    spec, name = level.get("spec") or {}, level["metadata"].get("name", "")
    kind = spec.get("type") or ""
    problems: list[FieldError] = []
    if (name == _EXEMPT) != (kind == "Exempt"):
        text = "type must be 'Exempt' if and only if name is 'exempt'"
        problems.append(invalid(_SPEC / "type", kind, text))
    if kind == "Exempt":
        problems += _exempt(spec.get("exempt") or {}, _SPEC / "exempt")
        if spec.get("limited") is not None:
            text = "must be nil if the type is not Limited"
            problems.append(forbidden(_SPEC / "limited", text))
    elif kind == "Limited":
        if spec.get("exempt") is not None:
            text = "must be nil if the type is Limited"
            problems.append(forbidden(_SPEC / "exempt", text))
        if spec.get("limited") is None:
            text = "must not be empty when type is Limited"
            problems.append(required(_SPEC / "limited", text))
        else:
            problems += _limited(spec["limited"], _SPEC / "limited")
    else:
        problems.append(not_supported(_SPEC / "type", kind, ("Exempt", "Limited")))
    besides = "exempt" if name == _EXEMPT else ""
    return problems + _fixed(
        name, spec, MANDATORY_LEVELS, "PriorityLevelConfigurationSpec", besides
    )


def _shares(holder: Object, at: Path) -> list[FieldError]:
    shares = holder.get("nominalConcurrencyShares") or 0
    if shares >= 0:
        return []
    return [invalid(at / "nominalConcurrencyShares", shares, "must be a non-negative integer")]


def _lendable(holder: Object, at: Path) -> list[FieldError]:
    percent = holder.get("lendablePercent") or 0
    if 0 <= percent <= 100:
        return []
    return [invalid(at / "lendablePercent", percent, "must be between 0 and 100, inclusive")]


def _exempt(exempt: Object, at: Path) -> list[FieldError]:
    return _shares(exempt, at) + _lendable(exempt, at)


def _limited(limited: Object, at: Path) -> list[FieldError]:
    problems = _shares(limited, at)
    problems += _response(limited.get("limitResponse") or {}, at / "limitResponse")
    problems += _lendable(limited, at)
    borrowing = limited.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        text = "if specified, must be a non-negative integer"
        problems.append(invalid(at / "borrowingLimitPercent", borrowing, text))
    return problems


def _response(response: Object, at: Path) -> list[FieldError]:
    kind, queuing = response.get("type") or "", response.get("queuing")
    if kind == "Reject":
        text = "must be nil if limited.limitResponse.type is not Limited"
        return [] if queuing is None else [forbidden(at / "queuing", text)]
    if kind != "Queue":
        return [not_supported(at / "type", kind, ("Queue", "Reject"))]
    if queuing is None:
        text = "must not be empty if limited.limitResponse.type is Limited"
        return [required(at / "queuing", text)]
    return _queuing(queuing, at / "queuing")


def _queuing(queuing: Object, at: Path) -> list[FieldError]:
    queues, hand = queuing.get("queues") or 0, queuing.get("handSize") or 0
    length = queuing.get("queueLengthLimit") or 0
    problems: list[FieldError] = []
    if length <= 0:
        problems.append(invalid(at / "queueLengthLimit", length, "must be positive"))
    if queues <= 0:
        problems.append(invalid(at / "queues", queues, "must be positive"))
    elif queues > _MAX_QUEUES:
        problems.append(invalid(at / "queues", queues, f"must not be greater than {_MAX_QUEUES}"))
    if hand <= 0:
        problems.append(invalid(at / "handSize", hand, "must be positive"))
    elif hand > queues:
        text = f"should not be greater than queues ({queues})"
        problems.append(invalid(at / "handSize", hand, text))
    elif math.ceil(math.log2(queues) * hand) > _MAX_HASH_BITS:
        text = (
            f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than"
            f" {_MAX_HASH_BITS}"
        )
        problems.append(invalid(at / "handSize", hand, text))
    return problems
