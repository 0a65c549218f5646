"""Objects that every cluster has beside its roles: the default ServiceCIDR, priority classes, the server itself as
the Service `kubernetes`, and what extension API servers must know to trust us.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path

from todoku.aio import log as logs
from todoku.api import errors
from todoku.api.meta import Object, copy
from todoku.apiserver.allocators.addresses import service_cidr_object
from todoku.apiserver.config import Config, Objects

log = logs.get(__name__)

_PRIORITY_CLASSES = {
    "system-cluster-critical": (
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, "
        "but can be moved to another node if necessary.",
    ),
    "system-node-critical": (
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
}


def bootstrap(config: Config) -> list[Object]:
    """Objects created at start if they are absent."""
    return [service_cidr_object(config.service_cidrs), *_priority_classes()]


def _priority_classes() -> list[Object]:
    return [
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
            "description": description,
        }
        for name, (value, description) in _PRIORITY_CLASSES.items()
    ]


async def publish(config: Config, objects: Objects) -> None:
    """Write what depends on this server's own address and certificates, replacing what an earlier one wrote."""
    wanted = [("configmaps", _extension_authentication(config))]
    if config.advertise_address:
        wanted += _kubernetes_endpoints(config)
    if objects.get("services", "kubernetes", "default") is None:
        await objects.create("services", _kubernetes_service(config))
    for resource, obj in wanted:
        await _ensure(objects, resource, obj)


async def keep(config: Config, objects: Objects) -> None:
    """Publish again and again what somebody took away, as upstream's kubernetesservice controller does."""
    while True:
        await asyncio.sleep(config.timings.publish_every)
        try:
            await publish(config, objects)
        except errors.ApiError as error:
            log.warning("The Service kubernetes cannot be kept", error=error)


async def _ensure(objects: Objects, resource: str, wanted: Object) -> None:
    metadata = wanted["metadata"]
    current = objects.get(resource, metadata["name"], metadata.get("namespace", ""))
    if current is None:
        await objects.create(resource, wanted)
        return
    changed = {key: value for key, value in wanted.items() if key not in ("metadata",)}
    if all(current.get(key) == value for key, value in changed.items()):
        return
    try:
        await objects.update(resource, copy(current) | changed)
    except errors.Conflict:  # another server of the same store was faster, with the same intent
        return


def _kubernetes_service(config: Config) -> Object:
    network = ipaddress.ip_network(config.service_cidrs[0])
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": str(network.network_address + 1),
            "ports": [
                {
                    "name": "https",
                    "protocol": "TCP",
                    "port": 443,
                    "targetPort": config.advertise_port,
                }
            ],
        },
    }


def _kubernetes_endpoints(config: Config) -> list[tuple[str, Object]]:
    address, port = config.advertise_address, config.advertise_port
    family = f"IPv{ipaddress.ip_address(address).version}"
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    endpoints = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{"addresses": [{"ip": address}], "ports": ports}],
    }
    endpoint_slice = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": family,
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": ports,
    }
    return [("endpoints", endpoints), ("endpointslices.discovery.k8s.io", endpoint_slice)]


def _extension_authentication(config: Config) -> Object:
    """What an aggregated API server reads to verify client certificates and our front-proxy headers."""
    data: dict[str, str] = {}
    if config.client_ca_file:
        data["client-ca-file"] = Path(config.client_ca_file).read_text()
    if config.requestheader_ca_file:
        data |= {
            "requestheader-client-ca-file": Path(config.requestheader_ca_file).read_text(),
            "requestheader-allowed-names": _listed(config.requestheader_allowed_names),
            "requestheader-username-headers": _listed(["X-Remote-User"]),
            "requestheader-uid-headers": _listed(["X-Remote-Uid"]),
            "requestheader-group-headers": _listed(["X-Remote-Group"]),
            "requestheader-extra-headers-prefix": _listed(["X-Remote-Extra-"]),
        }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": data,
    }


def _listed(values: Sequence[str]) -> str:
    return json.dumps(list(values), separators=(",", ":"))
