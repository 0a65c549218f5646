"""Services and EndpointSlices as wire objects, for tests of everything that reads them."""

from typing import Any

from todoku.api.meta import Object


def service(
    name: str = "web", *, ports: tuple[dict[str, Any], ...] = ({"port": 8080, "name": "http"},),
    cluster_ip: str = "10.96.0.20", ingress: tuple[dict[str, str], ...] = (), namespace: str = "default",
    labels: dict[str, str] | None = None, **spec: Any,
) -> Object:  # fmt: skip
    """A Service as the API server stores it; further keywords are fields of its spec."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": cluster_ip,
            "clusterIPs": [cluster_ip],
            "ports": [{"protocol": "TCP", **port} for port in ports],
            **spec,
        },
        "status": {"loadBalancer": {"ingress": list(ingress)}},
    }


def endpoint(
    address: str, node: str = "n1", *, zone: str = "", ready: bool | None = True,
    serving: bool | None = None, terminating: bool = False, zones: tuple[str, ...] = (),
    nodes: tuple[str, ...] = (),
) -> Object:  # fmt: skip
    made: Object = {
        "addresses": [address],
        "nodeName": node,
        "zone": zone,
        "conditions": {
            "ready": ready,
            "serving": ready if serving is None else serving,
            "terminating": terminating,
        },
    }
    if zones or nodes:
        made["hints"] = {
            "forZones": [{"name": zone} for zone in zones],
            "forNodes": [{"name": node} for node in nodes],
        }
    return made


def slice_of(
    *endpoints: Object, name: str = "web", port: int = 80, port_name: str = "http",
    protocol: str = "TCP", namespace: str = "default", suffix: str = "abcde",
    labels: dict[str, str] | None = None,
) -> Object:  # fmt: skip
    """An EndpointSlice of the Service `name`."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-{suffix}",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": name, **(labels or {})},
        },
        "addressType": "IPv4",
        "ports": [{"name": port_name, "port": port, "protocol": protocol}],
        "endpoints": list(endpoints),
    }
