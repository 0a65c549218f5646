"""What every pod worker of a node shares: the tools it acts with.  Built once by `Kubelet`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from todoku.aio import Clock
from todoku.api.meta import Object
from todoku.client import Client, EventRecorder
from todoku.kubelet.config import KubeletConfig
from todoku.kubelet.images import ImageService
from todoku.kubelet.network import PodNetwork
from todoku.kubelet.resize import Ledger
from todoku.kubelet.sandbox import Sandboxes
from todoku.kubelet.sources import Objects, Tokens
from todoku.kubelet.statuses import StatusWriter
from todoku.kubelet.store import PodStore
from todoku.kubelet.volumes import Volumes
from todoku.linux.cgroups import Cgroups
from todoku.linux.containers import Containers


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    config: KubeletConfig
    clock: Clock
    client: Client
    images: ImageService
    network: PodNetwork
    containers: Containers
    sandboxes: Sandboxes
    volumes: Volumes
    cgroups: Cgroups
    objects: Objects
    tokens: Tokens
    store: PodStore
    events: EventRecorder
    statuses: StatusWriter
    services: Callable[[], Sequence[Object]]
    allocatable: dict[str, str]
    bounding: tuple[str, ...]
    memory_bytes: int
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def runtime_name(self) -> str:
        return self.containers.tools.name
