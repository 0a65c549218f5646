"""IP families of a Service: defaults, upgrades and downgrades between one and two.  Pure.

Source: KEP-563 dual stack; the order of steps is that of the Service REST storage, because it decides which of
several errors a client sees.
"""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api.errors import FieldError, Path, forbidden, invalid
from todoku.api.meta import Object
from todoku.api.resources.service_validation import address_changes, family_problems
from todoku.api.validation import family_of

NONE = "None"
SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
_SPEC = Path("spec")


def normalize(service: Object, old: Object | None) -> None:
    """Keep `clusterIP` and `clusterIPs` in step for writers that know only one of them."""
    spec = service["spec"]
    single, many = spec.get("clusterIP", ""), spec.get("clusterIPs") or []
    if old is None:
        if single and not many:
            spec["clusterIPs"] = [single]
        return
    before = old["spec"]
    old_single, old_many = before.get("clusterIP", ""), before.get("clusterIPs") or []
    if old_many and not many and single == old_single:
        spec["clusterIPs"] = list(old_many)
    elif single != old_single and many == old_many:
        # the writer knows the singular field only
        if single:
            spec["clusterIPs"] = [single]
        else:
            spec.pop("clusterIPs", None)


def keep_allocated(service: Object, old: Object) -> None:
    """Applying a manifest again without the allocated values keeps them."""
    spec, before = service["spec"], old["spec"]
    if needs_address(service) and needs_address(old):
        if not spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIP"] = before.get("clusterIP", "")
            spec["clusterIPs"] = list(before.get("clusterIPs") or ())
        elif not spec.get("clusterIP"):
            spec["clusterIP"] = before.get("clusterIP", "")
    if needs_ports(service) and needs_ports(old):
        known = {
            port.get("name", ""): port.get("nodePort", 0) for port in before.get("ports") or ()
        }
        used = {port.get("nodePort") for port in spec.get("ports") or () if port.get("nodePort")}
        for port in spec.get("ports") or ():
            kept = known.get(port.get("name", ""), 0)
            if not port.get("nodePort") and kept and kept not in used:
                port["nodePort"] = kept
                used.add(kept)
    if (
        needs_health_port(service)
        and needs_health_port(old)
        and not spec.get("healthCheckNodePort")
    ):
        spec["healthCheckNodePort"] = before.get("healthCheckNodePort", 0)


def needs_address(service: Object) -> bool:
    """Whether a Service of this type has a cluster address (headless ones ask for none)."""
    return bool(service["spec"].get("type", "ClusterIP") != "ExternalName")


def is_headless(service: Object) -> bool:
    spec = service["spec"]
    return NONE in (spec.get("clusterIP"), (spec.get("clusterIPs") or [""])[0])


def needs_ports(service: Object) -> bool:
    return service["spec"].get("type") in ("NodePort", "LoadBalancer")


def allocates_ports(service: Object) -> bool:
    """Whether ports without a number get one; explicit numbers are honoured in any case."""
    spec = service["spec"]
    if spec.get("type") == "LoadBalancer":
        return spec.get("allocateLoadBalancerNodePorts", True) is not False
    return bool(spec.get("type") == "NodePort")


def needs_health_port(service: Object) -> bool:
    spec = service["spec"]
    kind, policy = spec.get("type"), spec.get("externalTrafficPolicy")
    return (kind, policy) == ("LoadBalancer", "Local")


def settle(service: Object, old: Object | None, families: Sequence[str]) -> list[FieldError]:
    """Fill ipFamilyPolicy and ipFamilies for a cluster that has `families`; what is wrong comes back.

    After it, and without problems, `ipFamilies` has as many entries as the Service shall have addresses.
    """
    spec = service["spec"]
    if not needs_address(service) or _unchanged_prefer(service, old):
        return []
    if not spec.get("ipFamilyPolicy"):
        spec["ipFamilyPolicy"] = _default_policy(service, old)
    problems = _loose_problems(service, old)
    if problems:
        return problems
    if old is not None and spec["ipFamilyPolicy"] == SINGLE:
        _truncate(spec, old["spec"])
    problems = _infer(spec, families)
    if problems:
        return problems
    if is_headless(service) and not spec.get("selector"):
        _settle_selectorless(spec, families)
        return []
    problems = _unavailable(spec, families)
    if problems:
        return problems
    if not spec.get("ipFamilies"):
        spec["ipFamilies"] = [families[0]]
    if spec["ipFamilyPolicy"] != SINGLE and len(spec["ipFamilies"]) == 1 and len(families) > 1:
        spec["ipFamilies"] = [*spec["ipFamilies"], _other(spec["ipFamilies"][0])]
    return []


