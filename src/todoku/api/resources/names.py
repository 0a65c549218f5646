"""What the names of objects must look like, by resource; the rest are DNS subdomains."""

from __future__ import annotations

import ipaddress

from todoku.api.validation import (
    NameRule,
    any_name,
    dns1035_label,
    dns1123_label,
    dns1123_subdomain,
    path_segment,
)


def canonical_address(name: str) -> list[str]:
    """IPAddress objects are named by their address."""
    try:
        parsed = ipaddress.ip_address(name)
    except ValueError:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    if str(parsed) != name:
        return [f'must be in canonical form ("{parsed}")']
    return []


def api_service(name: str) -> list[str]:
    """`v1.apps`, or `v1.` for the core group."""
    version, _, group = name.partition(".")
    if not group:
        return (
            []
            if name.endswith(".") and not dns1035_label(version)
            else ["must be in the form version.group"]
        )
    return dns1123_subdomain(group)


NAME_RULES: dict[str, NameRule] = {
    "namespaces": dns1123_label,
    "services": dns1123_label,
    "statefulsets.apps": dns1123_label,
    "ipaddresses.networking.k8s.io": canonical_address,
    "apiservices.apiregistration.k8s.io": api_service,
    "roles.rbac.authorization.k8s.io": path_segment,
    "clusterroles.rbac.authorization.k8s.io": path_segment,
    "rolebindings.rbac.authorization.k8s.io": path_segment,
    "clusterrolebindings.rbac.authorization.k8s.io": path_segment,
    "certificatesigningrequests.certificates.k8s.io": any_name,
    "events": path_segment,
    "events.events.k8s.io": path_segment,
}
