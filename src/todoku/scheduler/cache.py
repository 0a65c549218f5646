"""The nodes with their pods, assumed ones included, as the cycle needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from todoku.api.meta import Object
from todoku.scheduler.framework import Node, Pod


@dataclass(slots=True)
class Cache:
    """Follows events; `assume` puts a pod on a node before the API server has confirmed it."""

    nodes: dict[str, Node] = field(default_factory=dict)
    _where: dict[str, str] = field(default_factory=dict)  # pod uid -> node name
    _homeless: dict[str, dict[str, Pod]] = field(default_factory=dict)  # pods on unknown nodes
    _assumed: set[str] = field(default_factory=set)

    def put_node(self, obj: Object) -> None:
        name = obj["metadata"]["name"]
        old = self.nodes.get(name)
        pods = list(old.pods.values()) if old else list(self._homeless.pop(name, {}).values())
        node = Node(obj)
        for pod in pods:
            node.add(pod)
        self.nodes[name] = node

    def remove_node(self, name: str) -> None:
        node = self.nodes.pop(name, None)
        if node is not None and node.pods:
            self._homeless[name] = dict(node.pods)

    def put_pod(self, obj: Object) -> None:
        """A pod that has a node and has not ended."""
        uid, name = obj["metadata"]["uid"], obj["spec"]["nodeName"]
        self._assumed.discard(uid)
        self._place(Pod.of(obj), name)

    def remove_pod(self, uid: str) -> None:
        self._assumed.discard(uid)
        self._take_off(uid)

    def assume(self, pod: Pod, name: str) -> None:
        self._assumed.add(pod.uid)
        self._place(pod, name)

    def forget(self, uid: str) -> None:
        """An assumed pod did not get its node after all; a confirmed one stays."""
        if uid in self._assumed:
            self.remove_pod(uid)

    def is_assumed(self, uid: str) -> bool:
        return uid in self._assumed

    def snapshot(self) -> Sequence[Node]:
        return sorted(self.nodes.values(), key=lambda node: node.name)

    def _place(self, pod: Pod, name: str) -> None:
        self._take_off(pod.uid)
        self._where[pod.uid] = name
        node = self.nodes.get(name)
        if node is not None:
            node.add(pod)
        else:
            self._homeless.setdefault(name, {})[pod.uid] = pod

    def _take_off(self, uid: str) -> None:
        name = self._where.pop(uid, None)
        if name is None:
            return
        node = self.nodes.get(name)
        if node is not None:
            node.remove(uid)
        self._homeless.get(name, {}).pop(uid, None)
