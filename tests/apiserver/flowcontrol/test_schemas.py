"""Which schema and level requests get."""

import pytest

from todoku.aio.metrics import Distribution
from todoku.apiserver.flowcontrol import defaults, schemas
from todoku.apiserver.flowcontrol.control import FlowControl
from todoku.apiserver.request import User, read_path

OBJECTS = list(defaults.flow_control_objects())
LEVELS = [one for one in OBJECTS if one["kind"] == "PriorityLevelConfiguration"]
SCHEMAS = [one for one in OBJECTS if one["kind"] == "FlowSchema"]

AUTHENTICATED = "system:authenticated"
ADMIN = User("admin", groups=("system:masters", AUTHENTICATED))
NODE = User("system:node:a", groups=("system:nodes", AUTHENTICATED))
MANAGER = User("system:kube-controller-manager", groups=(AUTHENTICATED,))
SYSTEM_ACCOUNT = User(
    "system:serviceaccount:kube-system:x", groups=("system:serviceaccounts", AUTHENTICATED)
)
ACCOUNT = User("system:serviceaccount:default:x", groups=("system:serviceaccounts", AUTHENTICATED))
ALICE = User("alice", groups=(AUTHENTICATED,))
NOBODY = User("system:anonymous", groups=("system:unauthenticated",))
OUTSIDER = User("outsider", groups=())

LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x"
CASES = {
    "an admin": (ADMIN, "DELETE", "/api/v1/namespaces", "exempt", ""),
    "a probe": (NOBODY, "GET", "/livez", "probes", ""),
    "a single check is none": (NOBODY, "GET", "/metrics", "global-default", "system:anonymous"),
    "a node's heartbeat": (NODE, "PUT", LEASE, "system-node-high", "system:node:a"),
    "a node's status": (NODE, "PATCH", "/api/v1/nodes/a/status", "system-node-high", NODE.name),
    "a node's pods": (NODE, "GET", "/api/v1/pods", "system-nodes", "system:node:a"),
    "a leader": (MANAGER, "PUT", LEASE, "system-leader-election", MANAGER.name),
    "who watches leaders": (MANAGER, "GET", LEASE + "?watch=1", "system-leader-election", MANAGER.name),
    "who deletes leases": (MANAGER, "DELETE", LEASE, "kube-controller-manager", "kube-system"),
    "endpoints": (
        MANAGER,
        "PUT",
        "/api/v1/namespaces/n/endpoints/e",
        "endpoint-controller",
        MANAGER.name,
    ),
    "a controller": (
        MANAGER,
        "POST",
        "/api/v1/namespaces/n/pods",
        "kube-controller-manager",
        "n",
    ),
    "a system pod": (
        SYSTEM_ACCOUNT,
        "GET",
        "/api/v1/namespaces/n/pods",
        "kube-system-service-accounts",
        "n",
    ),
    "a system pod that leads": (
        SYSTEM_ACCOUNT,
        "PUT",
        LEASE,
        "system-leader-election",
        SYSTEM_ACCOUNT.name,
    ),
    "a pod": (ACCOUNT, "GET", "/api/v1/namespaces/n/pods", "service-accounts", ACCOUNT.name),
    "a person": (ALICE, "GET", "/api/v1/pods", "global-default", "alice"),
    "who is in no group": (OUTSIDER, "GET", "/api/v1/pods", "catch-all", "outsider"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("user", "method", "url", "schema", "flow"), CASES.values(), ids=list(CASES)
)
def test_a_request_belongs_to(user, method, url, schema, flow):
    path, _, query = url.partition("?")
    info = read_path(method, path, dict(part.split("=") for part in query.split("&") if part))
    found = schemas.match(schemas.in_order(SCHEMAS), user, info)
    assert found["metadata"]["name"] == schema
    assert schemas.distinguisher(found, user, info) == flow


RULES = {
    "one verb": ({"verbs": ["get"]}, True),
    "another verb": ({"verbs": ["list"]}, False),
    "its group": ({"apiGroups": ["apps"]}, True),
    "the core group": ({"apiGroups": [""]}, False),
    "its subresource": ({"resources": ["deployments/scale"]}, True),
    "its parent only": ({"resources": ["deployments"]}, False),
    "its namespace": ({"namespaces": ["n"]}, True),
    "another namespace": ({"namespaces": ["m"]}, False),
    "no namespace": ({"namespaces": None, "clusterScope": True}, False),
}


@pytest.mark.parametrize(("change", "matches"), RULES.values(), ids=RULES)
def test_a_rule_matches(change, matches):
    everything = {
        "verbs": ["*"],
        "apiGroups": ["*"],
        "resources": ["*"],
        "namespaces": ["*"],
        "clusterScope": True,
    }
    subjects = [{"kind": "User", "user": {"name": "alice"}}]
    rule = {"subjects": subjects, "resourceRules": [everything | change]}
    mine = schema("mine", 1, rule)
    info = read_path("GET", "/apis/apps/v1/namespaces/n/deployments/d/scale", {})
    found = schemas.match(schemas.in_order([*SCHEMAS, mine]), ALICE, info)
    assert (found["metadata"]["name"] == "mine") is matches


def schema(name, precedence, rule, level="global-default"):
    return {
        "metadata": {"name": name},
        "spec": {
            "matchingPrecedence": precedence,
            "priorityLevelConfiguration": {"name": level},
            "rules": [rule],
        },
    }


URLS = {
    "the same": ("/metrics", True),
    "a prefix": ("/met", False),
    "below": ("/a/*", True),
    "everything": ("*", True),
}


@pytest.mark.parametrize(("url", "matches"), URLS.values(), ids=URLS)
def test_a_url_matches(url, matches):
    subjects = [{"kind": "Group", "group": {"name": "*"}}]
    mine = schema(
        "mine",
        1,
        {"subjects": subjects, "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": [url]}]},
    )
    path = "/a/b" if url.startswith("/a") else "/metrics"
    found = schemas.match(schemas.in_order([*SCHEMAS, mine]), ALICE, read_path("GET", path, {}))
    assert (found["metadata"]["name"] == "mine") is matches


