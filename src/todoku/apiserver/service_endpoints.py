"""From a Service to the addresses of its ready pods, in process: the API server needs no proxy to reach them.

Webhooks, aggregated API servers and `services/proxy` dial what this finds.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from todoku.api.errors import ApiError, NotFound, ServiceUnavailable
from todoku.api.meta import Object
from todoku.apiserver.config import Objects

_SLICES = "endpointslices.discovery.k8s.io"
_SERVICE_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one ready pod answers for a Service's port."""

    host: str
    port: int


def endpoints_of(objects: Objects, namespace: str, name: str, port: str) -> list[Endpoint]:
    """The ready endpoints of a Service's port (number, name, or "" for its only one), in random order.

    Raises NotFound for the Service, ServiceUnavailable when nothing is ready or the port is unknown.
    """
    service = objects.get("services", name, namespace)
    if service is None:
        raise NotFound.of("services", name)
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return [Endpoint(str(spec.get("externalName", "")), int(port) if port.isdigit() else 443)]
    wanted = _port_of(spec, port, name)
    found = [
        one for slice_ in slices_of(objects, namespace, name) for one in _ready(slice_, wanted)
    ]
    if not found:
        raise no_endpoints(name)
    random.shuffle(found)
    return found


def no_endpoints(name: str) -> ApiError:
    return ServiceUnavailable(f'no endpoints available for service "{name}"')


def _port_of(spec: Object, asked: str, service: str) -> Object:
    ports: Sequence[Object] = spec.get("ports") or ()
    for one in ports:
        if asked in (str(one.get("port")), one.get("name")) or (not asked and len(ports) == 1):
            return one
    if asked.isdigit():
        raise ServiceUnavailable(f'no service port {asked} found for service "{service}"')
    raise no_endpoints(f"{service}:{asked}" if asked else service)


def slices_of(objects: Objects, namespace: str, name: str) -> Iterator[Object]:
    """The EndpointSlices of a Service."""
    for one in objects.list(_SLICES, namespace):
        if (one["metadata"].get("labels") or {}).get(_SERVICE_LABEL) == name:
            yield one


def _ready(endpoint_slice: Object, port: Object) -> Iterator[Endpoint]:
    """Ready endpoints of one slice for the Service port; slices name their ports as the Service does."""
    number = next(
        (
            one.get("port")
            for one in endpoint_slice.get("ports") or ()
            if (one.get("name") or "") == (port.get("name") or "")
            and one.get("protocol", "TCP") == port.get("protocol", "TCP")
        ),
        None,
    )
    if not number:
        return
    for endpoint in endpoint_slice.get("endpoints") or ():
        if (endpoint.get("conditions") or {}).get("ready") is False:
            continue
        for address in (endpoint.get("addresses") or ())[:1]:
            yield Endpoint(address, int(number))
