"""`describe node`."""

from __future__ import annotations

import time
from collections.abc import Iterable

from todoku.api import errors, quantities
from todoku.api.meta import Object
from todoku.cli.kubectl_lib.describe.document import Document
from todoku.cli.kubectl_lib.describe.events import ago
from todoku.cli.kubectl_lib.describe.pod import timestamp
from todoku.cli.kubectl_lib.session import Session

_ROLE = "node-role.kubernetes.io/"
_DONE = ("Succeeded", "Failed")


async def describe_node(session: Session, document: Document, obj: Object) -> None:
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    labels = metadata.get("labels") or {}
    roles = sorted(key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE))
    document.field("Name", metadata["name"])
    document.field("Roles", ",".join(roles) or "<none>")
    document.mapping("Labels", labels)
    document.mapping("Annotations", metadata.get("annotations"), joint=": ")
    document.field("CreationTimestamp", timestamp(metadata.get("creationTimestamp")))
    document.lines("Taints", [_taint(one) for one in spec.get("taints") or ()])
    document.field("Unschedulable", str(bool(spec.get("unschedulable"))).lower())
    await _lease(session, document, metadata["name"])
    _conditions(document, status.get("conditions") or ())
    with document.nested("Addresses:"):
        for one in status.get("addresses") or ():
            document.line(f"{one['type']}:", one["address"])
    for name in ("capacity", "allocatable"):
        with document.nested(f"{name.capitalize()}:"):
            for resource, value in sorted((status.get(name) or {}).items()):
                document.field(resource, value)
    with document.nested("System Info:"):
        info = status.get("nodeInfo") or {}
        for title, name in _INFO:
            document.field(title, info.get(name, ""))
    if spec.get("podCIDR"):
        document.field("PodCIDR", spec["podCIDR"])
        document.field("PodCIDRs", ",".join(spec.get("podCIDRs") or ()))
    await _pods(session, document, obj)


_INFO = (
    ("Machine ID", "machineID"),
    ("System UUID", "systemUUID"),
    ("Boot ID", "bootID"),
    ("Kernel Version", "kernelVersion"),
    ("OS Image", "osImage"),
    ("Operating System", "operatingSystem"),
    ("Architecture", "architecture"),
    ("Container Runtime Version", "containerRuntimeVersion"),
    ("Kubelet Version", "kubeletVersion"),
    ("Kube-Proxy Version", "kubeProxyVersion"),
)


def _taint(one: Object) -> str:
    value = f"={one['value']}" if one.get("value") else ""
    return f"{one['key']}{value}:{one['effect']}"


async def _lease(session: Session, document: Document, name: str) -> None:
    try:
        lease = await session.client.get("leases.coordination.k8s.io", name, "kube-node-lease")
    except errors.NotFound as refusal:
        document.field("Lease", f"Failed to get lease: {refusal.message}")
        return
    spec = lease.get("spec") or {}
    with document.nested("Lease:"):
        document.field("HolderIdentity", spec.get("holderIdentity", "<unset>"))
        document.field("AcquireTime", timestamp(spec.get("acquireTime")) or "<unset>")
        document.field("RenewTime", timestamp(spec.get("renewTime")) or "<unset>")


def _conditions(document: Document, conditions: Iterable[Object]) -> None:
    rows = [("Type", "Status", "LastHeartbeatTime", "LastTransitionTime", "Reason", "Message")]
    rows += [
        (
            f"{one['type']} ", f"{one['status']} ", f"{timestamp(one.get('lastHeartbeatTime'))} ",
            f"{timestamp(one.get('lastTransitionTime'))} ", f"{one.get('reason', '')} ", one.get("message", ""),
        )
        for one in conditions
    ]  # fmt: skip
    with document.nested("Conditions:"):
        document.table(rows)


async def _pods(session: Session, document: Document, node: Object) -> None:
    name = node["metadata"]["name"]
    listed = await session.client.list("pods", fields=f"spec.nodeName={name}")
    pods = [pod for pod in listed.items if (pod.get("status") or {}).get("phase") not in _DONE]
    pods.sort(key=lambda pod: (pod["metadata"]["namespace"], pod["metadata"]["name"]))
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    now = time.time()
    columns = (("cpu", "requests"), ("cpu", "limits"), ("memory", "requests"), ("memory", "limits"))
    rows = [
        (
            "Namespace", "Name", "", "CPU Requests", "CPU Limits", "Memory Requests", "Memory Limits", "Age",
        )
    ]  # fmt: skip
    for pod in pods:
        shares = [
            _share(_asked([pod], *column), allocatable.get(column[0]), column[0])
            for column in columns
        ]
        rows.append(
            (
                pod["metadata"]["namespace"], pod["metadata"]["name"], "", *shares,
                ago(pod["metadata"].get("creationTimestamp", ""), now),
            )
        )  # fmt: skip
    document.field("Non-terminated Pods", f"({len(pods)} in total)")
    with document.nested():
        document.table(rows)
    document.line("Allocated resources:")
    with document.nested():
        document.line("(Total limits may be over 100 percent, i.e., overcommitted.)")
        totals: list[tuple[str, ...]] = [("Resource", "Requests", "Limits")]
        for resource in ("cpu", "memory", "ephemeral-storage"):
            sums = [
                _share(_asked(pods, resource, field), allocatable.get(resource), resource)
                for field in ("requests", "limits")
            ]
            totals.append((resource, *sums))
        document.table(totals)


def _asked(pods: Iterable[Object], resource: str, field: str) -> float:
    """The sum over containers, in cores or bytes; an init container counts where it wants more."""
    total = 0.0
    for pod in pods:
        spec = pod["spec"]
        running = sum(_amount(one, resource, field) for one in spec.get("containers") or ())
        starting = max(
            (_amount(one, resource, field) for one in spec.get("initContainers") or ()), default=0.0
        )
        total += max(running, starting)
    return total


def _amount(container: Object, resource: str, field: str) -> float:
    value = ((container.get("resources") or {}).get(field) or {}).get(resource)
    return float(quantities.parse(value).value) if value else 0.0


def _share(amount: float, allocatable: str | None, resource: str) -> str:
    whole = float(quantities.parse(allocatable).value) if allocatable else 0.0
    percent = int(amount * 100 / whole) if whole else 0
    return f"{_shown(amount, resource)} ({percent}%)"


def _shown(amount: float, resource: str) -> str:
    if amount == 0:
        return "0"
    if resource == "cpu":
        return str(int(amount)) if amount.is_integer() else f"{round(amount * 1000)}m"
    for unit, size in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
        if amount % size == 0:
            return f"{int(amount // size)}{unit}"
    return str(int(amount))
