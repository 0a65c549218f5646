"""The roles and bindings a fresh cluster has, as upstream bootstraps them and as kubeadm adds to them."""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api.meta import Object
from todoku.apiserver.default_roles import (
    ADMIN,
    CONTROLLERS,
    EVENTS,
    NAMESPACED,
    READ,
    SYSTEM,
    TO_ADMIN,
    VIEW,
    rule,
)

_API = "rbac.authorization.k8s.io/v1"
_GROUP = "rbac.authorization.k8s.io"
_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"


def bootstrap() -> list[Object]:
    """Every default ClusterRole, Role and binding, with apiVersion and kind; namespaces are created elsewhere."""
    return [*_cluster_roles(), *_cluster_role_bindings(), *_namespaced()]


def _cluster_roles() -> list[Object]:
    roles = [_role(name, rules) for name, rules in SYSTEM.items()]
    edit_view = [*ADMIN, *VIEW]
    roles += [
        _aggregated("admin", [*edit_view, *TO_ADMIN]),
        _aggregated("edit", edit_view, to="admin"),
        _aggregated("view", VIEW, to="edit"),
        _role("system:aggregate-to-admin", TO_ADMIN, to="admin"),
        _role("system:aggregate-to-edit", ADMIN, to="edit"),
        _role("system:aggregate-to-view", VIEW, to="view"),
    ]
    for name, rules in CONTROLLERS.items():
        roles.append(_role(f"system:controller:{name}", [*rules, rule(*EVENTS)]))
    return roles


def _cluster_role_bindings() -> list[Object]:
    groups = {
        "cluster-admin": ("cluster-admin", ["system:masters"]),
        "system:discovery": ("system:discovery", ["system:authenticated"]),
        "system:basic-user": ("system:basic-user", ["system:authenticated"]),
        "system:public-info-viewer": (
            "system:public-info-viewer",
            ["system:authenticated", "system:unauthenticated"],
        ),
        "system:monitoring": ("system:monitoring", ["system:monitoring"]),
        "system:service-account-issuer-discovery": (
            "system:service-account-issuer-discovery",
            ["system:serviceaccounts"],
        ),
        # kubeadm
        "kubeadm:cluster-admins": ("cluster-admin", ["kubeadm:cluster-admins"]),
    }
    users = {
        "system:kube-controller-manager": "system:kube-controller-manager",
        "system:kube-scheduler": "system:kube-scheduler",
        "system:volume-scheduler": "system:kube-scheduler",
        "system:node-proxier": "system:kube-proxy",
    }
    bindings = [
        _cluster_binding(name, role, [_subject("Group", one) for one in members])
        for name, (role, members) in groups.items()
    ]
    bindings += [
        _cluster_binding(role, role, [_subject("User", user)]) for role, user in users.items()
    ]
    bindings.append(_cluster_binding("system:node", "system:node", []))
    bindings.append(_cluster_binding("system:kube-dns", "system:kube-dns", [_account("kube-dns")]))
    for name in CONTROLLERS:
        role = f"system:controller:{name}"
        # the lab's controllers run as one identity, each also has its upstream account
        subjects = [_account(name), _subject("User", "system:kube-controller-manager")]
        bindings.append(_cluster_binding(role, role, subjects))
    return bindings


def _namespaced() -> list[Object]:
    """Roles of kube-system and kube-public, each bound to those of its own name but the first."""
    reader = "extension-apiserver-authentication-reader"
    manager, scheduler = "kube-controller-manager", "kube-scheduler"
    users = [_subject("User", f"system:{one}") for one in (manager, scheduler)]
    found = [
        _namespaced_role(
            reader, [rule(READ, "", "configmaps", "extension-apiserver-authentication")]
        ),
        _binding(f"system::{reader}", reader, users),
    ]
    for name in (manager, scheduler):
        locking = [rule("watch", "", "configmaps"), rule("get update", "", "configmaps", name)]
        subjects = [_subject("User", f"system:{name}"), _account(name)]
        found += _bound(f"system::leader-locking-{name}", locking, subjects)
    for name, namespace, rules in NAMESPACED:
        found += _bound(f"system:controller:{name}", rules, [_account(name)], namespace)
    return found


def _bound(
    name: str, rules: Sequence[Object], subjects: Sequence[Object], namespace: str = "kube-system"
) -> list[Object]:
    return [_namespaced_role(name, rules, namespace), _binding(name, name, subjects, namespace)]


# -- wire forms


def _metadata(name: str, to: str = "", namespace: str = "") -> Object:
    metadata: Object = {
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    }
    if to:
        metadata["labels"][_AGGREGATE + to] = "true"
    if namespace:
        metadata["namespace"] = namespace
    return metadata


def _role(name: str, rules: Sequence[Object], to: str = "") -> Object:
    return {
        "apiVersion": _API,
        "kind": "ClusterRole",
        "metadata": _metadata(name, to),
        "rules": list(rules),
    }


def _aggregated(name: str, rules: Sequence[Object], to: str = "") -> Object:
    selector = {"matchLabels": {_AGGREGATE + name: "true"}}
    return {
        "aggregationRule": {"clusterRoleSelectors": [selector]},
        **_role(name, rules, to),
    }


def _cluster_binding(name: str, role: str, subjects: Sequence[Object]) -> Object:
    body: Object = {
        "apiVersion": _API,
        "kind": "ClusterRoleBinding",
        "metadata": _metadata(name),
        "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": role},
    }
    if subjects:
        body["subjects"] = list(subjects)
    return body


def _namespaced_role(name: str, rules: Sequence[Object], namespace: str = "kube-system") -> Object:
    return {
        "apiVersion": _API,
        "kind": "Role",
        "metadata": _metadata(name, namespace=namespace),
        "rules": list(rules),
    }


def _binding(
    name: str, role: str, subjects: Sequence[Object], namespace: str = "kube-system"
) -> Object:
    return {
        "apiVersion": _API,
        "kind": "RoleBinding",
        "metadata": _metadata(name, namespace=namespace),
        "roleRef": {"apiGroup": _GROUP, "kind": "Role", "name": role},
        "subjects": list(subjects),
    }


def _subject(kind: str, name: str) -> Object:
    return {"apiGroup": _GROUP, "kind": kind, "name": name}


def _account(name: str) -> Object:
    return {"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}
