"""A trace in a lab: the right address, the private tables in every namespace, and what the API adds to the facts."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

from todoku.api.meta import Object, key_of
from todoku.lab.reachability import Survey
from todoku.proxy.frontends import FrontendKey
from todoku.proxy.kernel import owner_of
from todoku.reach.judge import matching_addresses
from todoku.reach.predict import Prediction, announcer, predict
from todoku.reach.probe import Question, payload_for
from todoku.reach.spec import parse_target
from todoku.reach.targets import Address, At, Source, addresses, pod_addresses, shown
from todoku.reach.trace.assemble import assemble
from todoku.reach.trace.collect import collect
from todoku.reach.trace.facts import Facts, Rule, Trace
from todoku.reach.world import World


async def trace(
    survey: Survey,
    here: World,
    source: Source,
    target: str,
    *,
    namespace: str = "default",
    timeout_seconds: float = 2.0,
) -> Trace:
    """Follow one connection.  Raises LookupError if the source is off or there is no such address."""
    address = find_address(here, target, namespace)
    vantage = survey.vantages(here, [source]).get(source.name)
    if vantage is None:
        raise LookupError(f"{source.name} is not running, so nothing can be sent from it")
    ground = survey.ground(_interesting(here, source, address))
    place = next(one for one in ground.places if one.name == shown(source))
    payload = payload_for(address.service_port or address.port)
    question = Question(
        address.host, address.port, address.protocol, timeout_seconds, speak=False, payload=payload
    )
    facts = await collect(ground, place, vantage, question)
    return assemble(_enriched(here, facts, source, address), target=target)


def find_address(here: World, target: str, namespace: str) -> Address:
    """The one address that a target means.  Raises LookupError with the choices."""
    known = [one for service in here.services for one in addresses(here, service)]
    known += pod_addresses(here, here.pods)
    found = matching_addresses(target, namespace, known)
    if not found:
        parsed = parse_target(target, namespace)
        if parsed.kind == "address":
            protocol = parsed.protocol or "TCP"
            return Address(At.EXTERNAL, target, parsed.name, parsed.port, protocol)
        raise LookupError(f"{target} is no address in namespace {namespace}")
    real = [one for one in found if one.missing is None]
    if not real:
        raise LookupError(f"{target} has no address now: {found[0].missing}")
    kinds = list(dict.fromkeys(one.at for one in real))
    preferred = [one for one in real if one.at is _preferred(kinds)]
    return preferred[0]


def _preferred(kinds: list[At]) -> At:
    """Without `@KIND`: the address meant for the widest audience."""
    order = (At.LOADBALANCER, At.NODEPORT, At.CLUSTERIP, At.EXTERNAL, At.POD, At.DNS)
    return next(kind for kind in order if kind in kinds)


def _interesting(here: World, source: Source, address: Address) -> list[Object]:
    """The pods whose namespaces are armed: the source and what may answer."""
    backends = {
        endpoint.pod
        for service in here.services
        if address.service == key_of(service)
        for port in service["spec"].get("ports") or ()
        for endpoint in here.endpoints(service, port)
    }
    wanted = backends | {source.pod, address.pod}
    return [pod for pod in here.pods if key_of(pod) in wanted]


def _enriched(here: World, facts: Facts, source: Source, address: Address) -> Facts:
    """What the API knows: which pod has an address, why this node announces, what was predicted."""
    prediction = _prediction(here, source, address)
    owners = {ip: f"pod {key_of(pod)}" for ip, pod in here.pods_by_address.items()}
    code = str(prediction.code) if prediction else ""
    enriched = replace(facts, objects=owners, code=code, rules=_owned_rules(facts))
    service = next((one for one in here.services if key_of(one) == address.service), None)
    if address.at is not At.LOADBALANCER or service is None:
        return enriched
    node = announcer(here, service, address.host)
    if node is None:
        return enriched
    digest = sha256(f"{node}#{address.host}".encode()).hexdigest()[:8]
    why = f"elected to announce it: smallest hash {digest} among the eligible nodes"
    return replace(enriched, announcer=node.partition(".")[0], why_announcer=why)


def _owned_rules(facts: Facts) -> dict[tuple[str, str, str, int], Rule]:
    """Rules that look a Service up, with the Service port whose element matched, read back from the node's table."""
    key = FrontendKey(facts.sent.destination, facts.sent.protocol, facts.sent.destination_port)
    found = dict(facts.rules)
    for where, rule in facts.rules.items():
        if "@services" in rule.text:
            owner = owner_of(key, facts.places[where[0]].netns)
            found[where] = replace(rule, object=f"Service {owner}" if owner else "")
    return found


def _prediction(here: World, source: Source, address: Address) -> Prediction | None:
    if address.service is None and address.at is not At.POD:
        return None
    return predict(here, source, address)
