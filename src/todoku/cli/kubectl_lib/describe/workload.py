"""`describe` of Deployments and of the other workloads."""

from __future__ import annotations

from todoku.api import selectors
from todoku.api.meta import Object, controller_of
from todoku.cli.kubectl_lib.describe.document import Document
from todoku.cli.kubectl_lib.describe.pod import add_containers, add_volumes, timestamp
from todoku.cli.kubectl_lib.session import Session


async def describe_deployment(session: Session, document: Document, obj: Object) -> None:
    metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    document.field("Name", metadata["name"])
    document.field("Namespace", metadata["namespace"])
    document.field("CreationTimestamp", timestamp(metadata.get("creationTimestamp")))
    document.mapping("Labels", metadata.get("labels"))
    document.mapping("Annotations", metadata.get("annotations"), joint=": ")
    document.field("Selector", selectors.from_selector(spec.get("selector")))
    document.field(
        "Replicas",
        f"{spec.get('replicas', 1)} desired | {status.get('updatedReplicas', 0)} updated | "
        f"{status.get('replicas', 0)} total | {status.get('availableReplicas', 0)} available | "
        f"{status.get('unavailableReplicas', 0)} unavailable",
    )
    strategy = spec.get("strategy") or {}
    document.field("StrategyType", strategy.get("type", ""))
    document.field("MinReadySeconds", spec.get("minReadySeconds", 0))
    rolling = strategy.get("rollingUpdate")
    if rolling:
        text = (
            f"{rolling.get('maxUnavailable')} max unavailable, {rolling.get('maxSurge')} max surge"
        )
        document.field("RollingUpdateStrategy", text)
    _template(document, spec["template"])
    if status.get("conditions"):
        with document.nested("Conditions:"):
            rows = [("Type", "Status", "Reason")]
            rows += [
                (one["type"], one["status"], one.get("reason", "")) for one in status["conditions"]
            ]
            document.table(rows)
    old, new = await _replica_sets(session, obj)
    if old or new:
        document.field("OldReplicaSets", old or "<none>")
        document.field("NewReplicaSet", new or "<none>")


async def describe_workload(session: Session, document: Document, obj: Object) -> None:
    """ReplicaSets, DaemonSets and StatefulSets: what they have in common."""
    metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    document.field("Name", metadata["name"])
    document.field("Namespace", metadata["namespace"])
    document.field("Selector", selectors.from_selector(spec.get("selector")))
    document.mapping("Labels", metadata.get("labels"))
    document.mapping("Annotations", metadata.get("annotations"), joint=": ")
    owner = controller_of(obj)
    if owner is not None:
        document.field("Controlled By", f"{owner['kind']}/{owner['name']}")
    if obj.get("kind") == "DaemonSet":
        for title, name in (
            ("Desired Number of Nodes Scheduled", "desiredNumberScheduled"),
            ("Current Number of Nodes Scheduled", "currentNumberScheduled"),
            ("Number of Nodes Scheduled with Up-to-date Pods", "updatedNumberScheduled"),
            ("Number of Nodes Scheduled with Available Pods", "numberAvailable"),
            ("Number of Nodes Misscheduled", "numberMisscheduled"),
        ):
            document.line(f"{title}: {status.get(name, 0)}")
    else:
        document.field(
            "Replicas", f"{status.get('replicas', 0)} current / {spec.get('replicas', 1)} desired"
        )
    counts = await _pod_phases(session, obj)
    document.field(
        "Pods Status",
        f"{counts['Running']} Running / {counts['Pending']} Waiting / "
        f"{counts['Succeeded']} Succeeded / {counts['Failed']} Failed",
    )
    _template(document, spec["template"])


def _template(document: Document, template: Object) -> None:
    spec = template["spec"]
    document.line("Pod Template:")
    with document.nested():
        document.mapping("Labels", (template.get("metadata") or {}).get("labels"))
        annotations = (template.get("metadata") or {}).get("annotations")
        if annotations:
            document.mapping("Annotations", annotations, joint=": ")
        if spec.get("serviceAccountName"):
            document.field("Service Account", spec["serviceAccountName"])
        add_containers(document, "Init Containers", spec.get("initContainers") or (), template=True)
        add_containers(document, "Containers", spec.get("containers") or (), template=True)
        add_volumes(document, spec.get("volumes") or (), template=True)
        selector = spec.get("nodeSelector") or {}
        document.mapping("Node-Selectors", selector)
        document.lines("Tolerations", [toleration(one) for one in spec.get("tolerations") or ()])


def toleration(one: Object) -> str:
    """`node-role.kubernetes.io/control-plane:NoSchedule op=Exists for 300s`."""
    text = str(one.get("key") or "")
    if one.get("value"):
        text += f"={one['value']}"
    if one.get("effect"):
        text += f":{one['effect']}"
    if one.get("operator") == "Exists" and not one.get("value"):
        text += " op=Exists"
    if one.get("tolerationSeconds") is not None:
        text += f" for {one['tolerationSeconds']}s"
    return text.strip()


async def _replica_sets(session: Session, obj: Object) -> tuple[str, str]:
    """The old and the new ReplicaSets, as `name (1/1 replicas created)`."""
    listed = await session.client.list("replicasets.apps", obj["metadata"]["namespace"])
    owned = [
        one for one in listed.items
        if (controller_of(one) or {}).get("uid") == obj["metadata"]["uid"]
    ]  # fmt: skip
    revision = (obj["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision")

    def shown(one: Object) -> str:
        created = (one.get("status") or {}).get("replicas", 0)
        return f"{one['metadata']['name']} ({created}/{one['spec'].get('replicas', 0)} replicas created)"

    def newest(one: Object) -> bool:
        annotations = one["metadata"].get("annotations") or {}
        return annotations.get("deployment.kubernetes.io/revision") == revision

    old = [shown(one) for one in owned if not newest(one)]
    new = [shown(one) for one in owned if newest(one)]
    return ", ".join(old), ", ".join(new)


async def _pod_phases(session: Session, obj: Object) -> dict[str, int]:
    counts = {"Running": 0, "Pending": 0, "Succeeded": 0, "Failed": 0}
    chosen = selectors.from_selector(obj["spec"].get("selector"))
    listed = await session.client.list("pods", obj["metadata"]["namespace"], labels=str(chosen))
    for pod in listed.items:
        if (controller_of(pod) or {}).get("uid") != obj["metadata"]["uid"]:
            continue
        phase = (pod.get("status") or {}).get("phase", "Pending")
        counts[phase] = counts.get(phase, 0) + 1
    return counts
