"""What the kubelet knows of one pod on this node: plain values that `plan` and `status` read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from todoku.api.meta import Object

INIT, REGULAR, EPHEMERAL = "init", "regular", "ephemeral"
_LISTS = {INIT: "initContainers", REGULAR: "containers", EPHEMERAL: "ephemeralContainers"}


class State(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(slots=True)
class Container:
    """One attempt at running a container.  Times are UNIX seconds."""

    id: str
    name: str
    kind: str
    restarts: int
    image: str
    image_id: str
    image_ref: str = ""  # as the status shows it
    state: State = State.CREATED
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    pid: int = 0
    pid_started: int = 0  # clock ticks, so that another process with this id is not taken for it
    spec_hash: str = ""
    log: str = ""
    user: dict[str, Any] = field(default_factory=dict)
    stop_signal: str = ""
    # What probes and hooks have found out.
    started: bool | None = None
    ready: bool = False
    post_start_pending: bool = False
    resources: dict[str, Any] | None = None  # what its control group was told; None: as in the spec

    @property
    def running(self) -> bool:
        return self.state is State.RUNNING


@dataclass(slots=True)
class Sandbox:
    """The namespaces that the containers of a pod share."""

    id: str
    created_at: float
    ips: tuple[str, ...] = ()
    netns: str = ""  # "" for the node's own
    ipcns: str = ""
    utsns: str = ""
    pid: int = 0  # of the process that holds a shared PID namespace
    attempt: int = 0
    host_network: bool = False


@dataclass(slots=True)
class Waiting:
    """Why a container is not running."""

    reason: str
    message: str = ""


@dataclass(slots=True)
class Delay:
    """A back-off: nothing before `until`; `seconds` is how long the present one lasts.

    `why` is `crash`, `image` or `config`, the last of which ends as soon as a referenced object changes.
    """

    until: float = 0.0
    seconds: float = 0.0
    why: str = ""


@dataclass(slots=True)
class PodRecord:
    """One pod.  `pod` is the newest object of the API."""

    pod: Object
    sandbox: Sandbox | None = None
    containers: dict[str, list[Container]] = field(
        default_factory=dict
    )  # by name, oldest attempt first
    waiting: dict[str, Waiting] = field(default_factory=dict)
    delays: dict[str, Delay] = field(default_factory=dict)
    sandbox_attempts: int = 0
    volumes_ready: bool = False
    terminating: bool = False  # containers are being, or have been, told to end
    terminated: bool = False  # nothing of it runs any more
    failed: tuple[str, str] | None = (
        None  # reason and message of a phase Failed that the kubelet decided
    )
    # What this node has granted, by container name, and how the newest wish is getting on.
    allocated: dict[str, Object] = field(default_factory=dict)
    resize_pending: tuple[str, str] | None = None  # reason and message
    resizing: bool = False
    resize_error: str = ""

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"]["uid"])

    @property
    def spec(self) -> Object:
        spec: Object = self.pod["spec"]
        return spec

    def last(self, name: str) -> Container | None:
        """The newest attempt at a container."""
        attempts = self.containers.get(name)
        return attempts[-1] if attempts else None

    def previous(self, name: str) -> Container | None:
        """The newest attempt that ended before the newest one."""
        attempts = self.containers.get(name, [])
        return attempts[-2] if len(attempts) > 1 else None

    def every(self) -> Iterator[Container]:
        for attempts in self.containers.values():
            yield from attempts

    def live(self) -> list[Container]:
        """Every attempt that has not ended."""
        return [one for one in self.every() if one.state is not State.EXITED]


def specs(pod: Object, kind: str) -> Sequence[Object]:
    """The container specs of one kind."""
    found: Sequence[Object] = pod["spec"].get(_LISTS[kind]) or ()
    return found


def all_specs(pod: Object) -> Iterator[tuple[str, Object]]:
    """Every container spec with its kind: init, regular, ephemeral."""
    for kind in _LISTS:
        for spec in specs(pod, kind):
            yield kind, spec


def spec_of(pod: Object, name: str) -> tuple[str, Object] | None:
    return next(((kind, spec) for kind, spec in all_specs(pod) if spec["name"] == name), None)


def restartable(spec: Object) -> bool:
    """Whether an init container is a sidecar (KEP-753)."""
    return spec.get("restartPolicy") == "Always"


def restart_policy(pod: Object) -> str:
    return str(pod["spec"].get("restartPolicy", "Always"))
