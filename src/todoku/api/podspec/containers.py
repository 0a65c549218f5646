"""Validation of containers: ports, environment, mounts, probes, hooks, resources, security context."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from todoku.api import quantities, validation
from todoku.api.errors import (
    FieldError,
    Path,
    duplicate,
    forbidden,
    invalid,
    not_found_field,
    not_supported,
    required,
)
from todoku.api.meta import Object
from todoku.api.podspec.security import container_security_problems

PROTOCOLS = ("SCTP", "TCP", "UDP")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
STANDARD_RESOURCES = ("cpu", "memory", "ephemeral-storage")

_FIELD_PATHS = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
ENV_FIELDS = tuple(
    one for one in _FIELD_PATHS if one not in ("metadata.annotations", "metadata.labels")
)
FILE_FIELDS = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
_SUBSCRIPT = re.compile(r"metadata\.(annotations|labels)\['(.+)'\]")
RESOURCE_FIELDS = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory",
    "requests.cpu", "requests.ephemeral-storage", "requests.memory",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Volumes:
    """The names of the pod's volumes; `block` are claims, which may be devices too."""

    names: Collection[str] = ()
    claims: Collection[str] = ()


def container_problems(
    container: Object,
    path: Path,
    *,
    volumes: Volumes,
) -> list[FieldError]:
    """What all sorts of containers have in common (validateContainerCommon)."""
    problems: list[FieldError] = []
    name = container.get("name") or ""
    if not name:
        problems.append(required(path / "name"))
    else:
        problems += [invalid(path / "name", name, text) for text in validation.dns1123_label(name)]
    image = container.get("image") or ""
    if not image:
        problems.append(required(path / "image"))
    elif image != image.strip():
        problems.append(
            invalid(path / "image", image, "must not have leading or trailing whitespace")
        )
    problems += _message_policy(container, path)
    problems += port_problems(container.get("ports") or (), path / "ports")
    problems += env_problems(container.get("env") or (), path / "env")
    problems += env_from_problems(container.get("envFrom") or (), path / "envFrom")
    problems += mount_problems(container, path, volumes)
    problems += _pull_policy(container, path)
    problems += resource_problems(container.get("resources") or {}, path / "resources")
    problems += container_security_problems(
        container.get("securityContext") or {}, path / "securityContext"
    )
    return problems


def _message_policy(container: Object, path: Path) -> list[FieldError]:
    policy = container.get("terminationMessagePolicy") or ""
    if not policy:
        return [required(path / "terminationMessagePolicy")]
    if policy not in ("FallbackToLogsOnError", "File"):
        supported = ("FallbackToLogsOnError", "File")
        return [not_supported(path / "terminationMessagePolicy", policy, supported)]
    return []


def _pull_policy(container: Object, path: Path) -> list[FieldError]:
    policy = container.get("imagePullPolicy") or ""
    if not policy:
        return [required(path / "imagePullPolicy")]
    if policy not in PULL_POLICIES:
        return [not_supported(path / "imagePullPolicy", policy, PULL_POLICIES)]
    return []


