"""A trace in a lab: the right address, the private tables in every namespace, and what the API adds to the facts."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_address

from todoku.api.meta import Object, key_of
from todoku.lab.lab import Lab
from todoku.lab.reachability import Survey
from todoku.proxy.frontends import FrontendKey
from todoku.proxy.kernel import owner_of
from todoku.proxy.rules import TABLE as PROXY_TABLE
from todoku.reach.judge import matching_addresses
from todoku.reach.predict import Prediction, announcer, predict
from todoku.reach.probe import Question, payload_for
from todoku.reach.spec import parse_target
from todoku.reach.targets import Address, At, Source, addresses, pod_addresses, shown
from todoku.reach.trace import arming
from todoku.reach.trace.assemble import assemble
from todoku.reach.trace.collect import collect, overhear
from todoku.reach.trace.facts import Facts, Rule, Trace
from todoku.reach.world import World

_BUSY_SECONDS = 5.0
_BY_SERVICE = ("@services", "@local-services", "@no-endpoints", "@firewall", "@sticky")
"""Maps of the proxy's table whose key is a Service's address."""


class Busy(RuntimeError):
    """Another trace is running in this lab; two at once would see each other's packets."""


async def trace(
    survey: Survey,
    here: World,
    source: Source,
    target: str,
    *,
    namespace: str = "default",
    timeout_seconds: float = 2.0,
    live_seconds: float = 0,
    record: bool = False,
) -> Trace:
    """Follow one connection: one of our own, or with `live_seconds` the next that somebody makes.

    `record` keeps its frames.  Raises LookupError if the source is off or there is no such address, NothingHeard, Busy.
    """
    address = find_address(here, target, namespace)
    vantage = survey.vantages(here, [source]).get(source.name)
    if vantage is None:
        raise LookupError(f"{source.name} is not running, so nothing can be sent from it")
    ground = survey.ground(_interesting(here, source, address))
    place = next(one for one in ground.places if one.name == shown(source))
    payload = payload_for(address.service_port or address.port)
    question = Question(
        address.host, address.port, address.protocol, timeout_seconds, False, payload
    )
    async with _alone(survey.lab):
        _sweep(survey)
        if live_seconds:
            facts = await overhear(
                ground, place, _by_address(question, target), _backends(here, address),
                wait_seconds=live_seconds, record=record,
            )  # fmt: skip
        else:
            facts = await collect(ground, place, vantage, question, record=record)
    return assemble(_enriched(here, facts, source, address), target=target)


def sweep(lab: Lab) -> list[str]:
    """Remove what a killed trace left in a running lab, unless a trace is running; returns where it was."""
    try:
        with _locked(lab):
            return _sweep(Survey(lab))
    except BlockingIOError:
        return []


def _sweep(survey: Survey) -> list[str]:
    return arming.sweep([*survey.machine_netns(), *survey.pod_netns().values()])


@contextlib.asynccontextmanager
async def _alone(lab: Lab) -> AsyncIterator[None]:
    """One trace at a time in a lab.  Raises Busy after some seconds."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            with _locked(lab):
                yield
                return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Busy(f"another trace is running in lab {lab.name}; end it first") from None
            await asyncio.sleep(0.05)


@contextlib.contextmanager
def _locked(lab: Lab) -> Iterator[None]:
    """Raises BlockingIOError if another process has the lock; a killed one's is free."""
    path = lab.paths.run / "trace.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _by_address(question: Question, target: str) -> Question:
    try:
        ip_address(question.host)
    except ValueError:
        raise LookupError(
            f"{target} is a name; --live waits for packets, which carry addresses: say @clusterip"
        ) from None
    return question


def _backends(here: World, address: Address) -> list[tuple[str, int]]:
    """Where a connection to the address may be translated to."""
    service = next((one for one in here.services if key_of(one) == address.service), None)
    if service is None or address.at is At.POD:
        return []
    return [
        (endpoint.address, endpoint.port)
        for port in service["spec"].get("ports") or ()
        if int(port["port"]) == address.service_port
        and port.get("protocol", "TCP") == address.protocol
        for endpoint in here.endpoints(service, port)
    ]


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
    enriched = replace(facts, objects=owners, code=code, rules=_owned_rules(here, facts))
    service = next((one for one in here.services if key_of(one) == address.service), None)
    if address.at is not At.LOADBALANCER or service is None:
        return enriched
    node = announcer(here, service, address.host)
    if node is None:
        return enriched
    digest = sha256(f"{node}#{address.host}".encode()).hexdigest()[:8]
    why = f"elected to announce it: smallest hash {digest} among the eligible nodes"
    return replace(enriched, announcer=node.partition(".")[0], why_announcer=why)


def _owned_rules(here: World, facts: Facts) -> dict[tuple[str, str, str, int], Rule]:
    """Rules that look a Service up, with the Service port whose element matched; and the endpoint that was picked.

    The Service is read back from the node's table, the endpoint from conntrack.
    """
    key = FrontendKey(facts.sent.destination, facts.sent.protocol, facts.sent.destination_port)
    found = dict(facts.rules)
    for where, rule in facts.rules.items():
        by_service = any(name in rule.text for name in _BY_SERVICE)
        if rule.table != PROXY_TABLE or not (by_service or "dnat" in rule.text):
            continue
        owner = owner_of(key, facts.places[where[0]].netns)
        said = f"Service {owner}" if by_service else _picked(here, facts, where[0], owner)
        found[where] = replace(rule, object=said if owner else "")
    return found


def _picked(here: World, facts: Facts, place: str, owner: str) -> str:
    """`EndpointSlice ns/web-abcde: 10.244.1.3`: the object that gave the address that was chosen."""
    chosen = {flow.reply.source for flow in facts.flows.get(place, ()) if flow.translated}
    service = next(
        (one for one in here.services if str(key_of(one)) == owner.partition(":")[0]), None
    )
    for piece in here.slices_of(service) if service else ():
        for endpoint in piece.get("endpoints") or ():
            for address in chosen.intersection(endpoint.get("addresses") or ()):
                return f"EndpointSlice {key_of(piece)}: {address}"
    return ""


def _prediction(here: World, source: Source, address: Address) -> Prediction | None:
    if address.service is None and address.at is not At.POD:
        return None
    return predict(here, source, address)
