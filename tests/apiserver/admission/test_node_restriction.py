"""What a node agent may write: about its own node and its own pods, and with their tokens."""

import pytest

from tests.apiserver.objects import FakeObjects
from todoku.api.errors import ApiError
from todoku.api.resources import registry
from todoku.apiserver.admission.nodes import NodeRestriction
from todoku.apiserver.config import Attributes
from todoku.apiserver.request import User

NODE = User(name="system:node:n", groups=("system:nodes", "system:authenticated"))
MIRROR = {"kubernetes.io/config.mirror": "x"}


def pod(node="n", labels=None, annotations=None):
    metadata = {"name": "p", "namespace": "d", "labels": labels or {}, "annotations": annotations or {}}  # fmt: skip
    return {"metadata": metadata, "spec": {"nodeName": node}}


def node(labels=None, taints=(), owners=()):
    metadata = {"name": "n", "labels": labels or {}, "ownerReferences": list(owners)}
    return {"metadata": metadata, "spec": {"taints": list(taints)}}


def token(**ref):
    return {"metadata": {}, "spec": {"boundObjectRef": {"kind": "Pod", **ref}}}


def asked(operation, resource, new=None, old=None, subresource="", name="n", namespace=""):
    found = registry().find(resource)
    return Attributes(
        operation=operation,
        user=NODE,
        resource=found,
        subresource=subresource,
        kind=found.gvk,
        namespace=namespace,
        name=name,
        object=new,
        old=old,
        options={},
    )


TAINT = {"key": "a", "effect": "NoSchedule"}
CASES = {
    "a mirror pod": (asked("CREATE", "pods", pod(annotations=MIRROR)), ""),
    "another pod": (asked("CREATE", "pods", pod()), 'pod does not have "kubernetes.io/config.mirror" annotation, node "n" can only create mirror pods'),
    "a mirror pod elsewhere": (asked("CREATE", "pods", pod("m", annotations=MIRROR)), 'node "n" can only create pods with spec.nodeName set to itself'),
    "its pod's status": (asked("UPDATE", "pods", pod(), pod(), "status"), ""),
    "labels by the status": (asked("UPDATE", "pods", pod(labels={"a": "b"}), pod(), "status"), 'node "n" cannot update labels through pod status'),
    "another pod's status": (asked("UPDATE", "pods", pod("m"), pod("m"), "status"), 'node "n" can only update pod status for pods with spec.nodeName set to itself'),
    "deleting another's pod": (asked("DELETE", "pods", None, pod("m")), 'node "n" can only delete pods with spec.nodeName set to itself'),
    "itself": (asked("UPDATE", "nodes", node({"a": "b"}), node()), ""),
    "another node": (asked("UPDATE", "nodes", node(), node(), name="m"), 'node "n" is not allowed to modify node "m"'),
    "its taints": (asked("UPDATE", "nodes", node(taints=[TAINT]), node()), 'node "n" is not allowed to modify taints'),
    "its owners": (asked("UPDATE", "nodes", node(owners=[{"uid": "u"}]), node()), 'node "n" is not allowed to modify ownerReferences'),
    "a reserved label": (asked("UPDATE", "nodes", node({"node-restriction.kubernetes.io/x": "1"}), node()), "is not allowed to modify labels: node-restriction.kubernetes.io/x"),
    "a reserved label at creation": (asked("CREATE", "nodes", node({"x.k8s.io/y": "1"})), "is not allowed to set the following labels: x.k8s.io/y"),
    "its lease": (asked("UPDATE", "leases.coordination.k8s.io", {}, {}, namespace="kube-node-lease"), ""),
    "another's lease": (asked("UPDATE", "leases.coordination.k8s.io", {}, {}, name="m", namespace="kube-node-lease"), "can only access node lease with the same name as the requesting node"),
    "a lease elsewhere": (asked("UPDATE", "leases.coordination.k8s.io", {}, {}, namespace="d"), 'can only access leases in the "kube-node-lease" system namespace'),
    "another's CSINode": (asked("UPDATE", "csinodes.storage.k8s.io", {}, {}, name="m"), "can only access CSINode with the same name as the requesting node"),
    "a token of its pod": (asked("CREATE", "serviceaccounts", token(name="p", uid="u"), subresource="token", namespace="d"), ""),
    "a token of no pod": (asked("CREATE", "serviceaccounts", {"metadata": {}, "spec": {}}, subresource="token", namespace="d"), "node requested token not bound to a pod"),
    "a token without uid": (asked("CREATE", "serviceaccounts", token(name="p"), subresource="token", namespace="d"), "node requested token with a pod binding without a uid"),
    "a token of a former pod": (asked("CREATE", "serviceaccounts", token(name="p", uid="old"), subresource="token", namespace="d"), "does not match the UID in record"),
    "a token of another's pod": (asked("CREATE", "serviceaccounts", token(name="q", uid="v"), subresource="token", namespace="d"), "node requested token bound to a pod scheduled on a different node"),
}  # fmt: skip


@pytest.mark.parametrize(("attributes", "why"), CASES.values(), ids=CASES)
async def test_a_node_may_write(attributes, why):
    objects = FakeObjects()
    objects.add("pods", {"metadata": {"name": "p", "namespace": "d", "uid": "u"}, "spec": {"nodeName": "n"}})  # fmt: skip
    objects.add("pods", {"metadata": {"name": "q", "namespace": "d", "uid": "v"}, "spec": {"nodeName": "m"}})  # fmt: skip
    plugin = NodeRestriction(objects)
    if not why:
        await plugin.validate(attributes)
        return
    with pytest.raises(ApiError) as refused:
        await plugin.validate(attributes)
    assert why in refused.value.message
