"""The objects of API priority and fairness that a server always has, as data (k8s.io/apiserver flowcontrol bootstrap).

The server itself limits requests in flight by two numbers (`Config.max_requests_inflight`); these objects are
what clients list and edit.
"""

from __future__ import annotations

from collections.abc import Iterator

from todoku.api.meta import Object

_API = "flowcontrol.apiserver.k8s.io/v1"
_AUTO = {"annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}}

# level: (nominal concurrency shares, lendable percent, queues, hand size, queue length limit)
_LEVELS = {
    "system": (30, 33, 64, 6, 50),
    "node-high": (40, 25, 64, 6, 50),
    "leader-election": (10, 0, 16, 4, 50),
    "workload-high": (40, 50, 128, 6, 50),
    "workload-low": (100, 90, 128, 6, 50),
    "global-default": (20, 50, 128, 6, 50),
}

_EVERYONE = ("system:unauthenticated", "system:authenticated")
# schema: (level, precedence, distinguisher, subjects); a subject is a group, or user:… / sa:namespace/name
_SCHEMAS: dict[str, tuple[str, int, str, tuple[str, ...]]] = {
    "exempt": ("exempt", 1, "", ("system:masters",)),
    "probes": ("exempt", 2, "", _EVERYONE),
    "system-leader-election": (
        "leader-election",
        100,
        "ByUser",
        ("user:system:kube-controller-manager", "user:system:kube-scheduler"),
    ),
    "system-node-high": ("node-high", 400, "ByUser", ("system:nodes",)),
    "system-nodes": ("system", 500, "ByUser", ("system:nodes",)),
    "kube-controller-manager": (
        "workload-high",
        800,
        "ByNamespace",
        ("user:system:kube-controller-manager",),
    ),
    "kube-scheduler": ("workload-high", 800, "ByNamespace", ("user:system:kube-scheduler",)),
    "kube-system-service-accounts": (
        "workload-high",
        900,
        "ByNamespace",
        ("sa:kube-system/*",),
    ),
    "service-accounts": ("workload-low", 9000, "ByUser", ("system:serviceaccounts",)),
    "global-default": ("global-default", 9900, "ByUser", _EVERYONE),
    "catch-all": ("catch-all", 10000, "ByUser", _EVERYONE),
}
_PROBE_PATHS = ["/healthz", "/readyz", "/livez"]


def flow_control_objects() -> Iterator[Object]:
    """The mandatory and the suggested levels and schemas."""
    exempt = {"nominalConcurrencyShares": 0, "lendablePercent": 0}
    yield _level("exempt", {"type": "Exempt", "exempt": exempt})
    catch_all = {
        "nominalConcurrencyShares": 5,
        "lendablePercent": 0,
        "limitResponse": {"type": "Reject"},
    }
    yield _level("catch-all", {"type": "Limited", "limited": catch_all})
    for name, numbers in _LEVELS.items():
        yield _level(name, {"type": "Limited", "limited": _limited(*numbers)})
    for name, (level, precedence, method, subjects) in _SCHEMAS.items():
        yield _schema(name, level, precedence, method, subjects)


def _limited(shares: int, lendable: int, queues: int, hand: int, length: int) -> Object:
    queuing = {"queues": queues, "handSize": hand, "queueLengthLimit": length}
    return {
        "nominalConcurrencyShares": shares,
        "lendablePercent": lendable,
        "limitResponse": {"type": "Queue", "queuing": queuing},
    }


def _level(name: str, spec: Object) -> Object:
    metadata = {"name": name, **_AUTO}
    kind = "PriorityLevelConfiguration"
    return {"kind": kind, "apiVersion": _API, "metadata": metadata, "spec": spec}


def _schema(
    name: str, level: str, precedence: int, method: str, subjects: tuple[str, ...]
) -> Object:
    rule: Object = {"subjects": [_subject(one) for one in subjects]}
    everything = {"verbs": ["*"], "nonResourceURLs": ["*"]}
    if name == "probes":
        rule["nonResourceRules"] = [{"verbs": ["get"], "nonResourceURLs": _PROBE_PATHS}]
    else:
        rule["nonResourceRules"] = [everything]
        scope = {"clusterScope": True, "namespaces": ["*"]}
        rule["resourceRules"] = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], **scope}]
    spec: Object = {
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [rule],
    }
    if method:
        spec["distinguisherMethod"] = {"type": method}
    return {
        "kind": "FlowSchema",
        "apiVersion": _API,
        "metadata": {"name": name, **_AUTO},
        "spec": spec,
    }


def _subject(text: str) -> Object:
    if text.startswith("user:"):
        return {"kind": "User", "user": {"name": text.removeprefix("user:")}}
    if text.startswith("sa:"):
        namespace, _, name = text.removeprefix("sa:").partition("/")
        return {"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": name}}
    return {"kind": "Group", "group": {"name": text}}
