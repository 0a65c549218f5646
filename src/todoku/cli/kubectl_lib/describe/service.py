"""`describe service`."""

from __future__ import annotations

from todoku.api import selectors
from todoku.api.meta import Object
from todoku.cli.kubectl_lib.describe.document import Document
from todoku.cli.kubectl_lib.session import Session

_SHOWN_ENDPOINTS = 3


async def describe_service(session: Session, document: Document, obj: Object) -> None:
    metadata, spec = obj["metadata"], obj["spec"]
    document.field("Name", metadata["name"])
    document.field("Namespace", metadata["namespace"])
    document.mapping("Labels", metadata.get("labels"))
    document.mapping("Annotations", metadata.get("annotations"), joint=": ")
    chosen = str(selectors.from_map(spec.get("selector"))) or "<none>"
    document.field("Selector", chosen)
    document.field("Type", spec.get("type", ""))
    if spec.get("ipFamilyPolicy"):
        document.field("IP Family Policy", spec["ipFamilyPolicy"])
    document.field("IP Families", ",".join(spec.get("ipFamilies") or ()) or "<none>")
    document.field("IP", spec.get("clusterIP") or "")
    document.field("IPs", ",".join(spec.get("clusterIPs") or ()) or "<none>")
    if spec.get("externalIPs"):
        document.field("External IPs", ",".join(spec["externalIPs"]))
    if spec.get("loadBalancerIP"):
        document.field("Desired LoadBalancer IP", spec["loadBalancerIP"])
    if spec.get("externalName"):
        document.field("External Name", spec["externalName"])
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    if ingress:
        document.field("LoadBalancer Ingress", ", ".join(_ingress(one) for one in ingress))
    endpoints = await _endpoints(session, obj)
    for port in spec.get("ports") or ():
        _port(document, port, endpoints)
    document.field("Session Affinity", spec.get("sessionAffinity", "None"))
    if spec.get("externalTrafficPolicy"):
        document.field("External Traffic Policy", spec["externalTrafficPolicy"])
    if spec.get("internalTrafficPolicy"):
        document.field("Internal Traffic Policy", spec["internalTrafficPolicy"])
    if spec.get("healthCheckNodePort"):
        document.field("HealthCheck NodePort", spec["healthCheckNodePort"])
    if spec.get("loadBalancerSourceRanges"):
        document.field("LoadBalancer Source Ranges", ",".join(spec["loadBalancerSourceRanges"]))


def _ingress(one: Object) -> str:
    address = one.get("ip") or one.get("hostname") or ""
    return f"{address} ({one['ipMode']})" if one.get("ipMode") else address


def _port(document: Document, port: Object, endpoints: dict[str, list[str]] | None) -> None:
    name, protocol = port.get("name") or "<unset>", port.get("protocol", "TCP")
    document.line("Port:", name, f"{port['port']}/{protocol}")
    document.line("TargetPort:", f"{port.get('targetPort', port['port'])}/{protocol}")
    if port.get("nodePort"):
        document.line("NodePort:", name, f"{port['nodePort']}/{protocol}")
    if endpoints is None:
        document.line("Endpoints:", "<none>")
        return
    listed = endpoints.get(port.get("name") or "", [])
    more = len(listed) - _SHOWN_ENDPOINTS
    text = ",".join(listed[:_SHOWN_ENDPOINTS]) + (f" + {more} more..." if more > 0 else "")
    document.line("Endpoints:", text)


async def _endpoints(session: Session, obj: Object) -> dict[str, list[str]] | None:
    """`address:port` of every ready endpoint, by port name; None without any slice."""
    metadata = obj["metadata"]
    slices = await session.client.list(
        "endpointslices.discovery.k8s.io", metadata["namespace"],
        labels=f"kubernetes.io/service-name={metadata['name']}",
    )  # fmt: skip
    if not slices.items:
        return None
    found: dict[str, list[str]] = {}
    for one in slices.items:
        ready = [
            endpoint for endpoint in one.get("endpoints") or ()
            if (endpoint.get("conditions") or {}).get("ready") is not False
        ]  # fmt: skip
        for port in one.get("ports") or ():
            shown = found.setdefault(port.get("name") or "", [])
            for endpoint in ready:
                address = endpoint["addresses"][0]
                host = f"[{address}]" if ":" in address else address
                shown.append(f"{host}:{port.get('port', '')}")
    return found
