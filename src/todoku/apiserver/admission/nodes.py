"""TaintNodesByCondition and NodeRestriction."""

from __future__ import annotations

from collections.abc import Mapping

from todoku.api.errors import Conflict, NotFound, quoted
from todoku.api.meta import Object
from todoku.apiserver.admission.base import Plugin, creates, is_mirror_pod, new_object, refusal
from todoku.apiserver.config import Attributes, Objects
from todoku.apiserver.node_authorizer import node_name

_NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}

# Label domains a node may set on itself, and the single labels of the reserved domains that it may set.
_RESTRICTED = "node-restriction.kubernetes.io"
_OWN_LABELS = frozenset(
    {
        "kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os",
        "beta.kubernetes.io/arch", "beta.kubernetes.io/os", "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type", "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    }
)  # fmt: skip
_OWN_DOMAINS = ("kubelet.kubernetes.io/", "node.kubernetes.io/")


class TaintNodesByCondition(Plugin):
    """A new node takes no pods until something has seen it ready."""

    name = "TaintNodesByCondition"

    async def mutate(self, attributes: Attributes) -> None:
        if not creates(attributes, "nodes"):
            return
        taints = new_object(attributes).setdefault("spec", {}).setdefault("taints", [])
        if not any(_same_taint(one) for one in taints):
            taints.append(dict(_NOT_READY))


def _same_taint(taint: Object) -> bool:
    return all(taint.get(key) == value for key, value in _NOT_READY.items())


_TOPOLOGY_LABELS = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone")


class PodTopologyLabels(Plugin):
    """A pod that gets a node takes over where that is; the downward API shows it (KEP-4742)."""

    name = "PodTopologyLabels"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def mutate(self, attributes: Attributes) -> None:
        if attributes.resource.name != "pods" or attributes.operation != "CREATE":
            return
        new = new_object(attributes)
        if attributes.subresource == "binding":
            target = new.get("target") or {}
            name = target.get("name") if target.get("kind") in (None, "", "Node") else None
        else:
            name = None if attributes.subresource else (new.get("spec") or {}).get("nodeName")
        node = self._objects.get("nodes", name) if name else None
        found = _labels(node) if node else {}
        wanted = {key: found[key] for key in _TOPOLOGY_LABELS if key in found}
        if wanted:
            metadata = new.setdefault("metadata", {})
            metadata["labels"] = (metadata.get("labels") or {}) | wanted


class NodeRestriction(Plugin):
    """A node agent writes only about its own node and the pods bound to it."""

    name = "NodeRestriction"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def validate(self, attributes: Attributes) -> None:
        node = node_name(attributes.user)
        if node is None:
            return
        check = _CHECKS.get(attributes.resource.name)
        if check:
            check(self._objects, attributes, node)


def _check_pod(objects: Objects, attributes: Attributes, node: str) -> None:
    operation, subresource = attributes.operation, attributes.subresource
    if not subresource and operation == "CREATE":
        _check_mirror_pod(attributes, node)
        return
    if subresource not in ("", "status", "eviction", "resize"):
        raise refusal(
            attributes,
            f"unexpected pod subresource \"{subresource}\", only 'status' and 'eviction' are allowed",
        )
    pod = attributes.old or objects.get("pods", attributes.name, attributes.namespace)
    if not subresource and operation == "UPDATE":
        raise refusal(attributes, f"node {quoted(node)} can only update pod status")
    if pod is not None and pod.get("spec", {}).get("nodeName") != node:
        verb = {"DELETE": "delete", "CREATE": "evict"}.get(operation, "update pod status for")
        raise refusal(
            attributes,
            f"node {quoted(node)} can only {verb} pods with spec.nodeName set to itself",
        )
    old, new = attributes.old, attributes.object
    if subresource == "status" and old and new and _labels(new) != _labels(old):
        text = f"node {quoted(node)} cannot update labels through pod status"
        raise refusal(attributes, text)


def _check_mirror_pod(attributes: Attributes, node: str) -> None:
    pod = new_object(attributes)
    if not is_mirror_pod(pod):
        raise refusal(
            attributes,
            f'pod does not have "kubernetes.io/config.mirror" annotation, node {quoted(node)} can only create mirror pods',
        )
    if pod["spec"].get("nodeName") != node:
        raise refusal(
            attributes,
            f"node {quoted(node)} can only create pods with spec.nodeName set to itself",
        )


def _check_node(objects: Objects, attributes: Attributes, node: str) -> None:
    if attributes.name != node:
        raise refusal(
            attributes,
            f"node {quoted(node)} is not allowed to modify node {quoted(attributes.name)}",
        )
    if attributes.operation == "DELETE":
        raise refusal(attributes, f"node {quoted(node)} cannot delete its own Node")
    new, old = new_object(attributes), attributes.old
    if old is not None and _without_own(new.get("spec")) != _without_own(old.get("spec")):
        raise refusal(attributes, f"node {quoted(node)} is not allowed to modify taints")
    if old is not None and _owners(new) != _owners(old):
        raise refusal(attributes, f"node {quoted(node)} is not allowed to modify ownerReferences")
    changed = _forbidden_labels(_labels(new), _labels(old) if old else {})
    if changed:
        what = "modify labels" if old is not None else "set the following labels"
        raise refusal(attributes, f"is not allowed to {what}: {', '.join(sorted(changed))}")


def _without_own(spec: object) -> object:
    return (spec or {}).get("taints") or [] if isinstance(spec, dict) else []


def _owners(node: Object) -> object:
    return node["metadata"].get("ownerReferences") or []


def _labels(node: Object) -> Mapping[str, str]:
    labels = node["metadata"].get("labels") or {}
    assert isinstance(labels, dict)
    return labels


def _forbidden_labels(new: Mapping[str, str], old: Mapping[str, str]) -> set[str]:
    changed = {key for key in new.keys() | old.keys() if new.get(key) != old.get(key)}
    return {key for key in changed if not _may_set(key)}


def _may_set(label: str) -> bool:
    domain = label.partition("/")[0] if "/" in label else ""
    if label in _OWN_LABELS or label.startswith(_OWN_DOMAINS):
        return True
    if domain == _RESTRICTED or domain.endswith("." + _RESTRICTED):
        return False
    reserved = ("kubernetes.io", "k8s.io")
    return not (domain in reserved or domain.endswith(tuple("." + one for one in reserved)))


def _check_own_name(objects: Objects, attributes: Attributes, node: str) -> None:
    if attributes.name != node:
        raise refusal(
            attributes,
            f"can only access {attributes.resource.kind} with the same name as the requesting node",
        )


def _check_account(objects: Objects, attributes: Attributes, node: str) -> None:
    """A token that a node asks for is bound to a pod of its own."""
    if attributes.operation != "CREATE" or attributes.subresource != "token":
        return
    ref = (new_object(attributes).get("spec") or {}).get("boundObjectRef")
    if ref is None or ref.get("kind") != "Pod" or not ref.get("name"):
        raise refusal(attributes, "node requested token not bound to a pod")
    if not ref.get("uid"):
        raise refusal(attributes, "node requested token with a pod binding without a uid")
    pod = objects.get("pods", ref["name"], attributes.namespace)
    if pod is None:
        raise NotFound.of("pods", ref["name"])
    if pod["metadata"]["uid"] != ref["uid"]:
        text = (
            f"the UID in the bound object reference ({ref['uid']}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
        raise Conflict.of("pods", ref["name"], text)
    if pod["spec"].get("nodeName") != node:
        text = "node requested token bound to a pod scheduled on a different node"
        raise refusal(attributes, text)


def _check_lease(objects: Objects, attributes: Attributes, node: str) -> None:
    if attributes.namespace != "kube-node-lease":
        raise refusal(
            attributes, 'can only access leases in the "kube-node-lease" system namespace'
        )
    if attributes.name != node:
        text = "can only access node lease with the same name as the requesting node"
        raise refusal(attributes, text)


_CHECKS = {
    "pods": _check_pod,
    "nodes": _check_node,
    "serviceaccounts": _check_account,
    "leases.coordination.k8s.io": _check_lease,
    "csinodes.storage.k8s.io": _check_own_name,
}
