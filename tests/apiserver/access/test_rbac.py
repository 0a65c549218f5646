"""RBAC: rules, bindings, and the default roles, asked as kubectl would ask."""

import pytest

from tests.apiserver.objects import FakeObjects
from todoku.apiserver import policy
from todoku.apiserver.authorization import Chain, forbidden
from todoku.apiserver.config import Decision
from todoku.apiserver.default_roles import paths, rule
from todoku.apiserver.rbac import RbacAuthorizer, Rule, covers
from todoku.apiserver.request import RequestInfo, User, read_path
from todoku.controllers.role_aggregation import rules as aggregated_rules

RULES = {
    "verb, group and resource": (rule("get list", "", "pods"), "GET /api/v1/namespaces/a/pods/p", True),
    "another verb": (rule("get", "", "pods"), "DELETE /api/v1/namespaces/a/pods/p", False),
    "another group": (rule("get", "apps", "pods"), "GET /api/v1/namespaces/a/pods/p", False),
    "a subresource is not its parent": (rule("get", "", "pods"), "GET /api/v1/namespaces/a/pods/p/log", False),
    "a subresource by name": (rule("get", "", "pods/log"), "GET /api/v1/namespaces/a/pods/p/log", True),
    "any resource's scale": (rule("get", "*", "*/scale"), "GET /apis/apps/v1/namespaces/a/deployments/d/scale", True),
    "any resource's scale, not status": (rule("get", "*", "*/scale"), "GET /apis/apps/v1/namespaces/a/deployments/d/status", False),
    "everything": (rule("*", "*", "*"), "DELETE /apis/x.y/v1/things/t", True),
    "a named object": (rule("get", "", "secrets", "s"), "GET /api/v1/namespaces/a/secrets/s", True),
    "another name": (rule("get", "", "secrets", "s"), "GET /api/v1/namespaces/a/secrets/t", False),
    "names do not allow list": (rule("list", "", "secrets", "s"), "GET /api/v1/namespaces/a/secrets", False),
    "create has no name": (rule("create", "", "secrets", "s"), "POST /api/v1/namespaces/a/secrets", False),
    "a path": (paths("get", "/healthz"), "GET /healthz", True),
    "a path below": (paths("get", "/api/*"), "GET /api/v1", True),
    "another path": (paths("get", "/healthz"), "GET /metrics", False),
    "paths give no resources": (paths("*", "*"), "GET /api/v1/pods", False),
}  # fmt: skip


def info(line: str) -> RequestInfo:
    method, _, path = line.partition(" ")
    path, _, query = path.partition("?")
    return read_path(method, path, dict(part.split("=", 1) for part in query.split("&") if part))


@pytest.mark.parametrize(("wire", "line", "allowed"), RULES.values(), ids=RULES)
def test_rules(wire, line, allowed):
    assert Rule.of(wire).allows(info(line)) is allowed


@pytest.fixture
def cluster():
    objects = FakeObjects()
    plurals = {"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings",
               "Role": "roles", "RoleBinding": "rolebindings"}  # fmt: skip
    for obj in policy.bootstrap():
        objects.add(f"{plurals[obj['kind']]}.rbac.authorization.k8s.io", obj)
    return objects


def bind(objects, namespace, role, subject, kind="ClusterRole"):
    resource = "rolebindings" if namespace else "clusterrolebindings"
    metadata = {"name": f"b{len(objects.list(f'{resource}.rbac.authorization.k8s.io'))}"}
    if namespace:
        metadata["namespace"] = namespace
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}
    objects.add(
        f"{resource}.rbac.authorization.k8s.io",
        {"metadata": metadata, "roleRef": reference, "subjects": [subject]},
    )


ADMIN = User("ann", groups=("kubeadm:cluster-admins", "system:authenticated"))
ROOT = User("root", groups=("system:masters",))
BOB = User("bob", groups=("system:authenticated",))
NOBODY = User("system:anonymous", groups=("system:unauthenticated",))
MANAGER = User("system:kube-controller-manager", groups=("system:authenticated",))
SCHEDULER = User("system:kube-scheduler", groups=("system:authenticated",))

