"""A pod's status from what is known to run: phase, conditions and container statuses, all pure.

Semantics: upstream's generateAPIPodStatus, getPhase and status/generate.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api import times
from todoku.api.meta import Object
from todoku.kubelet.plan import initialised
from todoku.kubelet.records import (
    EPHEMERAL,
    INIT,
    REGULAR,
    Container,
    PodRecord,
    State,
    restart_policy,
    restartable,
    specs,
)
from todoku.kubelet.resources import qos_class

_OURS = (
    "PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled",
    "PodResizePending", "PodResizeInProgress",
)  # fmt: skip


def pod_status(
    record: PodRecord, *, now: float, host_ips: Sequence[str], runtime: str, sandbox_alive: bool
) -> Object:
    """The whole `status` of the pod; conditions of others (readiness gates) are kept."""
    pod = record.pod
    old: Object = pod.get("status") or {}
    phase = pod_phase(record)
    containers = [_container_status(record, REGULAR, spec, runtime) for spec in specs(pod, REGULAR)]
    inits = [_container_status(record, INIT, spec, runtime) for spec in specs(pod, INIT)]
    ephemeral = [
        _container_status(record, EPHEMERAL, spec, runtime) for spec in specs(pod, EPHEMERAL)
    ]
    status: Object = {
        "phase": phase,
        "conditions": _conditions(record, phase, containers, inits, now, sandbox_alive),
        "hostIP": host_ips[0],
        "hostIPs": [{"ip": ip} for ip in host_ips],
        "startTime": old.get("startTime") or times.text(now),
        "qosClass": old.get("qosClass") or qos_class(pod),
        "containerStatuses": containers,
        "resources": dict(pod["spec"].get("resources") or {}),
    }
    if pod["metadata"].get("generation"):
        status["observedGeneration"] = pod["metadata"]["generation"]
    if record.sandbox is not None and record.sandbox.ips:
        status["podIP"] = record.sandbox.ips[0]
        status["podIPs"] = [{"ip": ip} for ip in record.sandbox.ips]
    elif old.get("podIP"):
        status |= {"podIP": old["podIP"], "podIPs": old.get("podIPs", [{"ip": old["podIP"]}])}
    if inits:
        status["initContainerStatuses"] = inits
    if ephemeral:
        status["ephemeralContainerStatuses"] = ephemeral
    if record.failed is not None:
        status |= {"reason": record.failed[0], "message": record.failed[1]}
    return status


def pod_phase(record: PodRecord) -> str:
    """`Pending`, `Running`, `Succeeded` or `Failed` (upstream getPhase)."""
    if record.failed is not None:
        return "Failed"
    pod = record.pod
    policy = restart_policy(pod)
    pending_init = failed_init = False
    for spec in specs(pod, INIT):
        state = _init_state(record, spec, policy)
        pending_init |= state == "pending"
        failed_init |= state == "failed"
    running, waiting, stopped, succeeded = _count(record, policy)
    if failed_init and policy == "Never":
        return "Failed"
    regular_seen = any(record.last(spec["name"]) for spec in specs(pod, REGULAR))
    if record.terminated:
        return "Succeeded" if stopped and stopped == succeeded and not waiting else "Failed"
    if pending_init and not regular_seen:
        return "Pending"
    if waiting:
        return "Pending"
    if running or _sidecar_runs(record):
        return "Running"
    if not stopped:
        return "Pending"
    if policy == "Always":
        return "Running"
    if stopped == succeeded:
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _sidecar_runs(record: PodRecord) -> bool:
    """A pod whose work is done is over only when its sidecars have ended, too."""
    return any(
        last.running
        for spec in specs(record.pod, INIT)
        if restartable(spec) and (last := record.last(spec["name"])) is not None
    )


def ready(record: PodRecord) -> bool:
    """Whether every regular container (and sidecar) is ready: the condition ContainersReady."""
    return not _unready(record)


def _init_state(record: PodRecord, spec: Object, policy: str) -> str:
    last = record.last(spec["name"])
    if restartable(spec):
        return "done" if last is not None and last.started else "pending"
    if last is None or last.state is not State.EXITED:
        return "pending"
    if last.exit_code == 0:
        return "done"
    return "failed" if policy == "Never" else "pending"


def _count(record: PodRecord, policy: str) -> tuple[int, int, int, int]:
    """Regular containers (running, waiting, stopped, succeeded)."""
    running = waiting = stopped = succeeded = 0
    for spec in specs(record.pod, REGULAR):
        last = record.last(spec["name"])
        if last is None or last.state is State.CREATED:
            if record.previous(spec["name"]):
                stopped += 1
            else:
                waiting += 1
        elif last.running:
            running += 1
        else:
            stopped += 1
            succeeded += last.exit_code == 0
    return running, waiting, stopped, succeeded


def _container_status(record: PodRecord, kind: str, spec: Object, runtime: str) -> Object:
    name = spec["name"]
    last, previous = record.last(name), record.previous(name)
    waits = record.waiting.get(name)
    status: Object = {"name": name, "state": {}, "lastState": {}, "ready": False, "restartCount": 0,
                      "image": spec["image"], "imageID": "", "started": False}  # fmt: skip
    if kind == EPHEMERAL:
        del status["started"]
    if last is None:
        reason = waits.reason if waits else _default_waiting(record, kind)
        status["state"] = {"waiting": _waiting(reason, waits.message if waits else "")}
        _add_mounts(status, spec)
        return status
    status |= {
        "image": last.image_ref or last.image,
        "imageID": last.image_id,
        "containerID": f"{runtime}://{last.id}",
        "restartCount": last.restarts,
    }
    if last.state is State.EXITED and waits is not None and not record.terminating:
        status["state"] = {"waiting": _waiting(waits.reason, waits.message)}
        status["lastState"] = {"terminated": _terminated(last, runtime)}
        return status
    status["state"] = _state(last, runtime)
    if previous is not None:
        status["lastState"] = {"terminated": _terminated(previous, runtime)}
    _add_resources(status, spec, last)
    if kind == INIT and not restartable(spec):
        status["ready"] = last.state is State.EXITED and last.exit_code == 0
        return status
    if kind != EPHEMERAL:
        status["started"] = last.running and last.started is True
        status["ready"] = _is_ready(last)
    return status


def _state(container: Container, runtime: str) -> Object:
    if container.state is State.CREATED:
        return {"waiting": {"reason": "ContainerCreating"}}
    if container.running:
        return {"running": {"startedAt": times.text(container.started_at)}}
    return {"terminated": _terminated(container, runtime)}


def _terminated(container: Container, runtime: str) -> Object:
    state: Object = {"exitCode": container.exit_code, "reason": container.reason or "Completed"}
    if container.message:
        state["message"] = container.message
    state["startedAt"] = times.text(container.started_at) if container.started_at else None
    state["finishedAt"] = times.text(container.finished_at) if container.finished_at else None
    return state | {"containerID": f"{runtime}://{container.id}"}


def _waiting(reason: str, message: str) -> Object:
    return {"reason": reason} | ({"message": message} if message else {})


def _default_waiting(record: PodRecord, kind: str) -> str:
    return (
        "PodInitializing" if specs(record.pod, INIT) and kind != EPHEMERAL else "ContainerCreating"
    )


def _is_ready(container: Container) -> bool:
    return container.running and container.started is True and container.ready


def _unready(record: PodRecord) -> list[str]:
    sidecars = [spec for spec in specs(record.pod, INIT) if restartable(spec)]
    names = []
    for spec in [*sidecars, *specs(record.pod, REGULAR)]:
        last = record.last(spec["name"])
        if last is None or not _is_ready(last):
            names.append(spec["name"])
    return names


def _conditions(
    record: PodRecord,
    phase: str,
    containers: Sequence[Object],
    inits: Sequence[Object],
    now: float,
    sandbox_alive: bool,
) -> list[Object]:
    old = {one["type"]: one for one in (record.pod.get("status") or {}).get("conditions", ())}
    containers_ready = _containers_ready(record, phase)
    computed = [
        {
            "type": "PodReadyToStartContainers",
            "status": _bool(_has_network(record) and sandbox_alive),
        },
        _initialized(record, phase),
        {**_pod_ready(record, phase, containers_ready, old), "type": "Ready"},
        {**containers_ready, "type": "ContainersReady"},
        {"type": "PodScheduled", "status": "True"},
        *_resize(record),
    ]
    generation = record.pod["metadata"].get("generation")
    merged = [_merge(one, old.get(one["type"]), now, generation) for one in computed]
    return merged + [one for kind, one in old.items() if kind not in _OURS]


def _resize(record: PodRecord) -> list[Object]:
    found: list[Object] = []
    if record.resize_pending is not None:
        reason, message = record.resize_pending
        pending = {"type": "PodResizePending", "status": "True"}
        found.append(pending | {"reason": reason, "message": message})
    if record.resizing:
        why = {"reason": "Error", "message": record.resize_error} if record.resize_error else {}
        found.append({"type": "PodResizeInProgress", "status": "True"} | why)
    return found


def _merge(new: Object, old: Object | None, now: float, generation: int | None) -> Object:
    """Keep the transition time while the status stays."""
    same = old is not None and old.get("status") == new["status"]
    moved = old.get("lastTransitionTime") if same and old else None
    condition = {
        "type": new["type"],
        "status": new["status"],
        "lastProbeTime": None,
        "lastTransitionTime": moved or times.text(now),
    }
    if generation:
        condition["observedGeneration"] = generation
    return condition | {key: new[key] for key in ("reason", "message") if new.get(key)}


def _has_network(record: PodRecord) -> bool:
    return record.sandbox is not None and (record.sandbox.host_network or bool(record.sandbox.ips))


def _initialized(record: PodRecord, phase: str) -> Object:
    condition: Object = {"type": "Initialized", "status": "True"}
    if phase == "Succeeded":
        return condition | {"reason": "PodCompleted"}
    if initialised(record):
        return condition
    undone = [
        spec["name"]
        for spec in specs(record.pod, INIT)
        if _init_state(record, spec, restart_policy(record.pod)) != "done"
    ]
    return condition | {
        "status": "False",
        "reason": "ContainersNotInitialized",
        "message": f"containers with incomplete status: [{' '.join(undone)}]",
    }


def _containers_ready(record: PodRecord, phase: str) -> Object:
    if phase == "Succeeded":
        return {"status": "False", "reason": "PodCompleted"}
    if phase == "Failed":
        return {"status": "False", "reason": "PodFailed"}
    unready = _unready(record)
    if not unready:
        return {"status": "True"}
    message = f"containers with unready status: [{' '.join(unready)}]"
    return {"status": "False", "reason": "ContainersNotReady", "message": message}


def _pod_ready(
    record: PodRecord, phase: str, containers_ready: Object, old: dict[str, Object]
) -> Object:
    if containers_ready["status"] != "True":
        return containers_ready
    problems = []
    for gate in record.spec.get("readinessGates") or ():
        condition = old.get(gate["conditionType"])
        if condition is None:
            problems.append(
                f'corresponding condition of pod readiness gate "{gate["conditionType"]}" does not exist.'
            )
        elif condition["status"] != "True":
            problems.append(
                f'the status of pod readiness gate "{gate["conditionType"]}" is not "True", but {condition["status"]}'
            )
    if not problems:
        return {"status": "True"}
    message = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    return {"status": "False", "reason": "ReadinessGatesNotReady", "message": message}


def _add_resources(status: Object, spec: Object, container: Container) -> None:
    resources = spec.get("resources") or {}
    if resources.get("requests"):
        status["allocatedResources"] = dict(resources["requests"])
    if status["state"].get("running"):
        told = container.resources
        status["resources"] = dict(resources if told is None else told)
    if container.user:
        status["user"] = container.user
    _add_mounts(status, spec)


def _add_mounts(status: Object, spec: Object) -> None:
    mounts = [_mount_status(mount) for mount in spec.get("volumeMounts") or ()]
    if mounts:
        status["volumeMounts"] = mounts


def _mount_status(mount: Object) -> Object:
    found = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        found |= {"readOnly": True, "recursiveReadOnly": mount.get("recursiveReadOnly", "Disabled")}
    return found


def _bool(value: bool) -> str:
    return "True" if value else "False"
