"""Prediction and measurement agree in every cell: random Services on a real lab, machines that die among them.

TODOKU_REACH_SEED repeats a run; TODOKU_REACH_SECONDS lengthens it.
"""

import asyncio
import os
import random
import subprocess
import time
from collections import Counter

import pytest

from tests.reach import random_services
from tests.reach.conftest import until
from tests.reach.random_services import NAMESPACE
from todoku.cli._checking import LabGround
from todoku.cli._reaching import Bench
from todoku.reach.matrix import Effort, Wanted
from todoku.reach.outcome import Outcome
from todoku.reach.report import Cell
from todoku.reach.spec import Fault
from todoku.reach.targets import addresses, machine_sources, pod_sources
from todoku.reach.world import World, usable

pytestmark = pytest.mark.e2e

SERVICES = 12
EFFORT = Effort(requests=3, timeout_seconds=0.5, speak=False)
SETTLE_SECONDS = 1.5
ASKED_AGAIN = 3
NOTICE_SECONDS = 60.0


async def test_prediction_is_measurement_in_every_cell(bench: Bench, deadline: float, capsys):
    seed = os.environ.get("TODOKU_REACH_SEED") or str(random.SystemRandom().randrange(10**9))
    chance = random.Random(seed)
    print(f"seed {seed}")
    await prepare(bench)
    counted: Counter[str] = Counter()
    wrong: list[str] = []
    number = 0
    while time.monotonic() < deadline or number < 2:
        fault = random_services.fault(chance) if number else None
        made = [random_services.service(chance, f"s{number}-{i}") for i in range(SERVICES)]
        for one in made:
            await bench.client.create("services", one)
        wrong += await one_round(bench, fault, counted)
        for one in made:
            await bench.client.delete("services", one["metadata"]["name"], NAMESPACE)
        number += 1
    with capsys.disabled():
        spread = ", ".join(f"{word} {count}" for word, count in counted.most_common())
        print(f"\n{counted.total()} cells compared in {number} rounds, seed {seed}: {spread}")
    assert not wrong, f"seed {seed}: {len(wrong)} cells:\n" + "\n".join(wrong[:20])
    assert counted[Outcome.OK] > 100
    assert counted[Outcome.TIMEOUT] > 20


async def prepare(bench: Bench) -> None:
    """The pods behind the Services, and addresses enough."""
    client = bench.client
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    await client.create("namespaces", namespace)
    pool = {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": "random", "namespace": "metallb-system"},
        "spec": {"addresses": [random_services.POOL]},
    }
    await client.create("ipaddresspools.metallb.io", pool)
    advertisement = pool | {"kind": "L2Advertisement", "spec": {"ipAddressPools": ["random"]}}
    await client.create("l2advertisements.metallb.io", advertisement)
    for pod in random_services.pods("internal"):
        await client.create("pods", pod)

    async def ready() -> bool:
        await bench.refresh()
        here = [p for p in bench.world.pods if p["metadata"]["namespace"] == NAMESPACE]
        counted = Counter(status(pod) for pod in here)
        return counted == {"ready": len(random_services.PODS) - 1, "running": 1}

    await until("the pods", ready)


def status(pod) -> str:
    said = pod.get("status") or {}
    conditions = {one["type"]: one["status"] for one in said.get("conditions") or ()}
    if said.get("phase") != "Running" or not said.get("podIP"):
        return "pending"
    return "ready" if conditions.get("Ready") == "True" else "running"


async def one_round(
    bench: Bench, fault: tuple[str, str] | None, counted: Counter[str]
) -> list[str]:
    """Measure every cell of the round's Services; those that are not as predicted, in words."""
    ground = LabGround(bench)
    if fault is None:
        await settled(bench)
        return await compare(bench, ground, counted, "")
    async with ground.broken([Fault(fault[0], fault[1])]):  # type: ignore[arg-type]
        await settled(bench)
        return await compare(bench, ground, counted, f"{fault[0]} {fault[1]}: ")


async def settled(bench: Bench) -> None:
    """The control plane has noticed everything: dead nodes, endpoints, addresses."""

    deadline = time.monotonic() + NOTICE_SECONDS
    while missing := await unnoticed(bench):
        assert time.monotonic() < deadline, f"not noticed: {missing}"
        await asyncio.sleep(0.05)
    await asyncio.sleep(SETTLE_SECONDS)
    await bench.refresh()
    forget_neighbours(bench)


