"""Validation of containers: what all sorts have in common, ports, mounts; the rest in modules beside this one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    too_many,
)
from todoku.api.meta import Object
from todoku.api.podspec.environment import env_from_problems, env_problems
from todoku.api.podspec.paths import backstep_problems, descending_problems
from todoku.api.podspec.resources import resize_policy_problems, resource_problems
from todoku.api.podspec.security import container_security_problems
from todoku.api.podspec.volumes import PULL_POLICIES

PROTOCOLS = ("SCTP", "TCP", "UDP")
RESTART_POLICIES = ("Always", "Never", "OnFailure")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the rules of a container take from the pod around it; `grace` in seconds, None if it is missing."""

    volumes: Mapping[str, Object]
    claims: Collection[str] = ()
    grace: int | None = None
    restart_policy: str = "Always"
    host_users: bool = True


def container_problems(container: Object, path: Path, pod: Surroundings) -> list[FieldError]:
    """What all sorts of containers have in common (validateContainerCommon)."""
    problems: list[FieldError] = []
    name = container.get("name") or ""
    if not name:
        problems.append(required(path / "name"))
    else:
        problems += [invalid(path / "name", name, text) for text in validation.dns1123_label(name)]
    if not container.get("image"):
        problems.append(required(path / "image"))
    problems += _message_policy(container, path)
    if container.get("ports"):
        problems += port_problems(container["ports"], path / "ports")
    if container.get("env"):
        problems += env_problems(container["env"], path / "env")
    if container.get("envFrom"):
        problems += env_from_problems(container["envFrom"], path / "envFrom")
    if container.get("volumeMounts") or container.get("volumeDevices"):
        problems += mount_problems(container, path / "volumeMounts", pod.volumes)
        problems += _device_problems(container, path / "volumeDevices", pod.volumes)
    problems += _pull_policy(container, path)
    resources, context = container.get("resources"), container.get("securityContext")
    if resources:
        problems += resource_problems(resources, path / "resources", pod.claims)
    if container.get("resizePolicy"):
        at = path / "resizePolicy"
        problems += resize_policy_problems(container["resizePolicy"], at, pod.restart_policy)
    if context:
        at = path / "securityContext"
        problems += container_security_problems(context, at, host_users=pod.host_users)
    return problems


def image_space_problems(container: Object, path: Path) -> list[FieldError]:
    """What templates may still have around an image, and pods may not (validateContainerOnlyForPod)."""
    image = container.get("image") or ""
    if image == image.strip():
        return []
    return [invalid(path / "image", image, "must not have leading or trailing whitespace")]


def restart_problems(container: Object, path: Path) -> list[FieldError]:
    """A container's own restartPolicy and its rules (validateContainerRestartPolicy)."""
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or ()
    problems: list[FieldError] = []
    if policy is None:
        if not rules:
            return problems
        text = "must specify restartPolicy when restart rules are used"
        problems.append(required(path / "restartPolicy", text))
    elif policy not in RESTART_POLICIES:
        problems.append(not_supported(path / "restartPolicy", policy, RESTART_POLICIES))
    if len(rules) > 20:
        problems.append(too_many(path / "restartPolicyRules", len(rules), 20))
    for index, rule in enumerate(rules):
        problems += _rule_problems(rule, path / "restartPolicyRules" / index)
    return problems


