"""Validation of a whole PodSpec, and of templates with the rules of their workload."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from todoku.api import validation
from todoku.api.errors import (
    FieldError,
    Path,
    duplicate,
    forbidden,
    invalid,
    not_found_field,
    not_supported,
    required,
)
from todoku.api.meta import Object
from todoku.api.podspec import containers as c
from todoku.api.podspec.probes import probe_problems
from todoku.api.podspec.resources import (
    amount_problems,
    resource_name_problems,
    resource_problems,
)
from todoku.api.podspec.scheduling import affinity_problems, spread_problems, toleration_problems
from todoku.api.podspec.security import host_user_problems, pod_security_problems
from todoku.api.podspec.volumes import volumes_problems

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_MAX_INT32 = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateRules:
    """Restart policies a workload allows; `deadline` whether activeDeadlineSeconds may be set."""

    restart_policies: tuple[str, ...] = ("Always",)
    deadline: bool = False
    workload: str = "ReplicaSet"


def validate_template(
    template: Object, path: Path, rules: TemplateRules | None = None
) -> list[FieldError]:
    """A PodTemplateSpec (ValidatePodTemplateSpec); `rules` are those of the workload around it."""
    metadata = template.get("metadata") or {}
    problems = validation.label_problems(metadata.get("labels"), path / "metadata" / "labels")
    problems += validation.annotation_problems(
        metadata.get("annotations"), path / "metadata" / "annotations"
    )
    spec = template.get("spec") or {}
    problems += validate_pod_spec(spec, path / "spec")
    if spec.get("ephemeralContainers"):
        text = "ephemeral containers not allowed in pod template"
        problems.append(forbidden(path / "spec" / "ephemeralContainers", text))
    if rules is None:
        return problems
    policy = spec.get("restartPolicy")
    if policy not in rules.restart_policies:
        problems.append(
            not_supported(path / "spec" / "restartPolicy", policy, rules.restart_policies)
        )
    if not rules.deadline and spec.get("activeDeadlineSeconds") is not None:
        problems.append(
            forbidden(
                path / "spec" / "activeDeadlineSeconds",
                f"activeDeadlineSeconds in {rules.workload} is not Supported",
            )
        )
    return problems


def validate_pod_spec(spec: Object, path: Path, *, pod: bool = False) -> list[FieldError]:
    """A PodSpec after defaulting (ValidatePodSpec); `pod` tells a Pod from a template."""
    problems: list[FieldError] = []
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is None:
        problems.append(required(path / "terminationGracePeriodSeconds"))
    else:
        problems += validation.non_negative(grace, path / "terminationGracePeriodSeconds")
    volumes = spec.get("volumes") or ()
    problems += volumes_problems(volumes, path / "volumes")
    problems += _all_containers(spec, path, _volume_names(volumes), pod=pod)
    problems += _policies(spec, path)
    problems += validation.label_problems(spec.get("nodeSelector"), path / "nodeSelector")
    problems += pod_security_problems(
        spec.get("securityContext") or {},
        path / "securityContext",
        host_network=bool(spec.get("hostNetwork")),
        host_users=spec.get("hostUsers") is not False,
    )
    problems += host_user_problems(spec, path)
    problems += _pull_secrets(spec.get("imagePullSecrets") or (), path / "imagePullSecrets")
    problems += affinity_problems(spec.get("affinity"), path / "affinity")
    problems += _dns_config(spec, path / "dnsConfig")
    problems += _gates(spec, path)
    problems += spread_problems(
        spec.get("topologySpreadConstraints") or (), path / "topologySpreadConstraints"
    )
    problems += _names(spec, path)
    problems += toleration_problems(spec.get("tolerations") or (), path / "tolerations")
    problems += _host_aliases(spec.get("hostAliases") or (), path / "hostAliases")
    problems += _deadline(spec, path)
    problems += _rest(spec, path)
    return problems


def _volume_names(volumes: Sequence[Object]) -> c.Volumes:
    names = {str(volume.get("name")) for volume in volumes}
    claims = {
        str(volume.get("name"))
        for volume in volumes
        if volume.get("persistentVolumeClaim") or volume.get("ephemeral")
    }
    return c.Volumes(names, claims)


def _all_containers(spec: Object, path: Path, volumes: c.Volumes, *, pod: bool) -> list[FieldError]:
    problems: list[FieldError] = []
    main, init = spec.get("containers") or (), spec.get("initContainers") or ()
    if not main:
        problems.append(required(path / "containers"))
    names: set[str] = set()
    for index, container in enumerate(main):
        at = path / "containers" / index
        problems += c.container_problems(container, at, volumes=volumes)
        problems += _unique(container, at, names)
        problems += probe_problems(container, at)
        policy = container.get("restartPolicy")
        if policy is not None and policy not in RESTART_POLICIES:
            problems.append(not_supported(at / "restartPolicy", policy, RESTART_POLICIES))
    problems += c.host_port_conflicts(main, path / "containers")
    if spec.get("hostNetwork"):
        problems += c.host_network_ports(main, path / "containers", pod=pod)
        problems += c.host_network_ports(init, path / "initContainers", pod=pod)
    for index, container in enumerate(init):
        at = path / "initContainers" / index
        problems += c.container_problems(container, at, volumes=volumes)
        problems += _unique(container, at, names)
        problems += _init_only(container, at)
    for index, container in enumerate(spec.get("ephemeralContainers") or ()):
        at = path / "ephemeralContainers" / index
        problems += c.container_problems(container, at, volumes=volumes)
        problems += _unique(container, at, names)
        problems += _ephemeral_only(container, at, {one.get("name") for one in (*main, *init)})
    return problems


def _unique(container: Object, at: Path, names: set[str]) -> list[FieldError]:
    name = container.get("name") or ""
    if name in names:
        return [duplicate(at / "name", name)]
    if name:
        names.add(name)
    return []


def _init_only(container: Object, at: Path) -> list[FieldError]:
    policy = container.get("restartPolicy")
    if policy == "Always":
        return probe_problems(container, at)
    problems: list[FieldError] = []
    if policy is not None and policy not in RESTART_POLICIES:
        problems.append(
            not_supported(at / "restartPolicy", policy, ("Always", "Never", "OnFailure"))
        )
    for field in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(field) is not None:
            text = "may not be set for init containers without restartPolicy=Always"
            problems.append(forbidden(at / field, text))
    return problems


_NOT_EPHEMERAL = (
    "ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy",
)  # fmt: skip


def _ephemeral_only(container: Object, at: Path, others: set[Any]) -> list[FieldError]:
    problems = [
        forbidden(at / field, "cannot be set for an Ephemeral Container")
        for field in _NOT_EPHEMERAL
        if container.get(field)
    ]
    if container.get("resources"):
        problems.append(forbidden(at / "resources", "cannot be set for an Ephemeral Container"))
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        for field in ("subPath", "subPathExpr"):
            if mount.get(field):
                text = "cannot be set for an Ephemeral Container"
                problems.append(forbidden(at / "volumeMounts" / index / field, text))
    target = container.get("targetContainerName")
    if target and target not in others:
        problems.append(not_found_field(at / "targetContainerName", target))
    return problems


def _policies(spec: Object, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for field, supported in (("restartPolicy", RESTART_POLICIES), ("dnsPolicy", DNS_POLICIES)):
        value = spec.get(field) or ""
        if not value:
            problems.append(required(path / field))
        elif value not in supported:
            problems.append(not_supported(path / field, value, supported))
    return problems


def _pull_secrets(secrets: Sequence[Object], path: Path) -> list[FieldError]:
    return [
        required(path / index / "name")
        for index, one in enumerate(secrets)
        if one.get("name") is None and one != {}
    ]


def _dns_config(spec: Object, path: Path) -> list[FieldError]:
    config = spec.get("dnsConfig") or {}
    problems: list[FieldError] = []
    servers, searches = config.get("nameservers") or (), config.get("searches") or ()
    if spec.get("dnsPolicy") == "None":
        if not spec.get("dnsConfig"):
            return [required(path, "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not servers:
            return [
                required(
                    path / "nameservers",
                    "must provide at least one DNS nameserver when `dnsPolicy` is None",
                )
            ]
    if len(servers) > 3:
        problems.append(
            invalid(path / "nameservers", list(servers), "must not have more than 3 nameservers")
        )
    problems += _addresses(servers, path / "nameservers")
    if len(searches) > 32:
        problems.append(
            invalid(path / "searches", list(searches), "must not have more than 32 search paths")
        )
    for index, search in enumerate(searches):
        plain = search.removesuffix(".").replace("_", "a")
        if search != ".":
            problems += [
                invalid(path / "searches" / index, search, text)
                for text in validation.dns1123_subdomain(plain)
            ]
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            problems.append(required(path / "options" / index, "must not be empty"))
    return problems


def _addresses(values: Sequence[str], path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for index, value in enumerate(values):
        if not is_address(value):
            text = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            problems.append(invalid(path / index, value, text))
    return problems


def is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return "%" not in value


def _gates(spec: Object, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        kind = gate.get("conditionType") or ""
        at = path / "readinessGates" / index / "conditionType"
        problems += [invalid(at, kind, text) for text in validation.qualified_name_problems(kind)]
    seen: set[str] = set()
    for index, gate in enumerate(spec.get("schedulingGates") or ()):
        name, at = gate.get("name") or "", path / "schedulingGates" / index
        problems += [invalid(at, name, text) for text in validation.qualified_name_problems(name)]
        if name in seen:
            problems.append(duplicate(at, name))
        seen.add(name)
    return problems


def _names(spec: Object, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for field, rule in (
        ("serviceAccountName", validation.dns1123_subdomain),
        ("nodeName", validation.dns1123_subdomain),
        ("hostname", validation.dns1123_label),
        ("subdomain", validation.dns1123_label),
        ("priorityClassName", validation.dns1123_subdomain),
        ("runtimeClassName", validation.dns1123_subdomain),
    ):
        value = spec.get(field) or ""
        if value:
            problems += [invalid(path / field, value, text) for text in rule(value)]
    return problems


def _host_aliases(aliases: Sequence[Object], path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for index, alias in enumerate(aliases):
        at = path / index
        if not is_address(alias.get("ip") or ""):
            text = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            problems.append(invalid(at / "ip", alias.get("ip") or "", text))
        for number, name in enumerate(alias.get("hostnames") or ()):
            problems += [
                invalid(at / "hostnames" / number, name, text)
                for text in validation.dns1123_subdomain(name)
            ]
    return problems


def _deadline(spec: Object, path: Path) -> list[FieldError]:
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None:
        return validation.in_range(deadline, 1, _MAX_INT32, path / "activeDeadlineSeconds")
    return []


def _rest(spec: Object, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    policy = spec.get("preemptionPolicy")
    if policy is not None and policy not in ("PreemptLowerPriority", "Never"):
        problems.append(
            not_supported(path / "preemptionPolicy", policy, ("PreemptLowerPriority", "Never"))
        )
    for name, amount in (spec.get("overhead") or {}).items():
        problems += resource_name_problems(name, (path / "overhead").key(name))
        problems += amount_problems(amount, (path / "overhead").key(name))
    system = (spec.get("os") or {}).get("name") if spec.get("os") is not None else None
    if spec.get("os") is not None:
        if not system:
            problems.append(required(path / "os" / "name", "cannot be empty"))
        elif system not in ("linux", "windows"):
            problems.append(not_supported(path / "os", system, ("linux", "windows")))
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        text = "ShareProcessNamespace and HostPID cannot both be enabled"
        problems.append(invalid(path / "shareProcessNamespace", True, text))
    if spec.get("resources"):
        problems += resource_problems(spec["resources"], path / "resources")
    return problems
