"""`reach --watch`: every cell asked again and again; outages as they end, and what their recovery waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from todoku.cli._reaching import Bench, colour, width

if TYPE_CHECKING:
    from todoku.api.meta import Object
    from todoku.reach.outages import Tracker
    from todoku.reach.probe import Vantage
    from todoku.reach.targets import Address, At, Source

_PAUSE_SECONDS = 0.05
_WATCHED = ("nodes", "endpointslices.discovery.k8s.io", "servicel2statuses.metallb.io")


async def follow(
    bench: Bench,
    listed: Sequence[Object],
    sources: Sequence[Source],
    kinds: tuple[At, ...],
    timeout_seconds: float,
) -> None:
    """Ask until interrupted; prints the matrix once, then one line per outage."""
    from todoku.lab.reachability import reach
    from todoku.reach.matrix import Effort
    from todoku.reach.outages import Tracker
    from todoku.reach.table import render
    from todoku.reach.targets import addresses

    targets = [one for service in listed for one in addresses(bench.world, service, kinds)]
    first = await reach(
        bench.survey, bench.world, sources, targets, effort=Effort(requests=3), title="watching"
    )
    click.echo(render(first, width=width(), colour=colour()))
    click.echo("asking every cell again and again; Ctrl-C ends it")
    tracker: Tracker[tuple[str, str]] = Tracker()
    vantages = bench.survey.vantages(bench.world, sources)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_marks(bench, tracker), name="watch-marks")
        for source in sources:
            for address in targets:
                vantage = vantages.get(source.name)
                if vantage is None or address.missing is not None:
                    continue
                tasks.create_task(
                    _cell(tracker, vantage, source, address, timeout_seconds),
                    name=f"watch-{source.name}-{address.label}",
                )


async def _cell(
    tracker: Tracker[tuple[str, str]],
    vantage: Vantage,
    source: Source,
    address: Address,
    timeout_seconds: float,
) -> None:
    from todoku.reach.outcome import Outcome
    from todoku.reach.probe import Question, attempt

    # A new connection shortly after a failed one, so that the end of an outage is seen within this time.
    limit = min(timeout_seconds, 0.25)
    question = Question(address.host, address.port, address.protocol, limit, speak=False)
    while True:
        try:
            outcome = (await attempt(vantage, question)).outcome
        except OSError:
            outcome = Outcome.UNKNOWN  # the source has lost its power
        outage = tracker.feed((source.name, address.label), time.monotonic(), outcome)
        if outage is not None:
            waited = f"  waited for: {outage.waited_for}" if outage.waited_for else ""
            click.echo(
                f"{_clock()} {source.name} -> {address.label} back after "
                f"{outage.milliseconds:.0f} ms ({outage.outcome}, {outage.failures} tries){waited}"
            )
        await asyncio.sleep(_PAUSE_SECONDS)


async def _marks(bench: Bench, tracker: Tracker[tuple[str, str]]) -> None:
    """What happens in the cluster meanwhile, in words."""
    async with asyncio.TaskGroup() as tasks:
        for resource in _WATCHED:
            tasks.create_task(_follow(bench, resource, tracker), name=f"watch-{resource}")


async def _follow(bench: Bench, resource: str, tracker: Tracker[tuple[str, str]]) -> None:
    from todoku.api.errors import ApiError
    from todoku.client import Unreachable

    said: dict[str, str] = {}
    while True:
        try:
            listed = await bench.client.list(resource)
            # What is true already is no news: only a change can be what a recovery waited for.
            said |= {one["metadata"]["name"]: describe(resource, one) for one in listed.items}
            start = listed.resource_version
            async for event in bench.client.watch(resource, resource_version=start):
                text = describe(resource, event.object)
                name = event.object["metadata"]["name"]
                if text and said.get(name) != text:
                    said[name] = text
                    tracker.mark(time.monotonic(), text)
                    click.echo(f"{_clock()} {text}")
        except (ApiError, Unreachable, OSError):
            await asyncio.sleep(0.5)


def describe(resource: str, obj: Object) -> str:
    """A change in one sentence; "" for one that says nothing about reachability."""
    if resource == "nodes":
        conditions = {c["type"]: c["status"] for c in obj["status"].get("conditions") or ()}
        word = "Ready" if conditions.get("Ready") == "True" else "NotReady"
        return f"node {obj['metadata']['name']} is {word}"
    if resource.startswith("endpointslices"):
        ready = sum(
            (one.get("conditions") or {}).get("ready") is not False
            for one in obj.get("endpoints") or ()
        )
        service = obj["metadata"].get("labels", {}).get("kubernetes.io/service-name", "?")
        return f"Service {service} has {ready} ready endpoints"
    status = obj.get("status") or {}
    return (
        f"{status['node']} announces {status.get('serviceName', '?')}" if "node" in status else ""
    )


def _clock() -> str:
    now = time.time()
    return time.strftime("%H:%M:%S", time.localtime(now)) + f".{int(now * 1000) % 1000:03d}"
