"""Which addresses stand behind a Service: pods to endpoints.  Pure; shared by slices and Endpoints."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache

from todoku.api import times
from todoku.api.meta import Object
from todoku.controllers import pods
from todoku.controllers.controller import deleting

TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
HEADLESS = "service.kubernetes.io/headless"
ZONE = "topology.kubernetes.io/zone"


def has_endpoints(service: Object) -> bool:
    """Whether its endpoints come from a selector."""
    spec = service["spec"]
    return bool(spec.get("selector")) and spec.get("type") != "ExternalName"


def address_types(service: Object) -> list[str]:
    """IPv4 and/or IPv6, the primary first."""
    families = service["spec"].get("ipFamilies")
    if families:
        return list(families)
    cluster_ip = service["spec"].get("clusterIP") or ""
    return ["IPv6"] if ":" in cluster_ip else ["IPv4"]


def is_headless(service: Object) -> bool:
    return service["spec"].get("clusterIP") in ("None", "", None)


def member(pod: Object) -> bool:
    """Not finished and with an address; a pod being deleted still counts (as terminating)."""
    return not pods.is_terminal(pod) and bool((pod.get("status") or {}).get("podIP"))


def address(pod: Object, family: str) -> str:
    """The pod's address of a family, in canonical form; "" if it has none."""
    status = pod.get("status") or {}
    listed = [one["ip"] for one in status.get("podIPs") or () if one.get("ip")]
    for text in listed or [status.get("podIP", "")]:
        if text and ("IPv6" if ":" in text else "IPv4") == family:
            return canonical(text)
    return ""


@lru_cache(maxsize=8192)
def canonical(text: str) -> str:
    return str(ipaddress.ip_address(text))


@lru_cache(maxsize=8192)
def number(text: str) -> int:
    """An address as a number, to sort by."""
    return int(ipaddress.ip_address(text))


def ports(service: Object, pod: Object) -> list[Object]:
    """The Service's ports as this pod serves them; named targets it does not have are left out."""
    found: list[Object] = []
    for port in service["spec"].get("ports") or ():
        number = target(port, pod)
        if number is None:
            continue
        one: Object = {
            "name": port.get("name", ""),
            "port": number,
            "protocol": port.get("protocol", "TCP"),
        }
        if port.get("appProtocol"):
            one["appProtocol"] = port["appProtocol"]
        found.append(one)
    return found


def target(port: Object, pod: Object) -> int | None:
    """The port number on the pod: `targetPort`, by name over its long-running containers."""
    wanted = port.get("targetPort")
    if wanted in (None, "", 0):
        return int(port["port"])
    if isinstance(wanted, int):
        return wanted
    protocol = port.get("protocol", "TCP")
    spec = pod["spec"]
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in [*(spec.get("containers") or ()), *sidecars]:
        for one in container.get("ports") or ():
            if one.get("name") == wanted and one.get("protocol", "TCP") == protocol:
                return int(one["containerPort"])
    return None


def endpoint(service: Object, pod: Object, family: str, nodes: Mapping[str, Object]) -> Object:
    """One discovery.k8s.io/v1 Endpoint."""
    serving, terminating = pods.is_ready(pod), deleting(pod)
    always = bool(service["spec"].get("publishNotReadyAddresses"))
    found: Object = {
        "addresses": [address(pod, family)],
        "conditions": {
            "ready": always or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": target_reference(pod),
    }
    node_name = pod["spec"].get("nodeName")
    if node_name:
        found["nodeName"] = node_name
        zone = ((nodes.get(node_name) or {}).get("metadata", {}).get("labels") or {}).get(ZONE)
        if zone:
            found["zone"] = zone
    if pod["spec"].get("hostname") and pod["spec"].get("subdomain") == service["metadata"]["name"]:
        found["hostname"] = pod["spec"]["hostname"]
    return _with_hints(service, found)


def _with_hints(service: Object, found: Object) -> Object:
    """trafficDistribution: each ready endpoint serves its own zone, or node."""
    wish = service["spec"].get("trafficDistribution")
    if (
        wish not in ("PreferClose", "PreferSameZone", "PreferSameNode")
        or not found["conditions"]["ready"]
    ):
        return found
    hints: Object = {}
    if found.get("zone"):
        hints["forZones"] = [{"name": found["zone"]}]
    if wish == "PreferSameNode" and found.get("nodeName"):
        hints["forNodes"] = [{"name": found["nodeName"]}]
    return found | {"hints": hints} if hints else found


def target_reference(pod: Object) -> Object:
    meta = pod["metadata"]
    return {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}


def trigger_time(service: Object, members: Sequence[Object], *, since: float) -> str:
    """When the earliest change happened that was not yet published; "" if none is newer than `since`."""
    moments = [pods.ready_since(pod) for pod in members]
    created = service["metadata"].get("creationTimestamp")
    moments.append(times.parse(created) if created else 0.0)
    newer = [moment for moment in moments if moment > since]
    return times.text(min(newer)) if newer else ""
