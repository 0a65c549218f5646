"""A container's environment, command and arguments; pure.

Order as upstream: services, envFrom, env; `$(NAME)` refers to what was defined before, `$$` is a dollar.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from todoku.api import quantities
from todoku.api.images import ImageConfig
from todoku.api.meta import Object

T = TypeVar("T")

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")
_PATH = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


class ConfigError(Exception):
    """A container cannot be configured: CreateContainerConfigError with this message."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What references may point at.

    `config_maps`, `config_map_bytes` (with binaryData) and `secrets` map names to data, None when missing.
    """

    pod: Object
    pod_ips: Sequence[str] = ()
    host_ips: Sequence[str] = ()
    node_allocatable: Mapping[str, str] = field(default_factory=dict)
    config_maps: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict)
    config_map_bytes: Mapping[str, Mapping[str, bytes] | None] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, bytes] | None] = field(default_factory=dict)
    services: Sequence[Object] = ()


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` becomes its value if there is one, `$$(NAME)` the text `$(NAME)`."""

    def one(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return variables.get(match[2], match[0])

    return _REFERENCE.sub(one, text)


def environment(spec: Object, facts: Facts) -> dict[str, str]:
    """The variables of a container.  Raises ConfigError naming the missing ConfigMap, Secret or key."""
    services = _service_variables(facts)
    result: dict[str, str] = {}
    for source in spec.get("envFrom") or ():
        result |= _from_source(source, facts)
    earlier = dict(result)
    for variable in spec.get("env") or ():
        name = variable["name"]
        if variable.get("valueFrom"):
            value = _value_from(variable["valueFrom"], spec, facts)
            if value is None:
                continue
        else:
            value = expand(variable.get("value") or "", {**services, **earlier})
        result[name] = earlier[name] = value
    return services | result


def references(spec: Object) -> tuple[set[str], set[str]]:
    """The names of the (ConfigMaps, Secrets) that the container's variables come from."""
    maps: set[str] = set()
    secrets: set[str] = set()
    for source in spec.get("envFrom") or ():
        if source.get("configMapRef"):
            maps.add(source["configMapRef"]["name"])
        if source.get("secretRef"):
            secrets.add(source["secretRef"]["name"])
    for variable in spec.get("env") or ():
        value = variable.get("valueFrom") or {}
        if value.get("configMapKeyRef"):
            maps.add(value["configMapKeyRef"]["name"])
        if value.get("secretKeyRef"):
            secrets.add(value["secretKeyRef"]["name"])
    return maps, secrets


def command(spec: Object, image: ImageConfig, variables: Mapping[str, str]) -> list[str]:
    """What runs: the spec's command and args before the image's entry point and command."""
    given, arguments = spec.get("command") or [], spec.get("args") or []
    head = [expand(one, variables) for one in given] or list(image.entrypoint)
    tail = [expand(one, variables) for one in arguments]
    if not given and not arguments:
        tail = list(image.cmd)
    if not head and not tail:
        raise ConfigError("no command specified")
    return head + tail


def field_value(path: str, facts: Facts) -> str:
    """A downward API field of the pod.  Raises ConfigError for one that does not exist."""
    metadata, spec = facts.pod["metadata"], facts.pod["spec"]
    match = _PATH.fullmatch(path)
    if match:
        return str((metadata.get(match[1]) or {}).get(match[2], ""))
    simple: dict[str, Callable[[], Any]] = {
        "metadata.name": lambda: metadata["name"],
        "metadata.namespace": lambda: metadata["namespace"],
        "metadata.uid": lambda: metadata["uid"],
        "metadata.labels": lambda: _listing(metadata.get("labels") or {}),
        "metadata.annotations": lambda: _listing(metadata.get("annotations") or {}),
        "spec.nodeName": lambda: spec.get("nodeName", ""),
        "spec.serviceAccountName": lambda: spec.get("serviceAccountName", ""),
        "status.hostIP": lambda: next(iter(facts.host_ips), ""),
        "status.hostIPs": lambda: ",".join(facts.host_ips),
        "status.podIP": lambda: next(iter(facts.pod_ips), ""),
        "status.podIPs": lambda: ",".join(facts.pod_ips),
    }
    if path not in simple:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return str(simple[path]())


def resource_value(reference: Object, spec: Object, facts: Facts) -> str:
    """A resourceFieldRef: limits fall back to what the node can give, requests to limits."""
    part, _, name = str(reference["resource"]).partition(".")
    resources = spec.get("resources") or {}
    value = (resources.get(part) or {}).get(name)
    if value is None and part == "requests":
        value = (resources.get("limits") or {}).get(name)
    if value is None and part == "limits":
        value = facts.node_allocatable.get(name)
    amount = quantities.parse(value if value is not None else "0").value
    divisor = quantities.parse(reference.get("divisor") or "0").value or 1
    return str(math.ceil(amount / divisor))


def container_of(reference: Object, pod: Object, default: Object | None) -> Object:
    """The container that a resourceFieldRef means."""
    name = reference.get("containerName")
    if not name:
        if default is None:
            raise ConfigError("resourceFieldRef needs a containerName in a volume")
        return default
    for one in [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ())]:
        if one["name"] == name:
            return dict(one)
    raise ConfigError(f"container {name} not found")


