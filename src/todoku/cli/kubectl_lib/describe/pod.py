"""`describe pod`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from todoku.api.meta import Object, controller_of
from todoku.cli.kubectl_lib.describe.document import Document
from todoku.cli.kubectl_lib.session import Session


async def describe_pod(session: Session, document: Document, obj: Object) -> None:
    from todoku.cli.kubectl_lib.describe.workload import toleration

    metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    document.field("Name", metadata["name"])
    document.field("Namespace", metadata["namespace"])
    document.field("Priority", spec.get("priority", 0))
    if spec.get("priorityClassName"):
        document.field("Priority Class Name", spec["priorityClassName"])
    if spec.get("serviceAccountName"):
        document.field("Service Account", spec["serviceAccountName"])
    node = spec.get("nodeName")
    document.field("Node", f"{node}/{status.get('hostIP', '')}" if node else "<none>")
    if status.get("startTime"):
        document.field("Start Time", timestamp(status["startTime"]))
    document.mapping("Labels", metadata.get("labels"))
    document.mapping("Annotations", metadata.get("annotations"), joint=": ")
    if metadata.get("deletionTimestamp"):
        document.field(
            "Status", f"Terminating (lasts until {timestamp(metadata['deletionTimestamp'])})"
        )
        document.field(
            "Termination Grace Period", f"{metadata.get('deletionGracePeriodSeconds', 0)}s"
        )
    else:
        document.field("Status", status.get("phase", ""))
    for title, name in (("Reason", "reason"), ("Message", "message")):
        if status.get(name):
            document.field(title, status[name])
    document.field("IP", status.get("podIP", ""))
    with document.nested("IPs:"):
        for one in status.get("podIPs") or ():
            document.field("IP", one.get("ip", ""))
        if not status.get("podIPs"):
            document.line("<none>")
    owner = controller_of(obj)
    if owner is not None:
        document.field("Controlled By", f"{owner['kind']}/{owner['name']}")
    add_containers(
        document,
        "Init Containers",
        spec.get("initContainers") or (),
        status.get("initContainerStatuses"),
        obj,
    )
    add_containers(
        document, "Containers", spec.get("containers") or (), status.get("containerStatuses"), obj
    )
    if status.get("conditions"):
        document.line("Conditions:")
        with document.nested():
            document.line("Type", "Status")
            for one in status["conditions"]:
                document.line(f"{one['type']} ", f"{one['status']} ")
    add_volumes(document, spec.get("volumes") or ())
    document.field("QoS Class", status.get("qosClass", "BestEffort"))
    document.mapping("Node-Selectors", spec.get("nodeSelector"))
    document.lines("Tolerations", [toleration(one) for one in spec.get("tolerations") or ()])


def add_containers(
    document: Document,
    title: str,
    containers: Iterable[Object],
    statuses: Iterable[Object] | None = None,
    pod: Object | None = None,
    *,
    template: bool = False,
) -> None:
    """The containers of a pod (with their states) or of a template.

    In a template names stand one blank deeper and their fields do not: kubectl's own layout.
    """
    containers = list(containers)
    if not containers:
        return
    by_name = {one["name"]: one for one in statuses or ()}
    with document.nested(f"{title}:", levels=0 if template else 1):
        for container in containers:
            with document.nested(f"{' ' * template}{container['name']}:"):
                _container(document, container, by_name.get(container["name"]), pod)


def _container(
    document: Document, container: Object, status: Object | None, pod: Object | None
) -> None:
    if status is not None:
        document.field("Container ID", status.get("containerID", ""))
    document.field("Image", container.get("image", ""))
    if status is not None:
        document.field("Image ID", status.get("imageID", ""))
    ports = container.get("ports") or ()
    many = "s" if len(ports) > 1 else ""
    shown = ", ".join(f"{one['containerPort']}/{one.get('protocol', 'TCP')}" for one in ports)
    document.field(f"Port{many}", shown or "<none>")
    host = ", ".join(f"{one.get('hostPort', 0)}/{one.get('protocol', 'TCP')}" for one in ports)
    document.field(f"Host Port{many}", host or "<none>")
    for name, title in (("command", "Command"), ("args", "Args")):
        if container.get(name):
            with document.nested(f"{title}:"):
                for word in container[name]:
                    for line in str(word).splitlines() or [""]:
                        document.line(line)
    if status is not None:
        _state(document, "State", status.get("state"))
        if status.get("lastState"):
            _state(document, "Last State", status["lastState"])
        document.field("Ready", status.get("ready", False))
        document.field("Restart Count", status.get("restartCount", 0))
    _resources(document, container.get("resources") or {})
    for name, title in (
        ("livenessProbe", "Liveness"),
        ("readinessProbe", "Readiness"),
        ("startupProbe", "Startup"),
    ):
        if container.get(name):
            document.field(title, probe(container[name]))
    _environment(document, container, pod)
    mounts = container.get("volumeMounts") or ()
    if not mounts:
        document.field("Mounts", "<none>")
        return
    with document.nested("Mounts:"):
        for one in sorted(mounts, key=lambda mount: str(mount["mountPath"])):
            flags = ["ro" if one.get("readOnly") else "rw"]
            flags += [f'path="{one["subPath"]}"'] if one.get("subPath") else []
            document.line(f"{one['mountPath']} from {one['name']} ({','.join(flags)})")


def _state(document: Document, title: str, state: Mapping[str, Object] | None) -> None:
    kind, details = next(iter((state or {}).items()), ("waiting", {}))
    document.field(title, kind.capitalize())
    with document.nested():
        for name, heading in (("reason", "Reason"), ("message", "Message")):
            if details.get(name):
                document.field(heading, details[name])
        if kind == "terminated":
            document.field("Exit Code", details.get("exitCode", 0))
        for name, heading in (("startedAt", "Started"), ("finishedAt", "Finished")):
            if details.get(name):
                document.field(heading, timestamp(details[name]))


def _resources(document: Document, resources: Mapping[str, Mapping[str, str]]) -> None:
    for name in ("limits", "requests"):
        if resources.get(name):
            with document.nested(f"{name.capitalize()}:"):
                for key, value in sorted(resources[name].items()):
                    document.field(key, value)


def _environment(document: Document, container: Object, pod: Object | None) -> None:
    variables = container.get("env") or ()
    if not variables:
        document.field("Environment", "<none>")
        return
    with document.nested("Environment:"):
        for one in variables:
            document.field(one["name"], _source(one, pod))


def _source(variable: Object, pod: Object | None) -> str:
    source = variable.get("valueFrom") or {}
    if "fieldRef" in source:
        path = source["fieldRef"]["fieldPath"]
        part = path.removeprefix("metadata.")
        known = (
            str(pod["metadata"].get(part, ""))
            if pod and part in ("name", "namespace", "uid")
            else ""
        )
        return f"{known} ({source['fieldRef'].get('apiVersion', 'v1')}:{path})"
    if "resourceFieldRef" in source:
        return f" ({source['resourceFieldRef']['resource']})"
    for name, what in (("secretKeyRef", "secret"), ("configMapKeyRef", "config map")):
        if name in source:
            one = source[name]
            optional = str(bool(one.get("optional"))).lower()
            return (
                f"<set to the key '{one['key']}' in {what} '{one['name']}'>  Optional: {optional}"
            )
    return str(variable.get("value") or "")


def probe(one: Object) -> str:
    """`http-get http://:monitoring/metrics delay=10s timeout=1s period=10s #success=1 #failure=3`."""
    times = (
        f"delay={one.get('initialDelaySeconds', 0)}s timeout={one.get('timeoutSeconds', 1)}s "
        f"period={one.get('periodSeconds', 10)}s #success={one.get('successThreshold', 1)} "
        f"#failure={one.get('failureThreshold', 3)}"
    )
    if "httpGet" in one:
        get = one["httpGet"]
        scheme = get.get("scheme", "HTTP").lower()
        return (
            f"http-get {scheme}://{get.get('host', '')}:{get['port']}{get.get('path', '')} {times}"
        )
    if "tcpSocket" in one:
        return f"tcp-socket {one['tcpSocket'].get('host', '')}:{one['tcpSocket']['port']} {times}"
    if "exec" in one:
        return f"exec [{' '.join(one['exec'].get('command') or ())}] {times}"
    if "grpc" in one:
        return f"grpc <pod>:{one['grpc']['port']} {one['grpc'].get('service', '')} {times}"
    return f"unknown {times}"


_SOURCES = {
    "emptyDir": ("EmptyDir", "(a temporary directory that shares a pod's lifetime)"),
    "hostPath": ("HostPath", "(bare host directory volume)"),
    "secret": ("Secret", "(a volume populated by a Secret)"),
    "configMap": ("ConfigMap", "(a volume populated by a ConfigMap)"),
    "projected": ("Projected", "(a volume that contains injected data from multiple sources)"),
    "downwardAPI": ("DownwardAPI", "(a volume populated by information about the pod)"),
    "persistentVolumeClaim": (
        "PersistentVolumeClaim", "(a reference to a PersistentVolumeClaim in the same namespace)",
    ),
}  # fmt: skip


def add_volumes(document: Document, volumes: Iterable[Object], *, template: bool = False) -> None:
    volumes = list(volumes)
    if not volumes:
        document.field("Volumes", "<none>")
        return
    with document.nested("Volumes:", levels=0 if template else 1):
        for volume in volumes:
            with document.nested(f"{' ' * template}{volume['name']}:"):
                _volume(document, volume)


def _volume(document: Document, volume: Object) -> None:
    kind = next((name for name in volume if name in _SOURCES), "")
    if not kind:
        document.field("Type", next((name for name in volume if name != "name"), "<unknown>"))
        return
    title, explained = _SOURCES[kind]
    source = volume[kind] or {}
    document.line("Type:", f"{title} {explained}")
    if kind == "emptyDir":
        document.field("Medium", source.get("medium", ""))
        document.field("SizeLimit", source.get("sizeLimit") or "<unset>")
    elif kind == "hostPath":
        document.field("Path", source.get("path", ""))
        document.field("HostPathType", source.get("type", ""))
    elif kind == "secret":
        document.field("SecretName", source.get("secretName", ""))
        document.field("Optional", str(bool(source.get("optional"))).lower())
    elif kind == "configMap":
        document.field("Name", source.get("name", ""))
        document.field("Optional", str(bool(source.get("optional"))).lower())
    elif kind == "persistentVolumeClaim":
        document.field("ClaimName", source.get("claimName", ""))
        document.field("ReadOnly", str(bool(source.get("readOnly"))).lower())
    elif kind == "projected":
        _projected(document, source)
    elif kind == "downwardAPI":
        with document.nested("Items:"):
            for item in source.get("items") or ():
                document.line(
                    f"{(item.get('fieldRef') or {}).get('fieldPath', '')} -> {item['path']}"
                )


def _projected(document: Document, source: Object) -> None:
    for one in source.get("sources") or ():
        if "serviceAccountToken" in one:
            seconds = one["serviceAccountToken"].get("expirationSeconds", 3600)
            document.field("TokenExpirationSeconds", seconds)
        elif "configMap" in one:
            document.field("ConfigMapName", one["configMap"].get("name", ""))
            document.field("Optional", str(bool(one["configMap"].get("optional"))).lower())
        elif "secret" in one:
            document.field("SecretName", one["secret"].get("name", ""))
            document.field("Optional", str(bool(one["secret"].get("optional"))).lower())
        elif "downwardAPI" in one:
            document.field("DownwardAPI", "true")


def timestamp(stamp: str | None) -> str:
    """A wire time as kubectl writes it: `Mon, 23 Nov 2026 10:05:01 +0000`."""
    if not stamp:
        return ""
    return datetime.fromisoformat(stamp).astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S %z")
