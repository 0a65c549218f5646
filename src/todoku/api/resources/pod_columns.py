"""How `kubectl get pods` shows a pod: READY, STATUS, RESTARTS and the wide columns (pkg/printers printPod)."""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api.meta import Object
from todoku.api.resource import Column
from todoku.api.tables import Ago, created

COLUMNS = (
    Column(name="Name", format="name", description="Name must be unique within a namespace."),
    Column(name="Ready", description="The aggregate readiness state of this pod for accepting traffic."),
    Column(name="Status", description="The aggregate status of the containers in this pod."),
    Column(name="Restarts", description="The number of times the containers in this pod have been restarted and when the last container in this pod has restarted."),
    Column(name="Age", description="Time since the pod was created."),
    Column(name="IP", priority=1, description="IP address allocated to the pod."),
    Column(name="Node", priority=1, description="NodeName the pod is scheduled to."),
    Column(name="Nominated Node", priority=1, description="Node the pod may be moved to."),
    Column(name="Readiness Gates", priority=1, description="Conditions beyond the containers that make the pod ready."),
)  # fmt: skip


def row(pod: Object) -> list[object]:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    ready, total = _ready_count(spec, status)
    ips = status.get("podIPs") or ()
    address = ips[0].get("ip") if ips else status.get("podIP")
    return [
        pod["metadata"]["name"],
        f"{ready}/{total}",
        reason(pod),
        _restarts(spec, status),
        created(pod),
        address or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        _gates(spec, status),
    ]


def _sidecars(spec: Object) -> set[str]:
    """Init containers that keep running."""
    return {
        str(one.get("name"))
        for one in spec.get("initContainers") or ()
        if one.get("restartPolicy") == "Always"
    }


def _ready_count(spec: Object, status: Object) -> tuple[int, int]:
    sidecars = _sidecars(spec)
    total = len(spec.get("containers") or ()) + len(sidecars)
    ready = sum(
        1
        for one in status.get("initContainerStatuses") or ()
        if one.get("name") in sidecars and one.get("started") and one.get("ready")
    )
    ready += sum(
        1
        for one in status.get("containerStatuses") or ()
        if one.get("ready") and "running" in (one.get("state") or {})
    )
    return ready, total


def _restarts(spec: Object, status: Object) -> object:
    """`0`, or `2 (5m ago)` once something has restarted."""
    sidecars = _sidecars(spec)
    sidecar_statuses = [
        one for one in status.get("initContainerStatuses") or () if one.get("name") in sidecars
    ]
    statuses = [*sidecar_statuses, *(status.get("containerStatuses") or ())]
    init_reason, _ = _init_reason(spec, status)
    if init_reason:
        statuses = list(status.get("initContainerStatuses") or ())
    count = sum(one.get("restartCount") or 0 for one in statuses)
    moments = [
        finished
        for one in statuses
        if (finished := ((one.get("lastState") or {}).get("terminated") or {}).get("finishedAt"))
    ]
    if count and moments:
        return Ago(f"{count} ({{}} ago)", max(moments))
    return str(count)


def reason(pod: Object) -> str:
    """The STATUS column."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    shown = status.get("reason") or status.get("phase") or ""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            shown = "SchedulingGated"
    init_reason, initialized = _init_reason(spec, status)
    if init_reason:
        shown = init_reason
    if not init_reason or initialized:
        shown = _container_reason(status, shown)
    if pod["metadata"].get("deletionTimestamp"):
        ended = status.get("phase") in ("Failed", "Succeeded")
        if status.get("reason") == "NodeLost":
            return "Unknown"
        if not ended:
            return "Terminating"
    return str(shown)


def _init_reason(spec: Object, status: Object) -> tuple[str, bool]:
    """`Init:0/1` and the like while init containers have work to do, else "".

    The second value tells whether the condition Initialized holds (a sidecar may still be starting).
    """
    sidecars = _sidecars(spec)
    initialized = any(
        one.get("type") == "Initialized" and one.get("status") == "True"
        for one in status.get("conditions") or ()
    )
    count = len(spec.get("initContainers") or ())
    for index, one in enumerate(status.get("initContainerStatuses") or ()):
        state = one.get("state") or {}
        ended = state.get("terminated")
        if ended is not None and ended.get("exitCode", 0) == 0:
            continue
        if one.get("name") in sidecars and one.get("started"):
            continue
        return _init_state(state, index, count), initialized
    return "", initialized


def _init_state(state: Object, index: int, count: int) -> str:
    ended, waiting = state.get("terminated"), state.get("waiting") or {}
    if ended is not None:
        if ended.get("reason"):
            return f"Init:{ended['reason']}"
        if ended.get("signal"):
            return f"Init:Signal:{ended['signal']}"
        return f"Init:ExitCode:{ended.get('exitCode', 0)}"
    if waiting.get("reason") not in (None, "", "PodInitializing"):
        return f"Init:{waiting['reason']}"
    return f"Init:{index}/{count}"


def _container_reason(status: Object, shown: str) -> str:
    running = False
    for one in reversed(status.get("containerStatuses") or ()):
        state = one.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            shown = waiting["reason"]
        elif ended is not None and ended.get("reason"):
            shown = ended["reason"]
        elif ended is not None:
            signal = ended.get("signal")
            shown = f"Signal:{signal}" if signal else f"ExitCode:{ended.get('exitCode', 0)}"
        elif one.get("ready") and "running" in state:
            running = True
    if shown == "Completed" and running:
        return "Running" if _is_ready(status.get("conditions") or ()) else "NotReady"
    return shown


def _is_ready(conditions: Sequence[Object]) -> bool:
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def _gates(spec: Object, status: Object) -> str:
    gates = spec.get("readinessGates") or ()
    if not gates:
        return "<none>"
    true = {
        one.get("type") for one in status.get("conditions") or () if one.get("status") == "True"
    }
    met = sum(1 for gate in gates if gate.get("conditionType") in true)
    return f"{met}/{len(gates)}"
