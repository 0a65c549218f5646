"""Service (core/v1): defaults, type transitions, columns; its validation is in `service_validation`."""

from __future__ import annotations

from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import AGE, NAME, keep_all_but_status
from todoku.api.resources.rules import Rules
from todoku.api.resources.service_validation import ingress_of, validate, validate_status
from todoku.api.resources.service_warnings import warnings
from todoku.api.resources.templates import labels_cell, load_balancer_addresses
from todoku.api.tables import created

EXTERNAL_TYPES = ("NodePort", "LoadBalancer")
AFFINITY_SECONDS = 10800


def needs_cluster_ip(spec: Object) -> bool:
    return spec.get("type") in ("ClusterIP", "NodePort", "LoadBalancer")


def needs_node_port(spec: Object) -> bool:
    """NodePort, and LoadBalancer unless it gave them up."""
    if spec.get("type") == "NodePort":
        return True
    return (
        spec.get("type") == "LoadBalancer"
        and spec.get("allocateLoadBalancerNodePorts") is not False
    )


def externally_accessible(spec: Object) -> bool:
    kind = spec.get("type")
    return kind in EXTERNAL_TYPES or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def needs_health_check_port(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def default(service: Object) -> None:
    """SetDefaults_Service; `spec.clusterIPs` follow `spec.clusterIP`."""
    spec = service.setdefault("spec", {})
    if not spec.get("sessionAffinity"):
        spec["sessionAffinity"] = "None"
    _default_affinity(spec)
    if not spec.get("type"):
        spec["type"] = "ClusterIP"
    for port in spec.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
        if not port.get("targetPort"):
            port["targetPort"] = port.get("port", 0)
    if externally_accessible(spec) and not spec.get("externalTrafficPolicy"):
        spec["externalTrafficPolicy"] = "Cluster"
    if spec["type"] == "ExternalName":
        spec.pop("internalTrafficPolicy", None)
    elif spec.get("internalTrafficPolicy") is None:
        spec["internalTrafficPolicy"] = "Cluster"
    if spec["type"] == "LoadBalancer":
        if spec.get("allocateLoadBalancerNodePorts") is None:
            spec["allocateLoadBalancerNodePorts"] = True
        for ingress in ingress_of(service):
            if ingress.get("ip") and not ingress.get("ipMode"):
                ingress["ipMode"] = "VIP"


def _default_affinity(spec: Object) -> None:
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    if spec["sessionAffinity"] == "ClientIP":
        config = spec.get("sessionAffinityConfig") or {}
        client = config.get("clientIP") or {}
        if client.get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}


def prepare_create(service: Object) -> None:
    service["status"] = {"loadBalancer": {}}
    normalize_cluster_ips(service["spec"], None)


def prepare_update(new: Object, old: Object) -> None:
    new["status"] = old.get("status") or {"loadBalancer": {}}
    spec, before = new["spec"], old["spec"]
    patch_allocated(spec, before)
    normalize_cluster_ips(spec, before)
    drop_type_dependent(spec, before)
    _trim_for_single_stack(spec, before)
    if spec.get("type") != "LoadBalancer" and before.get("type") == "LoadBalancer":
        new["status"] = {**new["status"], "loadBalancer": {}}


def patch_allocated(spec: Object, before: Object) -> None:
    """A manifest applied again without allocated values keeps them (patchAllocatedValues)."""
    if needs_cluster_ip(before) and needs_cluster_ip(spec):
        if not spec.get("clusterIP") and before.get("clusterIP"):
            spec["clusterIP"] = before["clusterIP"]
        if not spec.get("clusterIPs") and spec.get("clusterIP") == before.get("clusterIP"):
            spec["clusterIPs"] = list(before.get("clusterIPs") or ())
    if needs_node_port(before) and needs_node_port(spec):
        _keep_node_ports(spec, before)
    if needs_health_check_port(before) and needs_health_check_port(spec):
        kept = spec.get("healthCheckNodePort") or before.get("healthCheckNodePort")
        if kept:
            spec["healthCheckNodePort"] = kept
    if needs_cluster_ip(before) and needs_cluster_ip(spec):
        _keep_families(spec, before)


def _keep_families(spec: Object, before: Object) -> None:
    """Unset family fields are inherited; a changed policy appends or releases the second family later."""
    if spec.get("ipFamilyPolicy") is None and before.get("ipFamilyPolicy") is not None:
        spec["ipFamilyPolicy"] = before["ipFamilyPolicy"]
    if not spec.get("ipFamilies") and before.get("ipFamilies"):
        spec["ipFamilies"] = list(before["ipFamilies"])


def _keep_node_ports(spec: Object, before: Object) -> None:
    used = {port.get("nodePort") for port in spec.get("ports") or () if port.get("nodePort")}
    by_name = {port.get("name", ""): port.get("nodePort") for port in before.get("ports") or ()}
    for port in spec.get("ports") or ():
        kept = by_name.get(port.get("name", ""))
        if not port.get("nodePort") and kept and kept not in used:
            port["nodePort"] = kept
            used.add(kept)


