"""Validation of a whole PodSpec, and of templates with the rules of their workload."""

from __future__ import annotations

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
    too_long,
)
from todoku.api.meta import Object
from todoku.api.podspec import containers as c
from todoku.api.podspec.annotations import annotation_problems
from todoku.api.podspec.environment import file_volume_problems
from todoku.api.podspec.probes import PROBES, probe_problems
from todoku.api.podspec.resources import (
    pod_claim_problems,
    pod_resource_problems,
    resource_problems,
)
from todoku.api.podspec.scheduling import affinity_problems, spread_problems, toleration_problems
from todoku.api.podspec.security import (
    host_user_problems,
    pod_security_problems,
    profile_match_problems,
)
from todoku.api.podspec.volumes import volumes_problems
from todoku.api.podspec.windows import host_process_problems, system_problems

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
    """A PodTemplateSpec (ValidatePodTemplateSpec); `rules` are those of the workload around it.

    Labels and annotations are blamed beside the spec, not below metadata: so are upstream's.
    """
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    annotations, at = metadata.get("annotations"), path / "annotations"
    problems = validation.label_problems(metadata.get("labels"), path / "labels")
    if annotations:
        problems += validation.annotation_problems(annotations, at)
        problems += annotation_problems(annotations, spec, at)
    problems += validate_pod_spec(spec, path / "spec")
    if annotations:
        listed = containers_with_paths(spec, path / "spec")
        problems += profile_match_problems(annotations, spec, path / "spec", listed)
    if spec.get("ephemeralContainers"):
        text = "ephemeral containers not allowed in pod template"
        problems.append(forbidden(path / "spec" / "ephemeralContainers", text))
    if rules is None:
        return problems
    policy = spec.get("restartPolicy")
    if policy not in rules.restart_policies:
        problems.append(
            not_supported(path / "spec" / "restartPolicy", policy or "", rules.restart_policies)
        )
    if not rules.deadline and spec.get("activeDeadlineSeconds") is not None:
        problems.append(
            forbidden(
                path / "spec" / "activeDeadlineSeconds",
                f"activeDeadlineSeconds in {rules.workload} is not Supported",
            )
        )
    return problems


def containers_with_paths(spec: Object, path: Path) -> list[tuple[Object, Path]]:
    """All containers and where they are, in the order in which upstream visits them."""
    return [
        (container, path / field / index)
        for field in ("initContainers", "containers", "ephemeralContainers")
        for index, container in enumerate(spec.get(field) or ())
    ]


def validate_pod_spec(
    spec: Object, path: Path, *, pod: bool = False, pod_name: str = ""
) -> list[FieldError]:
    """A PodSpec after defaulting (ValidatePodSpec); `pod` tells a Pod, of that name, from a template."""
    problems: list[FieldError] = []
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is None:
        problems.append(required(path / "terminationGracePeriodSeconds"))
    volumes, found = volumes_problems(
        spec.get("volumes") or (), path / "volumes", pod_name=pod_name
    )
    problems += found
    claims = spec.get("resourceClaims") or ()
    if claims:
        problems += pod_claim_problems(claims, path / "resourceClaims")
    around = c.Surroundings(
        volumes=volumes,
        claims=frozenset(one["name"] for one in claims if one.get("name")),
        grace=grace,
        restart_policy=spec.get("restartPolicy") or "",
        host_users=spec.get("hostUsers") is not False,
    )
    problems += _all_containers(spec, path, around)
    problems += pod_resource_problems(spec, path)
    if spec.get("hostNetwork"):
        problems += c.host_network_ports(spec.get("containers") or (), path / "containers", pod=pod)
    problems += _policies(spec, path)
    problems += validation.label_problems(spec.get("nodeSelector"), path / "nodeSelector")
    problems += pod_security_problems(spec, path / "securityContext")
    problems += affinity_problems(spec.get("affinity"), path / "affinity")
    problems += _dns_config(spec, path / "dnsConfig")
    problems += _gates(spec, path)
    problems += spread_problems(
        spec.get("topologySpreadConstraints") or (), path / "topologySpreadConstraints"
    )
    listed = containers_with_paths(spec, path)
    problems += host_process_problems(spec, path, listed)
    problems += host_user_problems(spec, path, iter(listed))
    problems += _host_name(spec, path / "hostnameOverride")
    problems += _names(spec, path, ("serviceAccountName", "nodeName"))
    problems += _deadline(spec, path)
    problems += _names(spec, path, ("hostname", "subdomain"))
    problems += toleration_problems(spec.get("tolerations") or (), path / "tolerations")
    problems += _host_aliases(spec.get("hostAliases") or (), path / "hostAliases")
    problems += _names(spec, path, ("priorityClassName", "runtimeClassName"))
    problems += _preemption(spec.get("preemptionPolicy"), path / "preemptionPolicy")
    if spec.get("overhead") is not None:
        problems += resource_problems({"limits": spec["overhead"]}, path / "overhead")
    problems += system_problems(spec, path, listed)
    by_name = {str(one.get("name")): one for one in spec.get("volumes") or ()}
    for container, at in listed:
        if container.get("env"):
            problems += file_volume_problems(container["env"], at / "env", by_name)
    return problems


