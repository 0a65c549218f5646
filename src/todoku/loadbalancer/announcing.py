"""What this node should announce for one Service (pure): the decision of the speaker."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from todoku.api.meta import Object
from todoku.loadbalancer.addresses import Address
from todoku.loadbalancer.assignment import handles, ingress_addresses
from todoku.loadbalancer.config import Config
from todoku.loadbalancer.election import Endpoints, Silent, Situation, elect
from todoku.loadbalancer.layer2 import Claimed, listed_interfaces


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything around the Service: configuration, nodes by name, living members, the own node."""

    node: str
    config: Config
    nodes: Mapping[str, Object]
    alive: Collection[str]
    lb_class: str = ""
    ignore_exclude_label: bool = False


def decide(service: Object, endpoints: Endpoints, scene: Scene) -> Claimed | Silent:
    """What to announce on layer 2, or why nothing."""
    addresses = ingress_addresses(service)
    spec = service.get("spec") or {}
    if spec.get("type") != "LoadBalancer" or not addresses or not handles(service, scene.lb_class):
        return Silent.NO_ADDRESS
    pool = pool_of(addresses, scene.config)
    if pool is None:
        return Silent.NO_POOL
    advertisements = scene.config.l2.get(pool, ())
    elected = elect(
        Situation(
            address=str(addresses[0]),
            nodes=scene.nodes,
            alive=scene.alive,
            advertised=frozenset[str]().union(*(one.nodes for one in advertisements)),
            endpoints=endpoints,
            local=spec.get("externalTrafficPolicy") == "Local",
            ignore_exclude_label=scene.ignore_exclude_label,
        )
    )
    if isinstance(elected, Silent):
        return elected
    if elected != scene.node:
        return Silent.NOT_OWNER
    mine = [one.interfaces for one in advertisements if scene.node in one.nodes]
    return Claimed(addresses, listed_interfaces(mine))


def pool_of(addresses: Collection[Address], config: Config) -> str | None:
    """The pool that covers every address."""
    for name, pool in sorted(config.pools.items()):
        if all(pool.holds(address) for address in addresses):
            return name
    return None
