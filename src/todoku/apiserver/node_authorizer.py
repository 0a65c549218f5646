"""What a node may do: read what its own pods refer to, and report about itself and them.

A node agent authenticates as `system:node:NAME` in the group `system:nodes`.  Secrets, config maps, claims,
volumes and service-account tokens are open to it only while a pod bound to it refers to them.
Source: the Node authorizer of Kubernetes (docs: Using Node Authorization).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from todoku.api.meta import Object
from todoku.apiserver.config import Decision, Objects
from todoku.apiserver.rbac import Rule
from todoku.apiserver.request import RequestInfo, User

NODES_GROUP = "system:nodes"
NODE_PREFIX = "system:node:"

Reference: TypeAlias = tuple[str, str, str]
"""Resource, namespace, name of something a pod refers to."""

_GUARDED = frozenset({"secrets", "configmaps", "persistentvolumeclaims", "persistentvolumes"})
_NO = Decision(allowed=False)
_YES = Decision(allowed=True)


def node_name(user: User) -> str | None:
    """The node that `user` is, or None."""
    if NODES_GROUP not in user.groups or not user.name.startswith(NODE_PREFIX):
        return None
    return user.name.removeprefix(NODE_PREFIX)


class NodeAuthorizer:
    """Keeps, for each node, what the pods bound to it refer to."""

    def __init__(self, objects: Objects, rules: Sequence[Rule]) -> None:
        self._objects = objects
        self._rules = tuple(rules)
        self._references: dict[str, Counter[Reference]] = {}
        self._unsubscribe: Callable[[], None] | None = None

    def start(self) -> None:
        """Read the pods and follow them; the objects must be loaded."""
        for pod in self._objects.list("pods"):
            self._changed(None, pod)
        self._unsubscribe = self._objects.subscribe("pods", self._changed)

    def stop(self) -> None:
        if self._unsubscribe:
            self._unsubscribe()

    async def authorize(self, user: User, info: RequestInfo) -> Decision:
        node = node_name(user)
        if node is None:
            return _NO
        if info.is_resource and not info.group:
            if info.resource in _GUARDED and info.verb in ("get", "list", "watch"):
                return self._read_guarded(node, info)
            if info.resource == "serviceaccounts" and info.subresource == "token":
                return self._refers(node, ("serviceaccounts", info.namespace, info.name), info)
        if any(rule.allows(info) for rule in self._rules):
            return self._own_only(node, info)
        return _NO

    async def rules(self, user: User, namespace: str) -> Object:
        status: Object = {"resourceRules": [], "nonResourceRules": [], "incomplete": False}
        if node_name(user) is not None:
            status["resourceRules"] = [rule.wire() for rule in self._rules if not rule.paths]
            status["incomplete"] = True
            status["evaluationError"] = "node authorizer does not support user rule resolution"
        return status

    def _read_guarded(self, node: str, info: RequestInfo) -> Decision:
        if not info.name:  # a list or watch of exactly one object names it in its field selector
            return Decision(
                allowed=False,
                reason="can only list/watch single named object of this type by node",
            )
        reference = (info.resource, info.namespace, info.name)
        if info.resource == "persistentvolumes":
            return _YES if self._uses_volume(node, info.name) else _unrelated(node)
        return self._refers(node, reference, info)

    def _refers(self, node: str, reference: Reference, info: RequestInfo) -> Decision:
        found = self._references.get(node)
        return _YES if found and found[reference] > 0 else _unrelated(node)

    def _uses_volume(self, node: str, volume: str) -> bool:
        for resource, namespace, name in self._references.get(node, ()):
            if resource == "persistentvolumeclaims":
                claim = self._objects.get(resource, name, namespace)
                if claim and claim.get("spec", {}).get("volumeName") == volume:
                    return True
        return False

    def _own_only(self, node: str, info: RequestInfo) -> Decision:
        """Leases and CSINodes are writable under the node's own name only."""
        if info.group == "coordination.k8s.io" and info.resource == "leases":
            if info.namespace != "kube-node-lease":
                return Decision(
                    False, 'can only access leases in the "kube-node-lease" system namespace'
                )
            if info.verb != "create" and info.name != node:
                return Decision(
                    False, "can only access node lease with the same name as the requesting node"
                )
        if info.resource == "csinodes" and info.verb != "create" and info.name != node:
            return Decision(
                False, "can only access CSINode with the same name as the requesting node"
            )
        return _YES

    def _changed(self, old: Object | None, new: Object | None) -> None:
        for pod, sign in ((old, -1), (new, 1)):
            node = (pod or {}).get("spec", {}).get("nodeName", "")
            if pod is None or not node:
                continue
            counter = self._references.setdefault(node, Counter())
            for reference in references(pod):
                counter[reference] += sign
                if counter[reference] <= 0:
                    del counter[reference]


def references(pod: Object) -> set[Reference]:
    """Everything a pod refers to that its node must be able to read."""
    namespace, spec = pod["metadata"].get("namespace", ""), pod.get("spec", {})
    found = {
        ("secrets", namespace, one.get("name", "")) for one in spec.get("imagePullSecrets") or ()
    }
    if spec.get("serviceAccountName"):
        found.add(("serviceaccounts", namespace, spec["serviceAccountName"]))
    for container in _containers(spec):
        found |= {(kind, namespace, name) for kind, name in _environment(container)}
    for volume in spec.get("volumes") or ():
        found |= {(kind, namespace, name) for kind, name in _volume(volume, pod)}
    return {reference for reference in found if reference[2]}


def _containers(spec: Object) -> Iterator[Object]:
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        yield from spec.get(kind) or ()


def _environment(container: Object) -> Iterator[tuple[str, str]]:
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        for key, kind in (("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps")):
            if source.get(key):
                yield kind, source[key].get("name", "")
    for source in container.get("envFrom") or ():
        for key, kind in (("secretRef", "secrets"), ("configMapRef", "configmaps")):
            if source.get(key):
                yield kind, source[key].get("name", "")


def _volume(volume: Object, pod: Object) -> Iterator[tuple[str, str]]:
    if volume.get("secret"):
        yield "secrets", volume["secret"].get("secretName", "")
    if volume.get("configMap"):
        yield "configmaps", volume["configMap"].get("name", "")
    if volume.get("persistentVolumeClaim"):
        yield "persistentvolumeclaims", volume["persistentVolumeClaim"].get("claimName", "")
    if volume.get("ephemeral"):
        yield "persistentvolumeclaims", f"{pod['metadata']['name']}-{volume.get('name', '')}"
    for source in (volume.get("projected") or {}).get("sources") or ():
        if source.get("secret"):
            yield "secrets", source["secret"].get("name", "")
        if source.get("configMap"):
            yield "configmaps", source["configMap"].get("name", "")
    for plugin in ("csi", "cephfs", "rbd", "iscsi", "flexVolume", "scaleIO", "storageos"):
        settings = volume.get(plugin) or {}
        secret = settings.get("nodePublishSecretRef") or settings.get("secretRef") or {}
        if secret:
            yield "secrets", secret.get("name", "")


def _unrelated(node: str) -> Decision:
    return Decision(
        allowed=False, reason=f"no relationship found between node '{node}' and this object"
    )
