"""How `kubectl get pods` shows a pod: READY, STATUS, RESTARTS and the wide columns (pkg/printers printPod)."""

from __future__ import annotations

from dataclasses import dataclass

from todoku.api.meta import Object
from todoku.api.resource import Column
from todoku.api.resources.generic import holds
from todoku.api.tables import Ago, Completed, created

META = "meta.v1.ObjectMeta."

COLUMNS = (
    Column(name="Name", format="name", documents=META + "name"),
    Column(name="Ready", description="The aggregate readiness state of this pod for accepting traffic."),
    Column(name="Status", description="The aggregate status of the containers in this pod."),
    Column(name="Restarts", description="The number of times the containers in this pod have been restarted and when the last container in this pod has restarted."),
    Column(name="Age", documents=META + "creationTimestamp"),
    Column(name="IP", priority=1, documents="core.v1.PodStatus.podIP"),
    Column(name="Node", priority=1, documents="core.v1.PodSpec.nodeName"),
    Column(name="Nominated Node", priority=1, documents="core.v1.PodStatus.nominatedNodeName"),
    Column(name="Readiness Gates", priority=1, documents="core.v1.PodSpec.readinessGates"),
)  # fmt: skip


def row(pod: Object) -> list[object]:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    ips = status.get("podIPs") or ()
    address = ips[0].get("ip") if ips else status.get("podIP")
    seen = _look(pod)
    cells = [
        pod["metadata"]["name"],
        f"{seen.ready}/{len(spec.get('containers') or ()) + len(_sidecars(spec))}",
        _status(pod, seen.reason),
        _restarts(seen.restarts, seen.last_restart),
        created(pod),
        address or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        _gates(spec, status),
    ]
    ended = _ENDED.get(status.get("phase", ""))
    return Completed(cells, reason=status["phase"], message=ended) if ended else cells


_ENDED = {"Succeeded": "The pod has completed successfully.", "Failed": "The pod failed."}


def reason(pod: Object) -> str:
    """The STATUS column."""
    return _status(pod, _look(pod).reason)


@dataclass(slots=True)
class _Seen:
    """What the container statuses add up to."""

    reason: str
    ready: int = 0
    restarts: int = 0
    last_restart: str = ""

    def count(self, container: Object) -> None:
        self.restarts += container.get("restartCount") or 0
        ended = (container.get("lastState") or {}).get("terminated") or {}
        # Times of one width and zone compare as text.
        self.last_restart = max(self.last_restart, ended.get("finishedAt") or "")


def _look(pod: Object) -> _Seen:
    """Init containers in order up to the first that is not done; then, if none holds the pod up, the others."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    sidecars = _sidecars(spec)
    every, kept = _Seen(_first_reason(status)), _Seen("")
    waiting = False
    for index, one in enumerate(status.get("initContainerStatuses") or ()):
        every.count(one)
        if one.get("name") in sidecars:
            kept.count(one)
        state = one.get("state") or {}
        ended = state.get("terminated")
        if ended is not None and ended.get("exitCode", 0) == 0:
            continue
        if one.get("name") in sidecars and one.get("started"):
            every.ready += bool(one.get("ready"))
            continue
        every.reason = _init_state(state, index, len(spec.get("initContainers") or ()))
        waiting = True
        break
    if waiting and not holds(status, "Initialized"):
        return every
    kept.reason, kept.ready = every.reason, every.ready
    return _containers(status, kept)


def _sidecars(spec: Object) -> set[str]:
    """Init containers that keep running."""
    return {
        str(one.get("name"))
        for one in spec.get("initContainers") or ()
        if one.get("restartPolicy") == "Always"
    }


def _first_reason(status: Object) -> str:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            return "SchedulingGated"
    return str(status.get("reason") or status.get("phase") or "")


def _init_state(state: Object, index: int, count: int) -> str:
    """`Init:0/1` and the like."""
    ended, waiting = state.get("terminated"), state.get("waiting") or {}
    if ended is not None:
        return f"Init:{_ended(ended)}"
    if waiting.get("reason") not in (None, "", "PodInitializing"):
        return f"Init:{waiting['reason']}"
    return f"Init:{index}/{count}"


def _ended(ended: Object) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    signal = ended.get("signal")
    return f"Signal:{signal}" if signal else f"ExitCode:{ended.get('exitCode', 0)}"


def _containers(status: Object, seen: _Seen) -> _Seen:
    running = False
    for one in reversed(status.get("containerStatuses") or ()):
        seen.count(one)
        state = one.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            seen.reason = waiting["reason"]
        elif ended is not None:
            seen.reason = _ended(ended)
        elif one.get("ready") and state.get("running") is not None:
            running = True
            seen.ready += 1
    if seen.reason == "Completed" and running:
        seen.reason = "Running" if holds(status, "Ready") else "NotReady"
    return seen


def _restarts(count: int, last: str) -> object:
    """`0`, or `2 (5m ago)` once something has restarted."""
    return Ago(f"{count} ({{}} ago)", last) if count and last else str(count)


def _status(pod: Object, shown: str) -> str:
    status = pod.get("status") or {}
    if not pod["metadata"].get("deletionTimestamp"):
        return shown
    if status.get("reason") == "NodeLost":
        return "Unknown"
    return shown if status.get("phase") in _ENDED else "Terminating"


def _gates(spec: Object, status: Object) -> str:
    gates = spec.get("readinessGates") or ()
    if not gates:
        return "<none>"
    true = {
        one.get("type") for one in status.get("conditions") or () if one.get("status") == "True"
    }
    met = sum(1 for gate in gates if gate.get("conditionType") in true)
    return f"{met}/{len(gates)}"