def test_equal_precedence_goes_by_name():
    rule = {
        "subjects": [{"kind": "User", "user": {"name": "*"}}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }
    ordered = schemas.in_order([schema("b", 7, rule), schema("a", 7, rule), *SCHEMAS])
    names = [one["metadata"]["name"] for one in ordered]
    assert names.index("a") + 1 == names.index("b")


def control(levels=LEVELS, found=SCHEMAS, total=600):
    made = FlowControl(
        total, wait_seconds=1, waits=Distribution("waits", "", (1,), ("a", "b", "c"))
    )
    made.digest(levels, found)
    return made


PODS = read_path("GET", "/api/v1/pods", {})


def test_a_schema_without_its_level_is_passed_over_and_mandatory_ones_are_always_there():
    mine = schema("mine", 1, SCHEMAS[-1]["spec"]["rules"][0], level="absent")
    assert control(found=[*SCHEMAS, mine]).flow(ALICE, PODS).schema == "global-default"
    empty = control((), ())
    assert (empty.flow(ALICE, PODS).schema, empty.flow(ADMIN, PODS).schema) == (
        "catch-all",
        "exempt",
    )
    assert empty.flow(ADMIN, PODS).level.exempt


def test_endless_paths_are_not_remembered():
    made = control()
    for length in (10, 100_000):
        made.flow(ALICE, read_path("GET", "/" + "a" * length, {}))
    assert len(made._flows) == 1


def test_a_level_that_went_away_serves_who_is_in_it():
    made = control()
    flow = made.flow(ALICE, PODS)
    ticket = made.enter(flow, 1)
    made.digest([one for one in LEVELS if one["metadata"]["name"] != "global-default"], SCHEMAS)
    assert flow.level.quiescing
    assert made.flow(ALICE, PODS).level.name == "catch-all"
    made.leave(flow, ticket)
    made.adjust()
    assert "global-default" not in [level.name for level in made.levels()]


def test_every_level_has_seats_and_an_idle_one_lends():
    levels = {level.name: level for level in control().levels()}
    assert sum(level.limits.nominal for level in levels.values()) == 602
    assert levels["workload-low"].limits.nominal == 245
    assert levels["workload-low"].limits.lowest <= levels["workload-low"].current
    assert sum(level.current for level in levels.values()) == pytest.approx(602, abs=4)
