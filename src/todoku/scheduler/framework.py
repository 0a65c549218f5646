"""What plugins see: nodes with their pods, and the words in which they refuse or rate one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from todoku.api.meta import Object
from todoku.scheduler.resources import Amounts, amounts, nonzero_requests, requests

MAX_SCORE = 100.0


@dataclass(frozen=True, slots=True)
class HostPort:
    ip: str
    protocol: str
    port: int

    def conflicts(self, other: HostPort) -> bool:
        if (self.protocol, self.port) != (other.protocol, other.port):
            return False
        return "0.0.0.0" in (self.ip, other.ip) or self.ip == other.ip


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, with all that is derived from it once."""

    object: Object
    requests: Amounts
    nonzero: Amounts
    host_ports: tuple[HostPort, ...]
    priority: int

    @classmethod
    def of(cls, obj: Object) -> Pod:
        spec = obj["spec"]
        return cls(
            obj, requests(obj), nonzero_requests(obj), host_ports(spec), spec.get("priority") or 0
        )

    @property
    def uid(self) -> str:
        return str(self.object["metadata"]["uid"])

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.object["metadata"]["namespace"])

    @property
    def labels(self) -> Mapping[str, str]:
        return self.object["metadata"].get("labels") or {}

    @property
    def spec(self) -> Object:
        found: Object = self.object["spec"]
        return found

    @property
    def terminating(self) -> bool:
        return bool(self.object["metadata"].get("deletionTimestamp"))


def host_ports(spec: Object) -> tuple[HostPort, ...]:
    found: list[HostPort] = []
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in [*(spec.get("containers") or ()), *sidecars]:
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                ip = port.get("hostIP") or "0.0.0.0"
                found.append(HostPort(ip, port.get("protocol", "TCP"), port["hostPort"]))
    return tuple(found)


@dataclass(slots=True)
class Node:
    """A node with the pods on it; sums are kept, not computed for each question."""

    object: Object
    pods: dict[str, Pod] = field(default_factory=dict)
    requested: Amounts = field(default_factory=dict)
    nonzero: Amounts = field(default_factory=lambda: {"cpu": 0, "memory": 0})
    allocatable: Amounts = field(default_factory=dict)

    def __post_init__(self) -> None:
        status = self.object.get("status") or {}
        self.allocatable = amounts(status.get("allocatable") or status.get("capacity"))

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    @property
    def labels(self) -> Mapping[str, str]:
        return self.object["metadata"].get("labels") or {}

    def add(self, pod: Pod) -> None:
        if pod.uid in self.pods:
            self.remove(pod.uid)
        self.pods[pod.uid] = pod
        self._count(pod, 1)

    def remove(self, uid: str) -> None:
        pod = self.pods.pop(uid, None)
        if pod is not None:
            self._count(pod, -1)

    def without(self, uids: Iterable[str]) -> Node:
        """A copy from which these pods are gone."""
        twin = self.copy()
        for uid in uids:
            twin.remove(uid)
        return twin

    def copy(self) -> Node:
        return Node(self.object, dict(self.pods), dict(self.requested), dict(self.nonzero))

    def _count(self, pod: Pod, sign: int) -> None:
        for name, value in pod.requests.items():
            self.requested[name] = self.requested.get(name, 0) + sign * value
        for name, value in pod.nonzero.items():
            self.nonzero[name] += sign * value


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a node does not do.  `final`: no preemption could help there."""

    reasons: tuple[str, ...]
    plugin: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """What is known beside nodes: objects by resource name, and namespaces' labels."""

    nodes: Sequence[Node] = ()
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    claims: Mapping[tuple[str, str], Object] = field(default_factory=dict)
    volumes: Mapping[str, Object] = field(default_factory=dict)
    storage_classes: Mapping[str, Object] = field(default_factory=dict)
    # Selectors of the Services and controllers that a pod belongs to, for default spreading.
    selectors: Any = None


class NotSchedulable(Exception):
    """A pod that no node could take, for a reason of its own (PreFilter)."""

    def __init__(self, message: str, plugin: str) -> None:
        super().__init__(message)
        self.plugin = plugin


class Filter(Protocol):
    """`prepare` looks once at all; `filter` answers for one node.  Both pure."""

    name: str

    def prepare(self, pod: Pod, world: World) -> Any:
        """The state handed to `filter`; None means that every node passes.  May raise NotSchedulable."""

    def filter(self, pod: Pod, node: Node, state: Any) -> Rejection | None: ...


class Scorer(Protocol):
    """`rate` gives a number per node; what is best is for `normalize` to say, from 0 to 100."""

    name: str
    weight: int

    def rate(self, pod: Pod, nodes: Sequence[Node], world: World) -> Sequence[float] | None:
        """One final score from 0 to 100 for each node; None has no opinion."""


def normalized(values: Sequence[float], *, reverse: bool = False) -> list[float]:
    """Scaled so that the highest is 100 (DefaultNormalizeScore)."""
    highest = max(values, default=0.0)
    if highest == 0:
        return [MAX_SCORE if reverse else 0.0 for _ in values]
    scaled = [value * MAX_SCORE // highest for value in values]
    return [MAX_SCORE - value for value in scaled] if reverse else scaled
