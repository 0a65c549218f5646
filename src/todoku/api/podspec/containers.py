"""Validation of containers: what all sorts have in common, ports, mounts; the rest in modules beside this one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from todoku.api import validation
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
from todoku.api.podspec.environment import env_from_problems, env_problems
from todoku.api.podspec.resources import resource_problems
from todoku.api.podspec.security import container_security_problems

PROTOCOLS = ("SCTP", "TCP", "UDP")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")


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
