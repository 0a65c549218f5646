"""Whether the Service behind an APIService can be asked at all, before it is.

Source: kube-aggregator, remote availability controller: the reasons and messages of the Available condition.
"""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api.meta import Object
from todoku.apiserver.config import Objects
from todoku.apiserver.service_endpoints import slices_of


class Unavailable(Exception):
    """The extension server is not there; the text is the condition's message."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def check_service(objects: Objects, api_service: Object) -> None:
    """Raises Unavailable."""
    wanted = api_service["spec"]["service"]
    namespace, name = wanted.get("namespace", ""), wanted.get("name", "")
    service = objects.get("services", name, namespace)
    if service is None:
        where = f'service/{name} in "{namespace}"'
        raise Unavailable("ServiceNotFound", f"{where} is not present")
    spec = service.get("spec") or {}
    if spec.get("type", "ClusterIP") == "ClusterIP":
        slices = list(slices_of(objects, namespace, name))
        problem = cluster_ip_problem(wanted, spec.get("ports") or (), slices)
        if problem is not None:
            raise problem


def cluster_ip_problem(
    wanted: Object, ports: Sequence[Object], slices: Sequence[Object]
) -> Unavailable | None:
    """Why a Service with a cluster address cannot answer on the port that is wanted."""
    where = f'service/{wanted.get("name")} in "{wanted.get("namespace")}"'
    number = wanted.get("port") or 443
    port = next((one for one in ports if one.get("port") == number), None)
    if port is None:
        return Unavailable("ServicePortError", f"{where} is not listening on port {number}")
    if not slices:
        return Unavailable("EndpointsNotFound", f"cannot find endpointslices for {where}")
    name = port.get("name") or ""
    if any(_is_ready(one) and _has_port(one, name) for one in slices):
        return None
    text = f'endpointslices for {where} have no addresses with port name "{name}"'
    return Unavailable("MissingEndpoints", text)


def _is_ready(endpoint_slice: Object) -> bool:
    return any(
        (one.get("conditions") or {}).get("ready") is not False
        for one in endpoint_slice.get("endpoints") or ()
    )


def _has_port(endpoint_slice: Object, name: str) -> bool:
    return any(
        (one.get("name") or "") == name and one.get("port")
        for one in endpoint_slice.get("ports") or ()
    )