def normalize_cluster_ips(spec: Object, before: Object | None) -> None:
    """Writers of only the singular `clusterIP` get `clusterIPs` too (NormalizeClusterIPs)."""
    if before is None:
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        return
    single, plural = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    old_single, old_plural = before.get("clusterIP") or "", before.get("clusterIPs") or []
    if single == old_single:
        return
    same_plural = plural == old_plural
    if not single and old_single and same_plural:
        spec.pop("clusterIPs", None)
    elif single and not old_single and same_plural:
        spec["clusterIPs"] = [single]
    elif single and old_single and same_plural:
        spec["clusterIPs"] = [single, *plural[1:]]


def drop_type_dependent(spec: Object, before: Object) -> None:
    """Fields of the old type that the writer did not touch go with it (dropTypeDependentFields)."""
    if needs_cluster_ip(before) and not needs_cluster_ip(spec):
        if spec.get("clusterIP") == before.get("clusterIP") and spec.get(
            "clusterIPs"
        ) == before.get("clusterIPs"):
            for field in ("clusterIP", "clusterIPs"):
                spec.pop(field, None)
        _drop_same(spec, before, "ipFamilies")
        _drop_same(spec, before, "ipFamilyPolicy")
    if _has_node_ports(before) and not _has_node_ports(spec) and not _adds_node_port(spec, before):
        for port in spec.get("ports") or ():
            port.pop("nodePort", None)
    if needs_health_check_port(before) and not needs_health_check_port(spec):
        _drop_same(spec, before, "healthCheckNodePort")
    if before.get("type") == "LoadBalancer" and spec.get("type") != "LoadBalancer":
        _drop_same(spec, before, "allocateLoadBalancerNodePorts")
        _drop_same(spec, before, "loadBalancerClass")
    if externally_accessible(before) and not externally_accessible(spec):
        _drop_same(spec, before, "externalTrafficPolicy")


def _drop_same(spec: Object, before: Object, field: str) -> None:
    if spec.get(field) == before.get(field):
        spec.pop(field, None)


def _has_node_ports(spec: Object) -> bool:
    return spec.get("type") in EXTERNAL_TYPES


def _adds_node_port(spec: Object, before: Object) -> bool:
    known = {port.get("nodePort") for port in before.get("ports") or ()}
    return any(
        port.get("nodePort") and port["nodePort"] not in known for port in spec.get("ports") or ()
    )


def _trim_for_single_stack(spec: Object, before: Object) -> None:
    """SingleStack with untouched addresses releases the second one (trimFieldsForDualStackDowngrade)."""
    if not needs_cluster_ip(spec) or spec.get("ipFamilyPolicy") != "SingleStack":
        return
    if before.get("ipFamilyPolicy") in (None, "SingleStack"):
        return
    for field in ("clusterIPs", "ipFamilies"):
        if len(spec.get(field) or ()) > 1 and spec[field] == before.get(field):
            spec[field] = spec[field][:1]


def prepare_status(new: Object, old: Object) -> None:
    keep_all_but_status(new, old)
    for ingress in ingress_of(new):
        if ingress.get("ip") and not ingress.get("ipMode"):
            ingress["ipMode"] = "VIP"


def _external_ip(service: Object) -> str:
    spec = service["spec"]
    kind = spec.get("type")
    external = spec.get("externalIPs") or []
    if kind == "ExternalName":
        return str(spec.get("externalName", ""))
    if kind == "LoadBalancer":
        listed = [*load_balancer_addresses(ingress_of(service)), *external]
        return ",".join(listed) or "<pending>"
    return ",".join(external) or "<none>"


def _port(port: Object) -> str:
    node = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}"


def row(service: Object) -> list[object]:
    spec = service["spec"]
    addresses = spec.get("clusterIPs") or []
    internal = addresses[0] if addresses else spec.get("clusterIP") or "<none>"
    return [
        service["metadata"]["name"],
        spec.get("type", ""),
        internal,
        _external_ip(service),
        ",".join(_port(port) for port in spec.get("ports") or ()) or "<none>",
        created(service),
        labels_cell(spec.get("selector")),
    ]


def _selectable(service: Object) -> dict[str, str]:
    spec = service.get("spec") or {}
    return {"spec.clusterIP": spec.get("clusterIP", ""), "spec.type": spec.get("type", "")}


SERVICE = Rules(
    strategy=Strategy(
        default=default,
        prepare_create=prepare_create,
        prepare_update=prepare_update,
        prepare_status=prepare_status,
        validate=validate,
        validate_status=validate_status,
        warnings=warnings,
        selectable_fields=_selectable,
        selectable_field_names=("spec.clusterIP", "spec.type"),
        has_generation=False,
        delete_returns_object=True,
    ),
    columns=(
        NAME,
        Column(name="Type", documents="core.v1.ServiceSpec.type"),
        Column(name="Cluster-IP", documents="core.v1.ServiceSpec.clusterIP"),
        Column(name="External-IP", documents="core.v1.ServiceSpec.externalIPs"),
        Column(name="Port(s)", documents="core.v1.ServiceSpec.ports"),
        AGE,
        Column(name="Selector", priority=1, documents="core.v1.ServiceSpec.selector"),
    ),
    row=row,
)
