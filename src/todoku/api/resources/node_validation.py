"""Validation of Nodes and warnings about them (pkg/apis/core/validation ValidateNode*, pkg/registry/core/node)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from todoku.api import validation
from todoku.api.errors import (
    FieldError,
    Path,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from todoku.api.internals import rendered
from todoku.api.meta import Object
from todoku.api.podspec.resources import amount_problems
from todoku.api.podspec.scheduling import TAINT_EFFECTS
from todoku.api.resources.service_warnings import network_warnings

_SPEC, _STATUS = Path("spec"), Path("status")
_TAINTS = Path("metadata") / "taints"  # upstream names this place


def validate(new: Object, old: Object | None) -> list[FieldError]:
    """All problems of a Node; with `old`, also of the change.  The latter repeats some, as upstream does."""
    before = (old or {}).get("spec") or {}
    problems = taint_problems(new["spec"].get("taints") or (), _TAINTS)
    problems += _resources(new.get("status") or {})
    problems += _networks(
        new["spec"].get("podCIDRs") or (), frozenset(before.get("podCIDRs") or ())
    )
    return problems + (validate_change(new, old) if old is not None else [])


def validate_change(new: Object, old: Object) -> list[FieldError]:
    """What an update of the Node or of its status may not do."""
    spec, before, status = new["spec"], old.get("spec") or {}, new.get("status") or {}
    problems = _resources(status) + _addresses(status)
    was, now = before.get("podCIDRs") or [], spec.get("podCIDRs") or []
    changes = sum(a != b for a, b in zip(was, now, strict=False)) if len(was) == len(now) else 1
    if was:
        text = 'node updates may not change podCIDR except from "" to valid'
        problems += [forbidden(_SPEC / "podCIDRs", text)] * changes
    if before.get("providerID") and spec.get("providerID") != before["providerID"]:
        text = 'node updates may not change providerID except from "" to valid'
        problems.append(forbidden(_SPEC / "providerID", text))
    if spec.get("configSource") is not None:
        problems += _config_source(spec["configSource"], _SPEC / "configSource", given=False)
    for field in ("assigned", "active", "lastKnownGood"):
        source = (status.get("config") or {}).get(field)
        if source is not None:
            problems += _config_source(source, _STATUS / "config" / field, given=True)
    problems += taint_problems(spec.get("taints") or (), _TAINTS)
    if (spec.get("externalID") or "") != (before.get("externalID") or ""):
        problems.append(forbidden(_SPEC / "externalID", "may not be updated"))
    return problems


def taint_problems(taints: Sequence[Object], path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        at, key, value = path / index, taint.get("key") or "", taint.get("value") or ""
        problems += [
            invalid(at / "key", key, text) for text in validation.qualified_name_problems(key)
        ]
        if texts := validation.label_value_problems(value):
            problems.append(invalid(at / "value", value, ";".join(texts)))
        effect = taint.get("effect") or ""
        if not effect:
            problems.append(required(at / "effect"))
        elif effect not in TAINT_EFFECTS:
            problems.append(not_supported(at / "effect", effect, TAINT_EFFECTS))
        if (key, effect) in seen:
            text = "taints must be unique by key and effect pair"
            problems.append(duplicate(at, rendered(taint, "Taint"), text))
        seen.add((key, effect))
    return problems


def _resources(status: Object) -> list[FieldError]:
    return [
        problem
        for field in ("capacity", "allocatable")
        for name, amount in (status.get(field) or {}).items()
        for problem in amount_problems(name, amount, _STATUS / field / name)
    ]


def _networks(networks: Sequence[str], kept: Collection[str]) -> list[FieldError]:
    path = _SPEC / "podCIDRs"
    problems: list[FieldError] = []
    for index, network in enumerate(networks):
        problems += validation.cidr_problems(network, path / index, kept)
    if len(networks) < 2:
        return problems
    families = {validation.family_of(one.partition("/")[0]) for one in networks}
    if len(networks) > 2 or families != {4, 6}:
        text = "may specify no more than one CIDR for each IP family"
        problems.append(invalid(path, list(networks), text))
    for index in sorted(validation.repeats(networks)):
        problems.append(duplicate(path / index, networks[index]))
    return problems


def _addresses(status: Object) -> list[FieldError]:
    problems: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, one in enumerate(status.get("addresses") or ()):
        pair = (one.get("type") or "", one.get("address") or "")
        if pair in seen:
            path = _STATUS / "addresses" / index
            problems.append(duplicate(path, rendered(one, "NodeAddress")))
        seen.add(pair)
    return problems


def _config_source(source: Object, path: Path, *, given: bool) -> list[FieldError]:
    """A kubelet's configuration, which no kubelet reads any more; `given`: it says which version of it."""
    chosen = source.get("configMap")
    if chosen is None:
        text = "exactly one reference subfield must be non-nil"
        return [invalid(path, rendered(source, "NodeConfigSource"), text)]
    at = path / "configMap"
    problems: list[FieldError] = []
    for field in ("uid", "resourceVersion"):
        if given and not chosen.get(field):
            problems.append(required(at / field, f"{field} must be set in status"))
        elif not given and chosen.get(field):
            problems.append(forbidden(at / field, f"{field} must not be set in spec"))
    for field, rule in _CONFIG_RULES.items():
        value = chosen.get(field) or ""
        if value:
            problems += [invalid(at / field, value, text) for text in rule(value)]
        else:
            problems.append(required(at / field, f"{field} must be set"))
    return problems


_CONFIG_RULES = {
    "namespace": validation.dns1123_label,
    "name": validation.dns1123_subdomain,
    "kubeletConfigKey": validation.config_map_key_problems,
}


def warnings(new: Object, old: Object | None) -> list[str]:
    spec = new.get("spec") or {}
    found: list[str] = []
    if spec.get("configSource") is not None:
        found.append("spec.configSource: the feature is removed")
    if spec.get("externalID"):
        found.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
    for index, network in enumerate(spec.get("podCIDRs") or ()):
        found += network_warnings(network, f"spec.podCIDRs[{index}]")
    return found