def _rule_problems(rule: Object, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    action, codes = rule.get("action") or "", rule.get("exitCodes")
    if action not in ("Restart", "RestartAllContainers"):
        supported = ("Restart", "RestartAllContainers")
        problems.append(not_supported(path / "action", action, supported))
    if codes is None:
        return [*problems, required(path / "exitCodes", "must be specified")]
    at, operator, values = (
        path / "exitCodes",
        codes.get("operator") or "",
        codes.get("values") or (),
    )
    if operator not in ("In", "NotIn"):
        problems.append(not_supported(at / "operator", operator, ("In", "NotIn")))
    if len(values) > 255:
        problems.append(too_many(at / "values", len(values), 255))
    return problems


def _message_policy(container: Object, path: Path) -> list[FieldError]:
    policy = container.get("terminationMessagePolicy") or ""
    if not policy:
        return [required(path / "terminationMessagePolicy")]
    if policy not in ("FallbackToLogsOnError", "File"):
        supported = ("File", "FallbackToLogsOnError")
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
            elif not texts:
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


def mount_problems(
    container: Object, path: Path, volumes: Mapping[str, Object]
) -> list[FieldError]:
    """Mounts; upstream's paths of what is wrong with sub-paths and propagation name the list only."""
    problems: list[FieldError] = []
    points: set[str] = set()
    devices = {
        one.get("name") or "": one.get("devicePath") for one in container.get("volumeDevices") or ()
    }
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        at, name, point = path / index, mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            problems.append(required(at / "name"))
        if name not in volumes:
            problems.append(not_found_field(at / "name", name))
        if not point:
            problems.append(required(at / "mountPath"))
        if point in points:
            problems.append(invalid(at / "mountPath", point, "must be unique"))
        points.add(point)
        if name in devices:
            text = "must not already exist in volumeDevices"
            problems.append(invalid(at / "name", name, text))
        if point in devices.values():
            text = "must not already exist as a path in volumeDevices"
            problems.append(invalid(at / "mountPath", point, text))
        problems += _sub_path_problems(mount, at, path)
        problems += _propagation_problems(mount, container, path)
        problems += _recursive_read_only_problems(mount, path)
    return problems


def _sub_path_problems(mount: Object, at: Path, path: Path) -> list[FieldError]:
    plain, expression = mount.get("subPath") or "", mount.get("subPathExpr") or ""
    problems = descending_problems(plain, path / "subPath") if plain else []
    if not expression:
        return problems
    if plain:
        text = "subPathExpr and subPath are mutually exclusive"
        problems.append(invalid(at / "subPathExpr", expression, text))
    return problems + descending_problems(expression, path / "subPathExpr")


_PROPAGATION = ("Bidirectional", "HostToContainer", "None")


def _propagation_problems(mount: Object, container: Object, at: Path) -> list[FieldError]:
    mode = mount.get("mountPropagation")
    if mode is None:
        return []
    if mode not in _PROPAGATION:
        return [not_supported(at / "mountPropagation", mode, _PROPAGATION)]
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
    container: Object, path: Path, volumes: Mapping[str, Object]
) -> list[FieldError]:
    """ValidateVolumeDevices."""
    problems: list[FieldError] = []
    names: set[str] = set()
    points: set[str] = set()
    mounts = {
        one.get("name") or "": one.get("mountPath") for one in container.get("volumeMounts") or ()
    }
    for index, device in enumerate(container.get("volumeDevices") or ()):
        at, name, point = path / index, device.get("name") or "", device.get("devicePath") or ""
        if not name:
            problems.append(required(at / "name"))
        if name in names:
            problems.append(invalid(at / "name", name, "must be unique"))
        if name not in volumes:
            problems.append(not_found_field(at / "name", name))
        elif not volumes[name].get("persistentVolumeClaim") and not volumes[name].get("ephemeral"):
            text = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            problems.append(invalid(at / "name", name, text))
        if not point:
            problems.append(required(at / "devicePath"))
        if point in points:
            problems.append(invalid(at / "devicePath", point, "must be unique"))
        if point and backstep_problems(point, at):
            text = "can not contain backsteps ('..')"
            problems.append(invalid(at / "devicePath", point, text))
        else:
            points.add(point)
        if name in mounts:
            text = "must not already exist in volumeMounts"
            problems.append(invalid(at / "name", name, text))
        if point in mounts.values():
            text = "must not already exist as a path in volumeMounts"
            problems.append(invalid(at / "devicePath", point, text))
        if name:
            names.add(name)
    return problems
