"""What an object counts for in a ResourceQuota: its usage, and which quotas look at it.  Pure.

The API server charges with these functions at admission, the quota controller recounts with them.
Source: docs, Resource Quotas; k8s.io/kubernetes pkg/quota/v1/evaluator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from todoku.api.meta import Object
from todoku.api.podspec.qos import qos_class
from todoku.api.podspec.resources import aggregate, parsed
from todoku.api.quantities import Quantity, parse

Usage: TypeAlias = dict[str, Quantity]

_ONE = parse("1")
_STORAGE_CLASS = ".storageclass.storage.k8s.io/"
_OLD_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
# Names from before `count/` existed.
_COUNTED = frozenset(
    {
        "configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas",
        "secrets", "services",
    }
)  # fmt: skip
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
# Cluster-wide objects and events are never counted.
UNCOUNTED = frozenset({"events", "events.events.k8s.io"})


def usage(resource: str, obj: Object) -> Usage:
    """What `obj` of `resource` (dotted name) uses of every quota resource it counts for."""
    if resource == "pods":
        return _pod(obj)
    counted = _count(resource)
    if resource == "services":
        return counted | _service(obj)
    if resource == "persistentvolumeclaims":
        return counted | _claim(obj)
    return counted


def _count(resource: str) -> Usage:
    found = {f"count/{resource}": _ONE}
    if resource in _COUNTED:
        found[resource] = _ONE
    return found


def matches(quota: Object, resource: str, obj: Object) -> bool:
    """Whether the object is in all scopes of the quota.  Only pods have scopes (and claims a class)."""
    spec = quota.get("spec") or {}
    required = [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ()]
    required += (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    return all(_in_scope(one, resource, obj) for one in required)


def covered(hard: Iterable[str], used: Mapping[str, Quantity]) -> Usage:
    """The part of `used` that a quota with these hard limits speaks about."""
    names = set(hard)
    return {name: amount for name, amount in used.items() if name in names}


def required_of_pods(hard: Iterable[str]) -> list[str]:
    """The compute resources that every container must state, because the quota limits them."""
    names = set(hard)
    wanted = [
        name for name in names
        if name in ("cpu", "memory")
        or name.removeprefix("requests.") in ("cpu", "memory")
        or name.removeprefix("limits.") in ("cpu", "memory")
    ]  # fmt: skip
    return sorted(wanted)


def missing_of_pod(hard: Iterable[str], pod: Object) -> dict[str, list[str]]:
    """Quota resource -> containers that do not state it."""
    spec = pod.get("spec") or {}
    missing: dict[str, list[str]] = {}
    for name in required_of_pods(hard):
        kind, _, resource = name.rpartition(".")
        field = kind or "requests"
        for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
            stated = (container.get("resources") or {}).get(field) or {}
            if resource not in stated:
                missing.setdefault(name, []).append(str(container.get("name", "")))
    return missing


# -- pods


def _pod(pod: Object) -> Usage:
    found = {"count/pods": _ONE}
    phase = (pod.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed"):
        return found
    found["pods"] = _ONE
    spec = pod.get("spec") or {}
    for field in ("requests", "limits"):
        for name, amount in pod_amounts(spec, field).items():
            if name in _COMPUTE or name.startswith("hugepages-"):
                found[f"{field}.{name}"] = amount
                if field == "requests":
                    found[name] = amount
            elif field == "requests" and "/" in name:
                found[f"requests.{name}"] = amount
    return found


def pod_amounts(spec: Object, field: str) -> Usage:
    """A pod's requests or limits: those of its containers together, its own in their place, and its overhead.

    Source: KEP-753, KEP-2837 (what the pod states for itself), KEP-688 (overhead).
    """
    total = aggregate(spec, field) | _amounts(spec, field)
    for name, amount in parsed(spec.get("overhead")).items():
        if field == "requests" or name in total:
            total[name] = total[name] + amount if name in total else amount
    return total


def _amounts(holder: Object, field: str) -> Usage:
    return parsed((holder.get("resources") or {}).get(field))


def _in_scope(requirement: Object, resource: str, obj: Object) -> bool:
    scope, operator = requirement.get("scopeName"), requirement.get("operator")
    spec = obj.get("spec") or {}
    if scope == "VolumeAttributesClass":
        return resource == "persistentvolumeclaims" and _value_matches(
            spec.get("volumeAttributesClassName"), operator, requirement
        )
    if resource != "pods":
        return False
    if scope in ("Terminating", "NotTerminating"):
        ends = spec.get("activeDeadlineSeconds") is not None
        return ends is (scope == "Terminating")
    if scope in ("BestEffort", "NotBestEffort"):
        best = qos_class(spec) == "BestEffort"
        return best is (scope == "BestEffort")
    if scope == "PriorityClass":
        return _value_matches(spec.get("priorityClassName"), operator, requirement)
    return scope == "CrossNamespacePodAffinity" and _cross_namespace(spec)


def _value_matches(value: object, operator: object, requirement: Object) -> bool:
    values = requirement.get("values") or ()
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    return bool(value) is (operator == "Exists")


def _cross_namespace(spec: Object) -> bool:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        terms = list(rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        terms += [
            one.get("podAffinityTerm") or {}
            for one in rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        ]
        if any(term.get("namespaces") or "namespaceSelector" in term for term in terms):
            return True
    return False


# -- services and claims


def _service(service: Object) -> Usage:
    spec = service.get("spec") or {}
    kind = spec.get("type", "ClusterIP")
    ports = spec.get("ports") or ()
    found: Usage = {}
    if kind == "NodePort":
        found["services.nodeports"] = parse(str(len(ports)))
    elif kind == "LoadBalancer":
        found["services.loadbalancers"] = _ONE
        allocates = spec.get("allocateLoadBalancerNodePorts", True) is not False
        given = [port for port in ports if port.get("nodePort")]
        found["services.nodeports"] = parse(str(len(ports) if allocates else len(given)))
    return found


def _claim(claim: Object) -> Usage:
    spec = claim.get("spec") or {}
    storage = parsed((spec.get("resources") or {}).get("requests")).get("storage")
    annotations = claim["metadata"].get("annotations") or {}
    storage_class = spec.get("storageClassName") or annotations.get(_OLD_CLASS_ANNOTATION)
    found: Usage = {}
    if storage is not None:
        found["requests.storage"] = storage
    if storage_class:
        found[f"{storage_class}{_STORAGE_CLASS}persistentvolumeclaims"] = _ONE
        if storage is not None:
            found[f"{storage_class}{_STORAGE_CLASS}requests.storage"] = storage
    return found
