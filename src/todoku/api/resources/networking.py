"""Ingress, IngressClass, NetworkPolicy, ServiceCIDR and IPAddress (networking.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import AGE, NAME, clear_status, keep_all_but_status, keep_status
from todoku.api.resources.ingress_validation import (
    class_problems,
    ingress_problems,
    status_problems,
    warnings,
)
from todoku.api.resources.network_validation import (
    address_problems,
    cidr_problems,
    policy_problems,
    policy_warnings,
)
from todoku.api.resources.rules import Rules
from todoku.api.resources.templates import load_balancer_addresses, selector_cell
from todoku.api.tables import created


def _ingress_address(obj: Object) -> str:
    found = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return ",".join(load_balancer_addresses(found))


def _hosts(rules: Sequence[Object]) -> str:
    """Three hosts; of a rule after the third it is only said that there are more, host or not."""
    shown: list[str] = []
    more = False
    for rule in rules:
        more = more or len(shown) == 3
        if rule.get("host") and not more:
            shown.append(rule["host"])
    return (",".join(shown) or "*") + (f" + {len(rules) - 3} more..." if more else "")


def _ingress_row(obj: Object) -> list[object]:
    spec = obj.get("spec") or {}
    return [
        obj["metadata"]["name"],
        spec.get("ingressClassName") or "<none>",
        _hosts(spec.get("rules") or ()),
        _ingress_address(obj),
        "80, 443" if spec.get("tls") else "80",
        created(obj),
    ]


def _no_status(obj: Object) -> None:
    obj["status"] = {"loadBalancer": {}}


INGRESS = Rules(
    strategy=Strategy(
        prepare_create=_no_status,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=ingress_problems,
        validate_status=status_problems,
        warnings=warnings,
    ),
    columns=(
        NAME,
        Column(
            name="Class",
            description="The name of the IngressClass resource that should be used for additional configuration",
        ),
        Column(
            name="Hosts",
            description="Hosts that incoming requests are matched against before the ingress rule",
        ),
        Column(
            name="Address",
            description="Address is a list containing ingress points for the load-balancer",
        ),
        Column(name="Ports", description="Ports of TLS configurations that open"),
        AGE,
    ),
    row=_ingress_row,
)


def _default_class(obj: Object) -> None:
    parameters = (obj.get("spec") or {}).get("parameters")
    if parameters is not None and parameters.get("scope") is None:
        parameters["scope"] = "Cluster"


def _class_row(obj: Object) -> list[object]:
    spec = obj.get("spec") or {}
    parameters = spec.get("parameters")
    shown = "<none>"
    if parameters:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
        shown = f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"
    return [obj["metadata"]["name"], spec.get("controller", ""), shown, created(obj)]


INGRESS_CLASS = Rules(
    strategy=Strategy(default=_default_class, validate=class_problems, has_status=False),
    columns=(
        NAME,
        Column(
            name="Controller", description="Controller that is responsible for handling this class"
        ),
        Column(
            name="Parameters", description="A reference to a resource with additional parameters"
        ),
        AGE,
    ),
    row=_class_row,
)


def _default_policy(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("podSelector") is None:
        spec["podSelector"] = {}
    for direction in ("ingress", "egress"):
        for rule in spec.get(direction) or ():
            for port in rule.get("ports") or ():
                if port.get("protocol") is None:
                    port["protocol"] = "TCP"
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


NETWORK_POLICY = Rules(
    strategy=Strategy(
        default=_default_policy,
        validate=policy_problems,
        warnings=policy_warnings,
        has_status=False,
    ),
    columns=(
        NAME,
        Column(name="Pod-Selector", documents="networking.v1.NetworkPolicySpec.podSelector"),
        AGE,
    ),
    row=lambda obj: [
        obj["metadata"]["name"],
        selector_cell((obj.get("spec") or {}).get("podSelector")),
        created(obj),
    ],
)


SERVICE_CIDR = Rules(
    strategy=Strategy(
        prepare_create=clear_status,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=cidr_problems,
        has_generation=False,
    ),
    columns=(NAME, Column(name="CIDRs", documents="networking.v1.ServiceCIDRSpec.cidrs"), AGE),
    row=lambda obj: [
        obj["metadata"]["name"],
        ",".join((obj.get("spec") or {}).get("cidrs") or ()),
        created(obj),
    ],
)


def _address_row(obj: Object) -> list[object]:
    reference = (obj.get("spec") or {}).get("parentRef") or {}
    if not reference:
        return [obj["metadata"]["name"], "<none>"]
    parts = [reference.get("resource", "")]
    if reference.get("group"):
        parts[0] = f"{parts[0]}.{reference['group']}"
    parts += [one for one in (reference.get("namespace"), reference.get("name")) if one]
    return [obj["metadata"]["name"], "/".join(parts).lower()]


IP_ADDRESS = Rules(
    strategy=Strategy(validate=address_problems, has_status=False, has_generation=False),
    columns=(NAME, Column(name="ParentRef", documents="networking.v1.IPAddressSpec.parentRef")),
    row=_address_row,
)