async def unnoticed(bench: Bench) -> list[str]:
    """The names of what the control plane has still to take notice of."""
    await bench.refresh()
    nodes = [one["metadata"]["name"] for one in bench.world.nodes if not knows(bench.world, one)]
    waiting = [one for one in ours(bench.world) if not published(bench.world, one)]
    return nodes + [f"{one['metadata']['name']}: {one['spec']} {one['status']}" for one in waiting]


def forget_neighbours(bench: Bench) -> None:
    """Addresses are used again: a host that remembers who answered last round asks nobody."""
    for machine in bench.survey.lab.hosts():
        if machine.kind == "host" and machine.namespaces is not None:
            net = f"--net={machine.namespaces.net}"
            subprocess.run(["nsenter", net, "ip", "neigh", "flush", "dev", "eth0"], check=True)


def ours(world: World):
    return [one for one in world.services if one["metadata"]["namespace"] == NAMESPACE]


def knows(world: World, node) -> bool:
    """Whether a node's Ready condition says what is true, and its endpoints follow."""
    ready = {one["type"]: one["status"] for one in node["status"]["conditions"]}["Ready"]
    name = node["metadata"]["name"]
    powered = world.powered(name)
    if powered != (ready == "True"):
        return False
    listed = [
        endpoint
        for service in ours(world)
        if not service["spec"].get("publishNotReadyAddresses")
        for port in service["spec"]["ports"]
        for endpoint in usable(world.endpoints(service, port))
    ]
    return powered or all(endpoint.node != name for endpoint in listed)


def published(world: World, service) -> bool:
    """Every pod that the selector means is in a slice, and a load balancer has its address."""
    wanted = service["spec"]["selector"].items()
    pods = [
        pod
        for pod in world.pods
        if pod["metadata"]["namespace"] == NAMESPACE
        and wanted <= pod["metadata"].get("labels", {}).items()
    ]
    listed = world.endpoints(service, service["spec"]["ports"][0])
    if {one.address for one in listed} != {pod["status"].get("podIP") for pod in pods}:
        return False
    balanced = service["spec"]["type"] == "LoadBalancer"
    return not balanced or bool((service["status"].get("loadBalancer") or {}).get("ingress"))


async def compare(bench: Bench, ground: LabGround, counted: Counter[str], about: str) -> list[str]:
    world = bench.world
    pods = [p for p in world.pods if p["metadata"]["namespace"] == NAMESPACE]
    sources = [*machine_sources(world), *pod_sources(pods)]
    wanted = [
        Wanted(source, address, EFFORT)
        for service in ours(world)
        for address in addresses(world, service)
        for source in sources
    ]
    cells = {(one.source, one.address): one for one in await ground.ask(world, wanted)}
    for _ in range(ASKED_AGAIN):  # the last rule may just be on its way
        again = [
            Wanted(one.source, one.address, EFFORT) for one in cells.values() if problem(world, one)
        ]
        if not again:
            break
        await asyncio.sleep(SETTLE_SECONDS)
        await bench.refresh()
        world = bench.world
        cells |= {(one.source, one.address): one for one in await ground.ask(world, again)}
    counted.update(str(one.outcome) for one in cells.values())
    return [f"{about}{said}" for one in cells.values() if (said := problem(world, one))]


def problem(world: World, cell: Cell) -> str:
    """Why a cell is not as predicted; "" if it is."""
    expected = " or ".join(sorted(map(str, cell.predicted.outcomes)))
    service = f"{cell.address.service} {cell.address.at} {cell.address.label}"
    said = f"{cell.source.name} -> {service}: {cell.outcome}"
    if cell.surprising:
        return f"{said}, predicted {expected} ({cell.predicted.code}); {spec(world, cell)}"
    names = {
        str(world.pods_by_address[ip]["metadata"]["name"])
        for one in cell.predicted.backends
        if (ip := one.rpartition(":")[0]) in world.pods_by_address
    }
    strangers = set(cell.backends) - names
    if cell.predicted.backends and strangers:
        return (
            f"{said} by {', '.join(strangers)}, predicted {', '.join(names)}; {spec(world, cell)}"
        )
    return ""


def spec(world: World, cell: Cell) -> str:
    assert cell.address.service is not None
    name = cell.address.service.name
    found = next(one for one in ours(world) if one["metadata"]["name"] == name)
    return str({k: v for k, v in found["spec"].items() if k not in ("clusterIPs", "ipFamilies")})
