"""The objects of API priority and fairness that a server always has, as data (k8s.io/apiserver flowcontrol bootstrap).

`exempt` and `catch-all` are mandatory: the server works by them whatever becomes of the objects.  The others are
suggestions, whose specs people may change once their annotation says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from todoku.api.meta import Object, copy
from todoku.api.resources.flowcontrol_validation import MANDATORY_LEVELS, MANDATORY_SCHEMAS

API_VERSION = "flowcontrol.apiserver.k8s.io/v1"
AUTO_UPDATE = "apf.kubernetes.io/autoupdate-spec"
MANDATORY = MANDATORY_SCHEMAS.keys()

# level: (nominal concurrency shares, lendable percent, queues, hand size, queue length limit)
_LEVELS = {
    "system": (30, 33, 64, 6, 50),
    "node-high": (40, 25, 64, 6, 50),
    "leader-election": (10, 0, 16, 4, 50),
    "workload-high": (40, 50, 128, 6, 50),
    "workload-low": (100, 90, 128, 6, 50),
    "global-default": (20, 50, 128, 6, 50),
}


def _resources(
    verbs: Sequence[str], group: str, resources: Sequence[str], *, cluster: bool = False
) -> Object:
    rule: Object = {"verbs": [*verbs], "apiGroups": [group], "resources": [*resources]}
    if cluster:
        rule["clusterScope"] = True
    return {"resourceRules": [rule | {"namespaces": ["*"]}]}


_ALL: Object = _resources(["*"], "*", ["*"], cluster=True) | {
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]
}
_PROBES: Object = {
    "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]
}
_HOLD = ("get", "create", "update")
_LEASES = _resources(_HOLD, "coordination.k8s.io", ["leases"])
_NODES: Object = {
    "resourceRules": [
        *_resources(["*"], "", ["nodes", "nodes/status"], cluster=True)["resourceRules"],
        *_resources(["*"], "coordination.k8s.io", ["leases"])["resourceRules"],
    ]
}

_EVERYONE = ("system:unauthenticated", "system:authenticated")
_MANAGER, _SCHEDULER = "user:system:kube-controller-manager", "user:system:kube-scheduler"
# schema: (level, precedence, distinguisher, subjects, what they do); a subject is a group, user:… or sa:namespace/name
_SCHEMAS: dict[str, tuple[str, int, str, tuple[str, ...], Object]] = {
    "probes": ("exempt", 2, "", _EVERYONE, _PROBES),
    "system-leader-election": (
        "leader-election",
        100,
        "ByUser",
        (_MANAGER, _SCHEDULER, "sa:kube-system/*"),
        _LEASES,
    ),
    "endpoint-controller": (
        "workload-high",
        150,
        "ByUser",
        (
            _MANAGER,
            "sa:kube-system/endpoint-controller",
            "sa:kube-system/endpointslicemirroring-controller",
        ),
        _resources(_HOLD, "", ["endpoints"]),
    ),
    "workload-leader-election": ("leader-election", 200, "ByUser", ("sa:kube-system/*",), _LEASES),
    "system-node-high": ("node-high", 400, "ByUser", ("system:nodes",), _NODES),
    "system-nodes": ("system", 500, "ByUser", ("system:nodes",), _ALL),
    "kube-controller-manager": ("workload-high", 800, "ByNamespace", (_MANAGER,), _ALL),
    "kube-scheduler": ("workload-high", 800, "ByNamespace", (_SCHEDULER,), _ALL),
    "kube-system-service-accounts": (
        "workload-high",
        900,
        "ByNamespace",
        ("sa:kube-system/*",),
        _ALL,
    ),
    "service-accounts": ("workload-low", 9000, "ByUser", ("system:serviceaccounts",), _ALL),
    "global-default": ("global-default", 9900, "ByUser", _EVERYONE, _ALL),
}


def flow_control_objects() -> Iterator[Object]:
    """The mandatory and the suggested levels and schemas, levels first."""
    yield from mandatory_levels()
    for name, numbers in _LEVELS.items():
        yield _level(name, {"type": "Limited", "limited": _limited(*numbers)})
    yield from mandatory_schemas()
    for name in _SCHEMAS:
        yield _schema(name)


def mandatory_levels() -> Iterator[Object]:
    yield from (_level(name, copy(spec)) for name, spec in MANDATORY_LEVELS.items())


def mandatory_schemas() -> Iterator[Object]:
    for name, spec in MANDATORY_SCHEMAS.items():
        yield _made("FlowSchema", name, copy(spec))


def _limited(shares: int, lendable: int, queues: int, hand: int, length: int) -> Object:
    queuing = {"queues": queues, "handSize": hand, "queueLengthLimit": length}
    return {
        "nominalConcurrencyShares": shares,
        "lendablePercent": lendable,
        "limitResponse": {"type": "Queue", "queuing": queuing},
    }


def _level(name: str, spec: Object) -> Object:
    return _made("PriorityLevelConfiguration", name, spec)


def _schema(name: str) -> Object:
    level, precedence, method, subjects, rules = _SCHEMAS[name]
    spec: Object = {
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [{"subjects": [_subject(one) for one in subjects], **rules}],
    }
    if method:
        spec["distinguisherMethod"] = {"type": method}
    return _made("FlowSchema", name, spec)


def _made(kind: str, name: str, spec: Object) -> Object:
    metadata = {"name": name, "annotations": {AUTO_UPDATE: "true"}}
    return {"kind": kind, "apiVersion": API_VERSION, "metadata": metadata, "spec": spec}


def _subject(text: str) -> Object:
    if text.startswith("user:"):
        return {"kind": "User", "user": {"name": text.removeprefix("user:")}}
    if text.startswith("sa:"):
        namespace, _, name = text.removeprefix("sa:").partition("/")
        return {"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": name}}
    return {"kind": "Group", "group": {"name": text}}