def _all_containers(spec: Object, path: Path, around: c.Surroundings) -> list[FieldError]:
    main, init = spec.get("containers") or (), spec.get("initContainers") or ()
    problems: list[FieldError] = []
    if not main:
        problems.append(required(path / "containers"))
    names: set[str] = set()
    at_list = path / "containers"
    for index, container in enumerate(main):
        at = at_list / index
        problems += c.container_problems(container, at, around)
        problems += _unique(container, at, names)
        problems += probe_problems(container, at, grace=around.grace)
        problems += c.restart_problems(container, at)
    problems += c.host_port_conflicts(main, at_list)
    at_list = path / "initContainers"
    for index, container in enumerate(init):
        at = at_list / index
        problems += c.container_problems(container, at, around)
        problems += c.restart_problems(container, at)
        problems += _unique(container, at, names)
        problems += c.host_port_conflicts([container], at_list)
        problems += _init_only(container, at, around.grace)
    at_list = path / "ephemeralContainers"
    for index, container in enumerate(spec.get("ephemeralContainers") or ()):
        at = at_list / index
        problems += c.container_problems(container, at, around)
        problems += c.image_space_problems(container, at)
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


def _init_only(container: Object, at: Path, grace: int | None) -> list[FieldError]:
    if container.get("restartPolicy") == "Always":
        return probe_problems(container, at, grace=grace)
    problems: list[FieldError] = []
    for field in ("lifecycle", *PROBES):
        if container.get(field) is not None:
            text = "may not be set for init containers without restartPolicy=Always"
            problems.append(forbidden(at / field, text))
    for index, one in enumerate(container.get("resizePolicy") or ()):
        if one.get("restartPolicy") == "RestartContainer":
            text = "must not be set to 'RestartContainer' for non-sidecar initContainers"
            where = at / "resizePolicy" / index / "restartPolicy"
            problems.append(invalid(where, "RestartContainer", text))
    return problems


# In the order of the fields of a container.
_NOT_EPHEMERAL = (
    "ports", "resources", "resizePolicy", "restartPolicy", "restartPolicyRules", "livenessProbe",
    "readinessProbe", "startupProbe", "lifecycle",
)  # fmt: skip


def _ephemeral_only(container: Object, at: Path, others: set[Any]) -> list[FieldError]:
    text = "cannot be set for an Ephemeral Container"
    problems: list[FieldError] = []
    target = container.get("targetContainerName")
    if target and target not in others:
        problems.append(not_found_field(at / "targetContainerName", target))
    problems += [forbidden(at / field, text) for field in _NOT_EPHEMERAL if container.get(field)]
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        problems += [
            forbidden(at / "volumeMounts" / index / field, text)
            for field in ("subPath", "subPathExpr")
            if mount.get(field)
        ]
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


def _preemption(policy: str | None, path: Path) -> list[FieldError]:
    supported = ("PreemptLowerPriority", "Never")
    if policy is None or policy in supported:
        return []
    return [not_supported(path, policy, supported)] if policy else [required(path)]


def _host_name(spec: Object, path: Path) -> list[FieldError]:
    """hostnameOverride (validatePodHostName)."""
    name = spec.get("hostnameOverride")
    if name is None:
        return []
    problems = [
        forbidden(path, f"may not be specified when {field} is true")
        for field in ("setHostnameAsFQDN", "hostNetwork")
        if spec.get(field)
    ]
    if len(name) > 64:
        problems.append(too_long(path, 64))
    return problems + [invalid(path, name, text) for text in validation.dns1123_subdomain(name)]


def _dns_config(spec: Object, path: Path) -> list[FieldError]:
    config = spec.get("dnsConfig")
    servers = (config or {}).get("nameservers") or ()
    if spec.get("dnsPolicy") == "None":
        if config is None:
            return [required(path, "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not servers:
            text = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [required(path / "nameservers", text)]
    if not config:
        return []
    problems: list[FieldError] = []
    if len(servers) > 3:
        text = "must not have more than 3 nameservers"
        problems.append(invalid(path / "nameservers", list(servers), text))
    for index, server in enumerate(servers):
        problems += validation.address_problems(server, path / "nameservers" / index)
    problems += _searches(config.get("searches") or (), path / "searches")
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            problems.append(required(path / "options" / index, "must not be empty"))
    return problems


def _searches(searches: Sequence[str], path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    if len(searches) > 32:
        text = "must not have more than 32 search paths"
        problems.append(invalid(path, list(searches), text))
    if len(" ".join(searches)) > 2048:
        text = "must not have more than 2048 characters (including spaces) in the search list"
        problems.append(invalid(path, list(searches), text))
    for index, search in enumerate(searches):
        if search != ".":
            plain = search.removesuffix(".")
            texts = validation.dns1123_subdomain_with_underscore(plain)
            problems += [invalid(path / index, plain, text) for text in texts]
    return problems


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


_NAME_RULES = {
    "serviceAccountName": validation.dns1123_subdomain,
    "nodeName": validation.dns1123_subdomain,
    "hostname": validation.dns1123_label,
    "subdomain": validation.dns1123_label,
    "priorityClassName": validation.dns1123_subdomain,
}


def _names(spec: Object, path: Path, fields: Sequence[str]) -> list[FieldError]:
    problems: list[FieldError] = []
    for field in fields:
        value = spec.get(field)
        if field == "runtimeClassName":
            if value is not None:  # a pointer: an empty name is a name
                texts = validation.dns1123_subdomain(value)
                problems += [invalid(path / field, value, text) for text in texts]
        elif value:
            problems += [invalid(path / field, value, text) for text in _NAME_RULES[field](value)]
    return problems


def _host_aliases(aliases: Sequence[Object], path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for index, alias in enumerate(aliases):
        problems += validation.address_problems(alias.get("ip") or "", path / index / "ip")
        for number, name in enumerate(alias.get("hostnames") or ()):
            at = path / index / "hostnames" / number
            problems += [invalid(at, name, text) for text in validation.dns1123_subdomain(name)]
    return problems


def _deadline(spec: Object, path: Path) -> list[FieldError]:
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None:
        return validation.in_range(deadline, 1, _MAX_INT32, path / "activeDeadlineSeconds")
    return []
