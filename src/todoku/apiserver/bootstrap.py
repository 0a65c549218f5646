"""What a new cluster has from the first moment: namespaces, the `kubernetes` Service, priorities, flow control."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from pathlib import Path

from todoku.api import errors
from todoku.api.meta import Object, gvk_of
from todoku.apiserver.config import Config
from todoku.apiserver.context import Engine
from todoku.apiserver.flow_control import flow_control_objects
from todoku.apiserver.objects import EngineObjects

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_PRIORITIES = {
    "system-cluster-critical": (
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    "system-node-critical": (
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
}


async def ensure(engine: Engine) -> None:
    """Create what is missing; what is there stays, but for the address at which this server is reached."""
    objects = EngineObjects.of(engine)
    config = engine.config
    await _create_missing(objects, (_namespace(name) for name in NAMESPACES))
    await _create_missing(objects, engine.components.bootstrap)
    await _create_missing(objects, _priority_classes())
    await _create_missing(objects, flow_control_objects())
    await _create_missing(objects, _service_cidr(config))
    await _create_missing(objects, _kubernetes_service(config))
    for obj in _endpoints(config):
        await _publish(objects, obj)
    if config.client_ca_file or config.requestheader_ca_file:
        await _publish(objects, extension_authentication(config))


async def _create_missing(objects: EngineObjects, wanted: Iterable[Object]) -> None:
    for obj in wanted:
        name = _resource_of(objects, obj)
        metadata = obj["metadata"]
        if objects.get(name, metadata["name"], metadata.get("namespace", "")) is None:
            try:
                await objects.create(name, obj)
            except errors.AlreadyExists:
                continue


async def _publish(objects: EngineObjects, obj: Object) -> None:
    """Create or replace."""
    name = _resource_of(objects, obj)
    metadata = obj["metadata"]
    if objects.get(name, metadata["name"], metadata.get("namespace", "")) is None:
        await objects.create(name, obj)
    else:
        await objects.update(name, obj)


def _resource_of(objects: EngineObjects, obj: Object) -> str:
    served = objects.engine.catalog.by_kind(gvk_of(obj))
    if served is None:
        raise ValueError(f"bootstrap object of an unknown kind: {gvk_of(obj)}")
    return served.name


def _object(
    api_version: str, kind: str, name: str, namespace: str = "", **fields: object
) -> Object:
    metadata: Object = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    return {"kind": kind, "apiVersion": api_version, "metadata": metadata, **fields}


def _namespace(name: str) -> Object:
    obj = _object("v1", "Namespace", name)
    obj["metadata"]["labels"] = {"kubernetes.io/metadata.name": name}
    return obj


def _priority_classes() -> Iterator[Object]:
    for name, (value, description) in _PRIORITIES.items():
        yield _object(
            "scheduling.k8s.io/v1", "PriorityClass", name, value=value, description=description
        )


def _service_cidr(config: Config) -> Iterator[Object]:
    cidrs = list(config.service_cidrs)
    yield _object("networking.k8s.io/v1", "ServiceCIDR", "kubernetes", spec={"cidrs": cidrs})


def service_address(config: Config) -> str:
    """The first address of the first service CIDR: the `kubernetes` Service's."""
    return str(ipaddress.ip_network(config.service_cidrs[0])[1])


def _kubernetes_service(config: Config) -> Iterator[Object]:
    address = service_address(config)
    family = f"IPv{ipaddress.ip_address(address).version}"
    port = {
        "name": "https",
        "protocol": "TCP",
        "port": 443,
        "targetPort": config.advertise_port,
    }
    obj = _object(
        "v1",
        "Service",
        "kubernetes",
        "default",
        spec={
            "type": "ClusterIP",
            "clusterIP": address,
            "clusterIPs": [address],
            "ipFamilies": [family],
            "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None",
            "ports": [port],
        },
    )
    obj["metadata"]["labels"] = {"component": "apiserver", "provider": "kubernetes"}
    yield obj


def _endpoints(config: Config) -> Iterator[Object]:
    """Where this server is reached; loopback addresses are of no use to pods and not published."""
    text = config.advertise_address
    if not text or ipaddress.ip_address(text).is_loopback:
        return
    port = {"name": "https", "port": config.advertise_port, "protocol": "TCP"}
    subsets = [{"addresses": [{"ip": text}], "ports": [port]}]
    endpoints = _object("v1", "Endpoints", "kubernetes", "default", subsets=subsets)
    endpoints["metadata"]["labels"] = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    yield endpoints
    slice_ = _object(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        "kubernetes",
        "default",
        addressType=f"IPv{ipaddress.ip_address(text).version}",
        endpoints=[{"addresses": [text], "conditions": {"ready": True}}],
        ports=[port],
    )
    slice_["metadata"]["labels"] = {"kubernetes.io/service-name": "kubernetes"}
    yield slice_


def extension_authentication(config: Config) -> Object:
    """The ConfigMap from which extension API servers learn whom to trust."""
    data: dict[str, str] = {}
    if config.client_ca_file:
        data["client-ca-file"] = Path(config.client_ca_file).read_text()
    if config.requestheader_ca_file:
        names = ",".join(f'"{name}"' for name in config.requestheader_allowed_names)
        data |= {
            "requestheader-client-ca-file": Path(config.requestheader_ca_file).read_text(),
            "requestheader-allowed-names": f"[{names}]",
            "requestheader-username-headers": '["X-Remote-User"]',
            "requestheader-group-headers": '["X-Remote-Group"]',
            "requestheader-uid-headers": '["X-Remote-Uid"]',
            "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
        }
    return _object(
        "v1", "ConfigMap", "extension-apiserver-authentication", "kube-system", data=data
    )
