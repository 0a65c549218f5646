"""What `todoku demo` does between its words: kubectl, waiting for what is really there, measuring."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING

from todoku.cli import CouldNotTell
from todoku.cli._reaching import Bench
from todoku.cli.kubectl import stock_kubectl
from todoku.lab.scenario import NAMESPACE, SERVICE, Chapter

if TYPE_CHECKING:
    from todoku.api.meta import Object
    from todoku.client import ObjectList
    from todoku.lab import Lab
    from todoku.reach.report import Report
    from todoku.reach.targets import Address, At, Source

SOURCES = ("master1", "rhel8host", "al9host")
_PODS = 3
# 3 pods, random choice: all of them answer within 36 requests but for one run in 700,000.
_REQUESTS = 36
_TIMEOUT_SECONDS = 1.0


def kubectl(lab: Lab, words: Sequence[str], *, timeout_seconds: float = 60) -> str:
    """Run kubectl on the lab, stock or our own; what it printed.  Raises CouldNotTell with its complaint."""
    stock = stock_kubectl()
    own = [sys.executable, "-m", "todoku", "kubectl", "--lab", lab.name]
    program = [stock] if stock else own
    env = os.environ | {"KUBECONFIG": str(lab.kubeconfig)}
    try:
        done = subprocess.run(
            [*program, *words], env=env, capture_output=True, text=True, check=False,
            timeout=timeout_seconds, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise CouldNotTell(
            f"kubectl {' '.join(words)} did not end in {timeout_seconds:.0f} s"
        ) from error
    if done.returncode:
        raise CouldNotTell(f"kubectl {' '.join(words)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout.rstrip()


async def until(
    what: str, there: Callable[[], Awaitable[bool]], *, seconds: float, tell: Callable[[str], None]
) -> None:
    """Wait until `there()` is true.  Raises CouldNotTell when the time is over."""
    started = time.monotonic()
    while not await there():
        if time.monotonic() - started > seconds:
            raise CouldNotTell(f"waited {seconds:.0f} s for {what}; `todoku log` may tell why")
        tell(f"waiting for {what}")
        await asyncio.sleep(0.05)


async def pods_ready(bench: Bench) -> bool:
    """Three pods of the Deployment are Ready and none is being deleted."""
    pods = await bench.client.list("pods", NAMESPACE, labels="app=httpd")
    return sum(_is_ready(pod) for pod in pods.items) == _PODS == len(pods.items)


async def programmed(bench: Bench) -> bool:
    """The Service has three ready endpoints, and every node's kernel has its rules."""
    from todoku.linux.nfnetlink import NetlinkError
    from todoku.proxy.frontends import FrontendKey
    from todoku.proxy.kernel import owner_of
    from todoku.reach.world import usable

    await bench.refresh()
    service = the_service(bench)
    if service is None:
        return False
    port = service["spec"]["ports"][0]
    if len(usable(bench.world.endpoints(service, port))) != _PODS:
        return False
    key = FrontendKey(service["spec"]["clusterIP"], "TCP", int(port["port"]))
    nodes = [one for one in bench.survey.ground(()).places if one.kind == "node"]
    try:
        return all(owner_of(key, node.netns) for node in nodes)
    except NetlinkError:
        return False


async def balancer_ready(bench: Bench) -> bool:
    """The load balancer's controller and every speaker are Ready."""
    pods = await bench.client.list("pods", "metallb-system", labels="app=metallb")
    ready = [pod for pod in pods.items if _is_ready(pod)]
    nodes = await bench.client.list("nodes")
    return len(ready) == len(pods.items) == len(nodes.items) + 1


async def announced(bench: Bench) -> bool:
    """The Service has an address and a speaker says that it answers for it."""
    await bench.refresh()
    return announcer(await bench.client.list("servicel2statuses.metallb.io")) != ""


def announcer(listed: ObjectList) -> str:
    """The node that announces the Service's address, by its ServiceL2Status; "" if none does."""
    for one in listed.items:
        status = one.get("status") or {}
        if status.get("serviceName") == SERVICE:
            return str(status.get("node", ""))
    return ""


async def node_ready(bench: Bench, name: str) -> bool:
    node = await bench.client.get("nodes", name)
    return _is_ready(node)


def the_service(bench: Bench) -> Object | None:
    """The scenario's Service, if it is there."""
    for service in bench.world.services:
        if (service["metadata"]["namespace"], service["metadata"]["name"]) == (NAMESPACE, SERVICE):
            return service
    return None


async def measure(bench: Bench, chapter: Chapter) -> Report:
    """The chapter's matrix: the tutorial's three sources against the chapter's addresses."""
    from todoku.lab.reachability import reach
    from todoku.reach.matrix import Effort

    effort = Effort(requests=_REQUESTS, timeout_seconds=_TIMEOUT_SECONDS)
    return await reach(
        bench.survey, bench.world, the_sources(bench), targets(bench, chapter.at), effort=effort,
        title=f"Chapter {chapter.number}",
    )  # fmt: skip


def the_sources(bench: Bench) -> list[Source]:
    """The tutorial's node and outside hosts; in a lab of another shape its first node and all hosts."""
    from todoku.reach.targets import machine_sources

    found = machine_sources(bench.world)
    named = [one for one in found if one.name in SOURCES]
    return named or [found[0], *(one for one in found if one.kind == "outside")]


def targets(bench: Bench, kinds: tuple[At, ...]) -> list[Address]:
    """The chapter's addresses: the Service's, or the pods' while there is none."""
    from todoku.reach.targets import addresses, pod_addresses

    service = the_service(bench)
    if service is not None:
        return addresses(bench.world, service, kinds)
    pods = [pod for pod in bench.world.pods if pod["metadata"]["namespace"] == NAMESPACE]
    pods.sort(key=lambda pod: ip_address(pod["status"]["podIP"]))  # all are Ready: each has one
    return pod_addresses(bench.world, pods)


def _is_ready(obj: Object) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and "deletionTimestamp" not in obj["metadata"]