def _unchanged_prefer(service: Object, old: Object | None) -> bool:
    """A PreferDualStack Service is never upgraded just because the cluster gained a family."""
    if old is None or not needs_address(old):
        return False
    spec, before = service["spec"], old["spec"]
    same = all(
        spec.get(field) == before.get(field)
        for field in ("ipFamilyPolicy", "clusterIP", "clusterIPs", "ipFamilies", "type")
    )
    return same and spec.get("ipFamilyPolicy") == PREFER


def _default_policy(service: Object, old: Object | None) -> str:
    if old is not None and old["spec"].get("ipFamilyPolicy"):
        return str(old["spec"]["ipFamilyPolicy"])
    if is_headless(service) and not service["spec"].get("selector"):
        return REQUIRE
    return SINGLE


def _truncate(spec: Object, before: Object) -> None:
    """SingleStack with untouched addresses and families is a clear wish to give the second up."""
    for field in ("clusterIPs", "ipFamilies"):
        if spec.get(field) == before.get(field) and len(spec.get(field) or ()) > 1:
            spec[field] = spec[field][:1]


def _infer(spec: Object, families: Sequence[str]) -> list[FieldError]:
    """Families that the given addresses imply."""
    problems = []
    known = list(spec.get("ipFamilies") or ())
    addresses = spec.get("clusterIPs") or []
    for index, address in enumerate(addresses):
        if address == NONE:
            break
        family = f"IPv{family_of(address)}"
        if index >= len(known):
            if family not in families:
                path = _SPEC / "clusterIPs" / index
                problems.append(
                    invalid(path, addresses, f"{family} is not configured on this cluster")
                )
            known.append(family)
    if known:
        spec["ipFamilies"] = known
    return problems


def _settle_selectorless(spec: Object, families: Sequence[str]) -> None:
    """Nobody knows what a headless Service without selector will be given: it takes both families anywhere."""
    spec["ipFamilies"] = list(spec.get("ipFamilies") or [families[0]])
    if len(spec["ipFamilies"]) < 2 and spec["ipFamilyPolicy"] != SINGLE:
        spec["ipFamilies"].append(_other(spec["ipFamilies"][0]))


def _unavailable(spec: Object, families: Sequence[str]) -> list[FieldError]:
    problems = []
    if spec["ipFamilyPolicy"] == REQUIRE and len(families) < 2:
        text = "this cluster is not configured for dual-stack services"
        problems.append(invalid(_SPEC / "ipFamilyPolicy", REQUIRE, text))
    for index, family in enumerate(spec.get("ipFamilies") or ()):
        if family not in families:
            path = _SPEC / "ipFamilies" / index
            problems.append(invalid(path, family, "not configured on this cluster"))
    return problems


def _other(family: str) -> str:
    return "IPv6" if family == "IPv4" else "IPv4"


def _loose_problems(service: Object, old: Object | None) -> list[FieldError]:
    """What must hold before addresses can be allocated at all (validation repeats it, and more)."""
    spec, before = service["spec"], old["spec"] if old else {}
    problems = family_problems(spec, before) + _single_problems(spec, old)
    kind = spec.get("type", "ClusterIP")
    if is_headless(service) and kind != "ClusterIP":
        text = f"may not be set to 'None' for {kind} services"
        problems.append(invalid(_SPEC / "clusterIPs" / 0, NONE, text))
    return problems + (address_changes(spec, before) if before else [])


def _single_problems(spec: Object, old: Object | None) -> list[FieldError]:
    if spec["ipFamilyPolicy"] != SINGLE or _downgrades(spec, old):
        return []
    text = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified"
    for field, what in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")):
        if len(spec.get(field) or ()) > 1:
            return [invalid(_SPEC / "ipFamilyPolicy", SINGLE, text.format(what))]
    return []


def _downgrades(spec: Object, old: Object | None) -> bool:
    if old is None:
        return False
    before = old["spec"]
    return all(
        len(spec.get(field) or ()) < 2 or spec.get(field) == before.get(field)
        for field in ("clusterIPs", "ipFamilies")
    )


def external_name_problems(service: Object) -> list[FieldError]:
    """An ExternalName Service has no addresses at all."""
    if needs_address(service) or not service["spec"].get("clusterIPs"):
        return []
    return [forbidden(_SPEC / "clusterIPs", "may not be set for ExternalName services")]
