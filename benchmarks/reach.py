"""How long the tutorial's chapter-4 matrix takes, open and closed; a trace; and what a running workload notices.

    .venv/bin/python benchmarks/reach.py [--runs 5] [--lab NAME]

Makes a lab of its own in the state of chapter 4 unless one that is in it is named.  wrk is needed for the last figure.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence

from figures import emit, note

from todoku.api.meta import Object
from todoku.cli import _acts
from todoku.cli._reaching import Bench
from todoku.cli.manifests import path
from todoku.lab import lifecycle
from todoku.lab.lab import Lab
from todoku.lab.lab import open as open_lab
from todoku.lab.reachability import Survey, connected, reach
from todoku.lab.tracing import trace
from todoku.reach.matrix import Effort
from todoku.reach.report import Report
from todoku.reach.targets import Source, addresses, machine_sources, pod_sources

TIMEOUT_SECONDS = 2.0
EFFORT = Effort(requests=12, timeout_seconds=TIMEOUT_SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--lab", default="")
    given = parser.parse_args()
    with lab(given.lab) as found:
        asyncio.run(measure(found, given.runs))


@contextlib.contextmanager
def lab(name: str) -> Iterator[Lab]:
    """The lab that is named, or one of our own, removed afterwards."""
    if name:
        yield open_lab(name)
        return
    own = f"bench{os.getpid()}"
    try:
        note("making a lab")
        lifecycle.up(own, None)
        yield open_lab(own)
    finally:
        lifecycle.down(own)


async def measure(found: Lab, runs: int) -> None:
    async with chapter_four(found) as bench:
        service = _acts.the_service(bench)
        assert service is not None
        sources = machine_sources(bench.world)
        await matrix_open(bench, service, sources, runs)
        await matrix_all(bench, service, runs)
        await matrix_closed(bench, service, runs)
        await traces(bench, service, sources, runs)
        if shutil.which("wrk"):
            await beside_wrk(bench, service, sources, runs)


@contextlib.asynccontextmanager
async def chapter_four(found: Lab) -> AsyncIterator[Bench]:
    async with connected(found) as client:
        survey = Survey(found)
        bench = Bench(survey, client, await survey.world(client))
        for name in ("service-test-namespace", "httpd-deployment", "metallb"):
            _acts.kubectl(found, ["apply", "-f", str(path(f"{name}.yaml"))])
        await _acts.until("balancer", lambda: _acts.balancer_ready(bench), seconds=120, tell=note)
        for name in ("ipaddresspool", "l2advertisement", "loadbalancer-service"):
            _acts.kubectl(found, ["apply", "-f", str(path(f"{name}.yaml"))])
        await _acts.until("address", lambda: _acts.announced(bench), seconds=60, tell=note)
        await _acts.until("pods", lambda: _acts.pods_ready(bench), seconds=120, tell=note)
        await _acts.until("rules", lambda: _acts.programmed(bench), seconds=60, tell=note)
        yield bench


async def matrix_open(bench: Bench, service: Object, sources: Sequence[Source], runs: int) -> None:
    """Two hosts and three nodes against every address that answers: 12 requests a cell."""
    outside = [one for one in sources if one.kind == "outside"]
    inside = [one for one in sources if one.kind == "node"]
    lasting, cells = [], 0
    for _ in range(runs):
        started = time.monotonic()
        reports = [
            await run(bench, outside, service, ("nodeport", "lb")),
            await run(bench, inside, service, ("pod", "clusterip", "nodeport", "lb")),
        ]
        lasting.append(time.monotonic() - started)
        cells = sum(len(one.cells) for one in reports)
        assert all(cell.outcome == "ok" for one in reports for cell in one.cells)
    emit("reach-matrix-open", lasting, "s", cells=cells, requests=12)


async def matrix_all(bench: Bench, service: Object, runs: int) -> None:
    """The whole matrix with its closed cells, pods as sources too: bounded by one time-out."""
    pods = [p for p in bench.world.pods if p["metadata"]["namespace"] == _acts.NAMESPACE]
    sources = [*machine_sources(bench.world), *pod_sources(pods)]
    kinds = ("pod", "clusterip", "nodeport", "lb", "dns")
    reports = [await run(bench, sources, service, kinds) for _ in range(runs)]
    assert not any(one.surprises for one in reports)
    lasting = [one.seconds for one in reports]
    emit("reach-matrix-whole", lasting, "s", cells=len(reports[0].cells), timeout=TIMEOUT_SECONDS)


async def matrix_closed(bench: Bench, service: Object, runs: int) -> None:
    """Only cells that time out."""
    outside = [one for one in machine_sources(bench.world) if one.kind == "outside"]
    reports = [await run(bench, outside, service, ("pod", "clusterip")) for _ in range(runs)]
    assert all(cell.outcome == "timeout" for one in reports for cell in one.cells)
    lasting = [one.seconds for one in reports]
    emit("reach-matrix-closed", lasting, "s", cells=len(reports[0].cells), timeout=TIMEOUT_SECONDS)


async def run(
    bench: Bench, sources: Sequence[Source], service: Object, kinds: tuple[str, ...]
) -> Report:
    targets = [one for one in addresses(bench.world, service) if one.at in kinds]
    return await reach(bench.survey, bench.world, sources, targets, effort=EFFORT)


async def traces(bench: Bench, service: Object, sources: Sequence[Source], runs: int) -> None:
    host = next(one for one in sources if one.kind == "outside")
    lasting = []
    for _ in range(runs):
        started = time.monotonic()
        target = f"svc/{service['metadata']['name']}@lb"
        found = await trace(bench.survey, bench.world, host, target, namespace=_acts.NAMESPACE)
        lasting.append(time.monotonic() - started)
        assert found.disposition == "DELIVERED"
    emit("trace", lasting, "s")


async def beside_wrk(bench: Bench, service: Object, sources: Sequence[Source], runs: int) -> None:
    """Requests per second that wrk reaches through the load balancer: alone, and while `reach` asks all the time."""
    alone, beside = [], []
    for _ in range(runs):
        alone.append(await wrk(bench, service))
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(ask_on(bench, service, sources))
            beside.append(await wrk(bench, service))
            asking.cancel()
    emit("wrk-alone", alone, "requests/s", seconds=3)
    emit("wrk-beside-reach", beside, "requests/s", seconds=3)


async def ask_on(bench: Bench, service: Object, sources: Sequence[Source]) -> None:
    """The matrix once a second, as somebody who looks again and again."""
    while True:
        await run(bench, sources, service, ("nodeport", "lb"))
        await asyncio.sleep(1)


async def wrk(bench: Bench, service: Object) -> float:
    place = bench.survey.lab.host("al9host").namespaces
    assert place is not None
    address = service["status"]["loadBalancer"]["ingress"][0]["ip"]
    url = f"http://{address}:{service['spec']['ports'][0]['port']}/"
    command = ["nsenter", f"--net={place.net}", "wrk", "-t1", "-c8", "-d3s", url]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=True, timeout=30
    )
    said = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert said, done.stdout
    return float(said[1])


if __name__ == "__main__":
    main()