DEFAULTS = {
    "the administrator deletes nodes": (ADMIN, "DELETE /api/v1/nodes/n", True),
    "the administrator reads metrics": (ADMIN, "GET /metrics", True),
    "system:masters needs no binding": (ROOT, "DELETE /api/v1/nodes/n", True),
    "everyone discovers": (BOB, "GET /apis/apps/v1", True),
    "everyone may ask what they may": (BOB, "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", True),
    "everyone may ask who they are": (BOB, "POST /apis/authentication.k8s.io/v1/selfsubjectreviews", True),
    "a stranger sees the version": (NOBODY, "GET /version", True),
    "a stranger sees health": (NOBODY, "GET /readyz", True),
    "a stranger does not discover": (NOBODY, "GET /apis", False),
    "bob lists no pods": (BOB, "GET /api/v1/namespaces/a/pods", False),
    "the controllers watch everything": (MANAGER, "GET /apis/apps/v1/deployments?watch=1", True),
    "the controllers create pods": (MANAGER, "POST /api/v1/namespaces/a/pods", True),
    "the controllers write events": (MANAGER, "POST /apis/events.k8s.io/v1/namespaces/a/events", True),
    "the scheduler binds": (SCHEDULER, "POST /api/v1/namespaces/a/pods/p/binding", True),
    "the scheduler reads no secrets": (SCHEDULER, "GET /api/v1/namespaces/a/secrets/s", False),
}  # fmt: skip


@pytest.mark.parametrize(("user", "line", "allowed"), DEFAULTS.values(), ids=DEFAULTS)
async def test_default_roles(cluster, user, line, allowed):
    chain = Chain([RbacAuthorizer(cluster)])
    assert (await chain.authorize(user, info(line))).allowed is allowed


ROLES = {
    "admin": ["GET secrets/s", "POST pods", "POST roles", "DELETE configmaps/c", "GET pods"],
    "edit": ["GET secrets/s", "POST pods", "DELETE configmaps/c", "GET pods"],
    "view": ["GET pods"],
}
ASKED = ["GET secrets/s", "POST pods", "POST roles", "DELETE configmaps/c", "GET pods", "POST resourcequotas"]  # fmt: skip


def in_namespace(namespace: str, short: str) -> RequestInfo:
    method, _, path = short.partition(" ")
    base = "/apis/rbac.authorization.k8s.io/v1" if path == "roles" else "/api/v1"
    return info(f"{method} {base}/namespaces/{namespace}/{path}")


@pytest.mark.parametrize("role", ROLES)
async def test_user_facing_roles_bound_in_one_namespace(cluster, role):
    bind(cluster, "a", role, {"kind": "User", "name": "bob"})
    authorizer = RbacAuthorizer(cluster)
    allowed = [
        one for one in ASKED if (await authorizer.authorize(BOB, in_namespace("a", one))).allowed
    ]
    assert sorted(allowed) == sorted(ROLES[role])
    elsewhere = [
        one for one in ASKED if (await authorizer.authorize(BOB, in_namespace("b", one))).allowed
    ]
    assert elsewhere == []


async def test_a_service_account_of_a_binding_defaults_to_its_namespace(cluster):
    bind(cluster, "a", "view", {"kind": "ServiceAccount", "name": "robot"})
    robot = User("system:serviceaccount:a:robot")
    decision = await RbacAuthorizer(cluster).authorize(robot, info("GET /api/v1/namespaces/a/pods"))
    assert decision.allowed
    assert '/a" of ClusterRole "view" to ServiceAccount "robot/a"' in decision.reason


async def test_a_binding_counts_as_soon_as_it_is_written(cluster):
    authorizer = RbacAuthorizer(cluster)
    ask = info("GET /api/v1/namespaces/a/pods")
    assert not (await authorizer.authorize(BOB, ask)).allowed
    bind(cluster, "", "view", {"kind": "Group", "name": "system:authenticated"})
    assert (await authorizer.authorize(BOB, ask)).allowed


