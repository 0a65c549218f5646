"""What to do next for a pod: a pure decision over its spec and what is known to run.

Follows the order of upstream's kuberuntime: sandbox, init containers one after the other (sidecars go on when
started), then all regular containers; ephemeral ones any time the sandbox is there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from todoku.api.meta import Object
from todoku.kubelet.records import (
    EPHEMERAL,
    INIT,
    REGULAR,
    Container,
    PodRecord,
    State,
    all_specs,
    restart_policy,
    restartable,
    specs,
)


@dataclass(frozen=True, slots=True)
class Kill:
    """End one container; `reason` is for the event."""

    container: Container
    message: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """`start` are (kind, spec) in order; `wake_at` is when a back-off or deadline wants another look."""

    new_sandbox: bool = False
    kill: tuple[Kill, ...] = ()
    start: tuple[tuple[str, Object], ...] = ()
    backing_off: tuple[str, ...] = ()
    stop_pod: bool = False  # all is done: release the sandbox
    wake_at: float | None = None


@dataclass(slots=True)
class _Draft:
    kill: list[Kill] = field(default_factory=list)
    start: list[tuple[str, Object]] = field(default_factory=list)
    backing_off: list[str] = field(default_factory=list)
    wakes: list[float] = field(default_factory=list)


def plan(
    record: PodRecord, *, now: float, sandbox_alive: bool, unhealthy: Mapping[str, str]
) -> Plan:
    """Decide.  `unhealthy` maps ids of containers whose liveness or startup probe gave up to the event's text."""
    pod = record.pod
    if finished(record):
        return Plan(stop_pod=True, kill=_sidecars_last(record))
    if not sandbox_alive:
        lost = tuple(Kill(one, "") for one in record.live())
        return Plan(new_sandbox=True, kill=lost)
    draft = _Draft()
    for container in record.live():
        if container.id in unhealthy:
            draft.kill.append(Kill(container, unhealthy[container.id], "Unhealthy"))
    _changed(record, draft)
    initialised = _initialise(record, draft, now)
    if initialised:
        for spec in specs(pod, REGULAR):
            _consider(record, REGULAR, spec, restart_policy(pod), draft, now)
    for spec in specs(pod, EPHEMERAL):
        if record.last(spec["name"]) is None:
            _consider(record, EPHEMERAL, spec, "Never", draft, now)
    return Plan(
        kill=tuple(draft.kill),
        start=tuple(draft.start),
        backing_off=tuple(draft.backing_off),
        wake_at=min(draft.wakes, default=None),
    )


def finished(record: PodRecord) -> bool:
    """Whether no container of the pod will ever run again."""
    pod = record.pod
    if record.failed is not None:
        return True
    policy = restart_policy(pod)
    for spec in specs(pod, INIT):
        last = record.last(spec["name"])
        ended = last is not None and last.state is State.EXITED
        if ended and last and last.exit_code != 0 and policy == "Never" and not restartable(spec):
            return True
    if not _all_ended(record):
        return False
    return all(_final(record.last(spec["name"]), policy) for spec in specs(pod, REGULAR))


def initialised(record: PodRecord) -> bool:
    """Whether every init container has done its part."""
    return all(_init_done(record, spec) for spec in specs(record.pod, INIT)) or any(
        record.last(spec["name"]) for spec in specs(record.pod, REGULAR)
    )


def should_restart(container: Container, policy: str) -> bool:
    return policy == "Always" or (policy == "OnFailure" and container.exit_code != 0)


def spec_hash(spec: Object) -> str:
    """Changes when a running container must be replaced: upstream compares name and image only."""
    return hashlib.sha256(json.dumps([spec["name"], spec["image"]]).encode()).hexdigest()[:12]


def _initialise(record: PodRecord, draft: _Draft, now: float) -> bool:
    """Bring the init containers forward; True when the regular containers may run."""
    pod = record.pod
    running_before = any(record.last(spec["name"]) for spec in specs(pod, REGULAR))
    for spec in specs(pod, INIT):
        policy = "Always" if restartable(spec) else _init_policy(pod)
        if not restartable(spec) and running_before:
            continue  # its work was done before the regular containers started
        if not _init_done(record, spec) or restartable(spec):
            _consider(record, INIT, spec, policy, draft, now)
        if not _init_done(record, spec) and not running_before:
            return False
    return True


def _init_policy(pod: Object) -> str:
    return "OnFailure" if restart_policy(pod) == "Always" else restart_policy(pod)


def _init_done(record: PodRecord, spec: Object) -> bool:
    last = record.last(spec["name"])
    if last is None:
        return False
    if restartable(spec):
        return last.running and last.started is True
    return last.state is State.EXITED and last.exit_code == 0


def _consider(
    record: PodRecord, kind: str, spec: Object, policy: str, draft: _Draft, now: float
) -> None:
    """Start a container that is not there, or whose restart is due."""
    name = spec["name"]
    last = record.last(name)
    if last is not None and last.state is not State.EXITED:
        return
    if last is not None and not should_restart(last, policy):
        return
    delay = record.delays.get(name)
    if delay is not None and delay.until > now:
        draft.backing_off.append(name)
        draft.wakes.append(delay.until)
        return
    draft.start.append((kind, spec))


def _changed(record: PodRecord, draft: _Draft) -> None:
    for kind, spec in all_specs(record.pod):
        last = record.last(spec["name"])
        if kind == EPHEMERAL or last is None or not last.running or not last.spec_hash:
            continue
        if last.spec_hash != spec_hash(spec):
            text = f"Container {last.name} definition changed, will be restarted"
            draft.kill.append(Kill(last, text))


def _all_ended(record: PodRecord) -> bool:
    regular = specs(record.pod, REGULAR)
    lasts = [record.last(spec["name"]) for spec in regular]
    return bool(regular) and all(last is not None and last.state is State.EXITED for last in lasts)


def _final(last: Container | None, policy: str) -> bool:
    return last is not None and last.state is State.EXITED and not should_restart(last, policy)


def _sidecars_last(record: PodRecord) -> tuple[Kill, ...]:
    """When the pod is done its sidecars end, in the reverse of their order."""
    order = [spec["name"] for spec in specs(record.pod, INIT)]
    live = record.live()
    live.sort(key=lambda one: order.index(one.name) if one.name in order else -1, reverse=True)
    return tuple(Kill(one, f"Stopping container {one.name}") for one in live)