def port_problems(ports: Sequence[Object], path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        at = path / index
        name = port.get("name") or ""
        if name:
            texts = validation.port_name_problems(name)
            problems += [invalid(at / "name", name, text) for text in texts]
            if not texts and name in names:
                problems.append(duplicate(at / "name", name))
            names.add(name)
        number = port.get("containerPort") or 0
        if not number:
            problems.append(required(at / "containerPort"))
        else:
            problems += validation.port_number(number, at / "containerPort")
        if port.get("hostPort"):
            problems += validation.port_number(port["hostPort"], at / "hostPort")
        protocol = port.get("protocol") or ""
        if not protocol:
            problems.append(required(at / "protocol"))
        elif protocol not in PROTOCOLS:
            problems.append(not_supported(at / "protocol", protocol, PROTOCOLS))
    return problems


def host_network_ports(containers: Sequence[Object], path: Path, *, pod: bool) -> list[FieldError]:
    """On the host's network the two ports are one; templates may leave the host port to the pod's defaults."""
    problems: list[FieldError] = []
    for index, container in enumerate(containers):
        for number, port in enumerate(container.get("ports") or ()):
            host, own = port.get("hostPort") or 0, port.get("containerPort") or 0
            if (pod or host) and host != own:
                at = path / index / "ports" / number / "hostPort"
                text = "must match `containerPort` when `hostNetwork` is true"
                problems.append(invalid(at, host, text))
    return problems


def host_port_conflicts(containers: Sequence[Object], path: Path) -> list[FieldError]:
    """One pod cannot ask for the same host port twice."""
    problems: list[FieldError] = []
    taken: set[str] = set()
    for index, container in enumerate(containers):
        for number, port in enumerate(container.get("ports") or ()):
            if port.get("hostPort"):
                key = f"{port.get('protocol')}/{port.get('hostIP', '')}/{port['hostPort']}"
                if key in taken:
                    problems.append(duplicate(path / index / "ports" / number / "hostPort", key))
                taken.add(key)
    return problems


_ENV_NAME = re.compile(r"[\x20-\x3c\x3e-\x7e]+")


def _env_name_problems(name: str) -> list[str]:
    if _ENV_NAME.fullmatch(name):
        return []
    return [
        "a valid environment variable name must consist only of printable ASCII characters other than '='"
    ]


_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")


def env_problems(variables: Sequence[Object], path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for index, variable in enumerate(variables):
        at = path / index
        name = variable.get("name") or ""
        if not name:
            problems.append(required(at / "name"))
        else:
            problems += [invalid(at / "name", name, text) for text in _env_name_problems(name)]
        if variable.get("valueFrom") is not None:
            problems += _env_source_problems(variable, at / "valueFrom")
    return problems


def _env_source_problems(variable: Object, path: Path) -> list[FieldError]:
    source = variable["valueFrom"]
    given = [one for one in _SOURCES if source.get(one) is not None]
    problems: list[FieldError] = []
    if "fieldRef" in given:
        problems += field_ref_problems(source["fieldRef"], path / "fieldRef", ENV_FIELDS)
    if "resourceFieldRef" in given:
        at = path / "resourceFieldRef"
        problems += resource_ref_problems(source["resourceFieldRef"], at, container_needed=False)
    for one in ("configMapKeyRef", "secretKeyRef"):
        if one in given:
            problems += _key_ref_problems(source[one], path / one)
    if not given:
        listed = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        problems.append(invalid(path, "", f"must specify one of: {listed}"))
    elif variable.get("value"):
        problems.append(invalid(path, "", "may not be specified when `value` is not empty"))
    elif len(given) > 1:
        problems.append(invalid(path, "", "may not have more than one field specified at a time"))
    return problems


def _key_ref_problems(reference: Object, path: Path) -> list[FieldError]:
    key = reference.get("key") or ""
    if not key:
        return [required(path / "key")]
    return [invalid(path / "key", key, text) for text in validation.config_map_key_problems(key)]


def field_ref_problems(reference: Object, path: Path, allowed: Collection[str]) -> list[FieldError]:
    """A downward API field; `metadata.labels['x']` only where labels can be read one by one."""
    if not reference.get("apiVersion"):
        return [required(path / "apiVersion")]
    field = reference.get("fieldPath") or ""
    if not field:
        return [required(path / "fieldPath")]
    match = _SUBSCRIPT.fullmatch(field)
    if match:
        key = match.group(2)
        texts = validation.qualified_name_problems(
            key if match.group(1) == "labels" else key.lower()
        )
        return [invalid(path, key, text) for text in texts]
    if field not in _FIELD_PATHS:
        text = f"error converting fieldPath: field label not supported: {field}"
        return [invalid(path / "fieldPath", field, text)]
    if field not in allowed:
        return [not_supported(path / "fieldPath", field, sorted(allowed))]
    return []


def resource_ref_problems(
    reference: Object, path: Path, *, container_needed: bool
) -> list[FieldError]:
    if container_needed and not reference.get("containerName"):
        return [required(path / "containerName")]
    resource = reference.get("resource") or ""
    if not resource:
        return [required(path / "resource")]
    prefix = resource.partition("hugepages-")[0]
    if resource not in RESOURCE_FIELDS and prefix not in ("limits.", "requests."):
        return [not_supported(path / "resource", resource, RESOURCE_FIELDS)]
    return []


def env_from_problems(sources: Sequence[Object], path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for index, source in enumerate(sources):
        at = path / index
        if prefix := source.get("prefix"):
            problems += [
                invalid(at / "prefix", prefix, text) for text in _env_name_problems(prefix)
            ]
        given = [one for one in ("configMapRef", "secretRef") if source.get(one) is not None]
        for one in given:
            if not source[one].get("name"):
                problems.append(required(at / one / "name"))
        if not given:
            problems.append(invalid(at, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            problems.append(invalid(at, "", "may not have more than one field specified at a time"))
    return problems


def mount_problems(container: Object, path: Path, volumes: Volumes) -> list[FieldError]:
    problems: list[FieldError] = []
    points: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        at = path / "volumeMounts" / index
        name = mount.get("name") or ""
        if not name:
            problems.append(required(at / "name"))
        elif name not in volumes.names:
            problems.append(not_found_field(at / "name", name))
        point = mount.get("mountPath") or ""
        if not point:
            problems.append(required(at / "mountPath"))
        if point in points:
            problems.append(invalid(at / "mountPath", point, "must be unique"))
        points.add(point)
        problems += _sub_path_problems(mount, at)
        problems += _propagation_problems(mount, container, at)
        problems += _recursive_read_only_problems(mount, at)
    problems += _device_problems(container, path, volumes, points)
    return problems


def _sub_path_problems(mount: Object, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for field in ("subPath", "subPathExpr"):
        value = mount.get(field) or ""
        if value:
            if value.startswith("/"):
                problems.append(invalid(at / field, value, "must be a relative path"))
            if ".." in value.split("/"):
                problems.append(invalid(at / field, value, "must not contain '..'"))
    if mount.get("subPath") and mount.get("subPathExpr"):
        text = "subPathExpr and subPath are mutually exclusive"
        problems.append(invalid(at / "subPathExpr", mount["subPathExpr"], text))
    return problems


def _propagation_problems(mount: Object, container: Object, at: Path) -> list[FieldError]:
    mode = mount.get("mountPropagation")
    if mode is None:
        return []
    supported = ("Bidirectional", "HostToContainer", "None")
    if mode not in supported:
        return [not_supported(at / "mountPropagation", mode, supported)]
    privileged = (container.get("securityContext") or {}).get("privileged")
    if mode == "Bidirectional" and not privileged:
        text = "Bidirectional mount propagation is available only to privileged containers"
        return [forbidden(at / "mountPropagation", text)]
    return []


def _recursive_read_only_problems(mount: Object, at: Path) -> list[FieldError]:
    mode = mount.get("recursiveReadOnly")
    if mode is None or mode == "Disabled":
        return []
    supported = ("Disabled", "Enabled", "IfPossible")
    if mode not in supported:
        return [not_supported(at / "recursiveReadOnly", mode, supported)]
    problems: list[FieldError] = []
    if not mount.get("readOnly"):
        problems.append(
            forbidden(at / "recursiveReadOnly", "may only be specified when readOnly is true")
        )
    if mount.get("mountPropagation") not in (None, "None"):
        text = "may only be specified when mountPropagation is None or not specified"
        problems.append(forbidden(at / "recursiveReadOnly", text))
    return problems


def _device_problems(
    container: Object, path: Path, volumes: Volumes, points: set[str]
) -> list[FieldError]:
    problems: list[FieldError] = []
    names: set[str] = set()
    for index, device in enumerate(container.get("volumeDevices") or ()):
        at = path / "volumeDevices" / index
        name, point = device.get("name") or "", device.get("devicePath") or ""
        if not name:
            problems.append(required(at / "name"))
        elif name in names:
            problems.append(invalid(at / "name", name, "must be unique"))
        elif name not in volumes.names:
            problems.append(not_found_field(at / "name", name))
        elif name not in volumes.claims:
            text = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            problems.append(invalid(at / "name", name, text))
        names.add(name)
        if not point:
            problems.append(required(at / "devicePath"))
        elif point in points:
            problems.append(
                invalid(
                    at / "devicePath", point, "must not already exist as a path in volumeMounts"
                )
            )
    return problems


def _amount_problems(
    amount: Any, path: Path
) -> tuple[quantities.Quantity | None, list[FieldError]]:
    try:
        quantity = quantities.parse(amount)
    except (quantities.QuantityError, TypeError) as error:
        return None, [invalid(path, amount, str(error))]
    if quantity < quantities.ZERO:
        return quantity, [invalid(path, str(amount), "must be greater than or equal to 0")]
    return quantity, []


def amount_problems(amount: Any, path: Path) -> list[FieldError]:
    """A resource amount: a quantity, not negative."""
    return _amount_problems(amount, path)[1]


def resource_name_problems(name: str, path: Path, *, container: bool = True) -> list[FieldError]:
    """`cpu`, `memory`, `hugepages-2Mi`, `example.com/gpu` (validateContainerResourceName)."""
    problems = [invalid(path, name, text) for text in validation.qualified_name_problems(name)]
    if problems:
        return problems
    if "/" not in name:
        if name not in STANDARD_RESOURCES and not name.startswith("hugepages-"):
            return [invalid(path, name, "must be a standard resource for containers")]
    elif container and not _extended(name):
        return [invalid(path, name, "doesn't follow extended resource name standard")]
    return []


def _extended(name: str) -> bool:
    return "kubernetes.io/" not in name and not name.startswith("requests.")


def resource_problems(resources: Object, path: Path) -> list[FieldError]:
    """Limits and requests: names, amounts, and requests within limits (ValidateResourceRequirements)."""
    problems: list[FieldError] = []
    limits: dict[str, quantities.Quantity] = {}
    for name, amount in (resources.get("limits") or {}).items():
        at = (path / "limits").key(name)
        problems += resource_name_problems(name, at)
        quantity, more = _amount_problems(amount, at)
        problems += more + _whole_problems(name, quantity, amount, at)
        if quantity is not None:
            limits[name] = quantity
    for name, amount in (resources.get("requests") or {}).items():
        at = (path / "requests").key(name)
        problems += resource_name_problems(name, at)
        quantity, more = _amount_problems(amount, at)
        problems += more + _whole_problems(name, quantity, amount, at)
        if quantity is None:
            continue
        problems += _within_limit(
            name, quantity, limits.get(name), path / "requests", path / "limits"
        )
    return problems


def _within_limit(
    name: str,
    request: quantities.Quantity,
    limit: quantities.Quantity | None,
    path: Path,
    limits_path: Path,
) -> list[FieldError]:
    overcommit = name in STANDARD_RESOURCES
    if limit is not None:
        if not overcommit and request != limit:
            return [invalid(path, str(request), f"must be equal to {name} limit of {limit}")]
        if overcommit and request > limit:
            text = f"must be less than or equal to {name} limit of {limit}"
            return [invalid(path, str(request), text)]
    elif not overcommit:
        text = "Limit must be set for non overcommitable resources"
        return [required(limits_path, text)]
    return []


def _whole_problems(
    name: str, quantity: quantities.Quantity | None, amount: Any, path: Path
) -> list[FieldError]:
    if quantity is not None and "/" in name and quantity.value.denominator != 1:
        return [invalid(path, str(amount), "must be an integer")]
    return []


def probe_problems(container: Object, path: Path, *, grace: int | None = None) -> list[FieldError]:
    """Liveness, readiness and startup probes and the lifecycle of a main (or sidecar) container."""
    problems = _lifecycle_problems(container.get("lifecycle"), path / "lifecycle")
    for field in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(field)
        if probe is not None:
            problems += _probe_problems(probe, path / field, readiness=field == "readinessProbe")
    return problems


def _probe_problems(probe: Object, path: Path, *, readiness: bool) -> list[FieldError]:
    problems = handler_problems(probe, path, kinds=("exec", "httpGet", "tcpSocket", "grpc"))
    for field in (
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ):
        problems += validation.non_negative(probe.get(field), path / field)
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and readiness:
        text = "must not be set for readinessProbes"
        problems.append(invalid(path / "terminationGracePeriodSeconds", grace, text))
    elif grace is not None and grace <= 0:
        text = "must be greater than 0"
        problems.append(invalid(path / "terminationGracePeriodSeconds", grace, text))
    if not readiness and probe.get("successThreshold", 1) != 1:
        problems.append(invalid(path / "successThreshold", probe["successThreshold"], "must be 1"))
    return problems


def _lifecycle_problems(lifecycle: Object | None, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for hook in ("postStart", "preStop"):
        if lifecycle and lifecycle.get(hook) is not None:
            kinds = ("exec", "httpGet", "tcpSocket", "sleep")
            problems += handler_problems(lifecycle[hook], path / hook, kinds=kinds)
    return problems


def handler_problems(handler: Object, path: Path, *, kinds: Sequence[str]) -> list[FieldError]:
    problems: list[FieldError] = []
    seen = 0
    for kind in kinds:
        if handler.get(kind) is None:
            continue
        if seen:
            problems.append(forbidden(path / kind, "may not specify more than 1 handler type"))
        else:
            problems += _HANDLERS[kind](handler[kind], path / kind)
        seen += 1
    if not seen:
        problems.append(required(path, "must specify a handler type"))
    return problems


def _exec_problems(action: Object, path: Path) -> list[FieldError]:
    return [] if action.get("command") else [required(path / "command")]


def _http_problems(action: Object, path: Path) -> list[FieldError]:
    problems = [] if action.get("path") else [required(path / "path")]
    problems += port_or_name_problems(action.get("port"), path / "port")
    if action.get("scheme") not in ("HTTP", "HTTPS"):
        problems.append(
            not_supported(path / "scheme", action.get("scheme") or "", ("HTTP", "HTTPS"))
        )
    for header in action.get("httpHeaders") or ():
        name = header.get("name") or ""
        if not re.fullmatch(r"[-A-Za-z0-9]+", name):
            text = (
                "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', "
                "regex used for validation is '[-A-Za-z0-9]+')"
            )
            problems.append(invalid(path / "httpHeaders", name, text))
    return problems


def port_or_name_problems(port: Any, path: Path) -> list[FieldError]:
    if isinstance(port, str):
        return [invalid(path, port, text) for text in validation.port_name_problems(port)]
    return validation.port_number(port, path)


def _tcp_problems(action: Object, path: Path) -> list[FieldError]:
    return port_or_name_problems(action.get("port"), path / "port")


def _grpc_problems(action: Object, path: Path) -> list[FieldError]:
    return validation.port_number(action.get("port"), path / "port")


def _sleep_problems(action: Object, path: Path) -> list[FieldError]:
    seconds = action.get("seconds") or 0
    if seconds < 0:
        text = "must be greater than or equal to 0 and less than terminationGracePeriodSeconds"
        return [invalid(path, seconds, text)]
    return []


_HANDLERS = {
    "exec": _exec_problems,
    "httpGet": _http_problems,
    "tcpSocket": _tcp_problems,
    "grpc": _grpc_problems,
    "sleep": _sleep_problems,
}