def _listing(pairs: Mapping[str, str]) -> str:
    """As the downward API writes labels: sorted lines `key="value"`, quoted like Go's %q."""
    return "\n".join(f"{key}={_quoted(value)}" for key, value in sorted(pairs.items()))


def _quoted(value: str) -> str:
    escaped = (
        value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    )
    return f'"{escaped}"'


def _from_source(source: Object, facts: Facts) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    if source.get("configMapRef"):
        data = _object("configmap", source["configMapRef"], facts.config_maps)
        pairs: Iterable[tuple[str, str]] = data.items()
    else:
        data_bytes = _object("secret", source["secretRef"], facts.secrets)
        pairs = ((key, value.decode(errors="replace")) for key, value in data_bytes.items())
    named = ((prefix + key, value) for key, value in sorted(pairs))
    return {key: value for key, value in named if _NAME.fullmatch(key)}


def _value_from(source: Object, spec: Object, facts: Facts) -> str | None:
    if source.get("fieldRef"):
        return field_value(source["fieldRef"]["fieldPath"], facts)
    if source.get("resourceFieldRef"):
        reference = source["resourceFieldRef"]
        return resource_value(reference, container_of(reference, facts.pod, spec), facts)
    if source.get("configMapKeyRef"):
        return _key("configmap", source["configMapKeyRef"], facts.config_maps, facts)
    if source.get("secretKeyRef"):
        value = _key("secret", source["secretKeyRef"], facts.secrets, facts)
        return None if value is None else value.decode(errors="replace")
    raise ConfigError("unsupported valueFrom")


def _object(
    kind: str, reference: Object, objects: Mapping[str, Mapping[str, T] | None]
) -> Mapping[str, T]:
    found = objects.get(reference["name"])
    if found is not None:
        return found
    if reference.get("optional"):
        return {}
    raise ConfigError(f'{kind} "{reference["name"]}" not found')


def _key(
    kind: str, reference: Object, objects: Mapping[str, Mapping[str, T] | None], facts: Facts
) -> T | None:
    data = _object(kind, reference, objects)
    if reference["key"] in data:
        return data[reference["key"]]
    if reference.get("optional"):
        return None
    kinds = {"configmap": "ConfigMap", "secret": "Secret"}
    where = f"{facts.pod['metadata']['namespace']}/{reference['name']}"
    raise ConfigError(f"couldn't find key {reference['key']} in {kinds[kind]} {where}")


def _service_variables(facts: Facts) -> dict[str, str]:
    """The variables of Docker links; the Service `kubernetes` always, others of the namespace if asked for."""
    namespace = facts.pod["metadata"]["namespace"]
    links = facts.pod["spec"].get("enableServiceLinks", True)
    variables: dict[str, str] = {}
    for service in facts.services:
        name, where = service["metadata"]["name"], service["metadata"]["namespace"]
        master = name == "kubernetes" and where == "default"
        address = service["spec"].get("clusterIP")
        if address in (None, "", "None") or not (master or (links and where == namespace)):
            continue
        variables |= _service(name, address, service["spec"].get("ports") or ())
    return variables


def _service(name: str, address: str, ports: Sequence[Object]) -> dict[str, str]:
    prefix = name.upper().replace("-", "_")
    found = {f"{prefix}_SERVICE_HOST": address}
    if not ports:
        return found
    found[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
    for port in ports:
        if port.get("name"):
            found[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(
                port["port"]
            )
    host = f"[{address}]" if ":" in address else address
    for index, port in enumerate(ports):
        protocol = port.get("protocol", "TCP")
        url = f"{protocol.lower()}://{host}:{port['port']}"
        if index == 0:
            found[f"{prefix}_PORT"] = url
        detail = f"{prefix}_PORT_{port['port']}_{protocol}"
        found |= {
            detail: url,
            f"{detail}_PROTO": protocol.lower(),
            f"{detail}_PORT": str(port["port"]),
            f"{detail}_ADDR": address,
        }
    return found