async def test_naming_one_object_in_the_field_selector_is_asking_for_it(cluster):
    cluster.add("roles.rbac.authorization.k8s.io",
                {"metadata": {"name": "one", "namespace": "a"}, "rules": [rule("watch", "", "secrets", "s")]})  # fmt: skip
    bind(cluster, "a", "one", {"kind": "User", "name": "bob"}, kind="Role")
    chain = Chain([RbacAuthorizer(cluster)])
    watch = "GET /api/v1/namespaces/a/secrets?watch=1&fieldSelector=metadata.name={}"
    assert (await chain.authorize(BOB, info(watch.format("s")))).allowed
    assert not (await chain.authorize(BOB, info(watch.format("t")))).allowed


REFUSALS = {
    "GET /api/v1/namespaces/y/pods":
        'pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "y"',
    "GET /apis/apps/v1/namespaces/y/deployments/web":
        'deployments.apps "web" is forbidden: User "bob" cannot get resource "deployments" in API group "apps" in the namespace "y"',
    "GET /api/v1/nodes":
        'nodes is forbidden: User "bob" cannot list resource "nodes" in API group "" at the cluster scope',
    "POST /api/v1/namespaces/y/pods/p/exec":
        'pods "p" is forbidden: User "bob" cannot create resource "pods/exec" in API group "" in the namespace "y"',
    "GET /metrics": 'forbidden: User "bob" cannot get path "/metrics"',
}  # fmt: skip


@pytest.mark.parametrize(("line", "message"), REFUSALS.items(), ids=REFUSALS)
def test_refusals_are_worded_as_clients_know_them(line, message):
    error = forbidden(BOB, info(line), Decision(False))
    assert error.message == message
    assert error.code == 403


ESCALATION = {
    "the same rule": (rule("get", "", "pods"), True),
    "a part of it": (rule("get list", "", "pods", "p"), True),
    "one verb more": (rule("get delete", "", "pods"), False),
    "a subresource more": (rule("get", "", "pods/log"), False),
    "everything": (rule("*", "*", "*"), False),
    "a path owned": (paths("get", "/healthz/ping"), True),
    "a path not owned": (paths("get", "/metrics"), False),
}


@pytest.mark.parametrize(("wanted", "held"), ESCALATION.values(), ids=ESCALATION)
def test_what_an_owner_of_some_rules_may_give_away(wanted, held):
    owned = [Rule.of(rule("get list", "", "pods")), Rule.of(paths("get", "/healthz/*"))]
    assert (covers(owned, [Rule.of(wanted)]) == []) is held


async def test_rules_review_lists_what_a_user_has(cluster):
    bind(cluster, "a", "view", {"kind": "User", "name": "bob"})
    status = await Chain([RbacAuthorizer(cluster)]).rules(BOB, "a")
    assert {"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["namespaces"]} in status["resourceRules"]  # fmt: skip
    assert any("/healthz" in one["nonResourceURLs"] for one in status["nonResourceRules"])


def test_aggregated_roles_begin_as_they_are_kept():
    """The controller that puts them together finds nothing to write."""
    roles = [one for one in policy.bootstrap() if one["kind"] == "ClusterRole"]
    made = [role for role in roles if "aggregationRule" in role]
    assert {role["metadata"]["name"] for role in made} == {"admin", "edit", "view"}
    for role in made:
        assert aggregated_rules(role, roles) == role["rules"]


def test_every_role_of_a_controller_is_bound_to_its_account():
    objects = policy.bootstrap()
    roles = {
        (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"])
        for one in objects
        if one["metadata"]["name"].startswith("system:controller:") and "rules" in one
    }
    assert ("Role", "kube-public", "system:controller:bootstrap-signer") in roles
    assert ("ClusterRole", None, "system:controller:device-taint-eviction-controller") in roles
    for kind, namespace, name in roles:
        (binding,) = [
            one
            for one in objects
            if one["kind"] == f"{kind}Binding"
            and (one["metadata"].get("namespace"), one["metadata"]["name"]) == (namespace, name)
        ]
        assert binding["roleRef"]["name"] == name
        account = {"kind": "ServiceAccount", "namespace": "kube-system"}
        assert account | {"name": name.rpartition(":")[2]} in binding["subjects"]
