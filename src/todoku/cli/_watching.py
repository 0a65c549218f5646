"""`reach --watch`: every cell asked again and again; outages as they end, and what their recovery waited for."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from todoku.cli._reaching import Bench, colour, width

if TYPE_CHECKING:
    from todoku.api.meta import Object
    from todoku.reach.outcome import Outcome
    from todoku.reach.probe import Attempt, Vantage
    from todoku.reach.targets import Address, At, Source

_PAUSE_SECONDS = 0.05
_LIMIT_SECONDS = 0.25  # of one attempt
_LOOK_SECONDS = 0.5
_DRAW_SECONDS = 0.25
_LINES = 12
_WATCHED = ("nodes", "endpointslices.discovery.k8s.io", "servicel2statuses.metallb.io")


async def follow(
    bench: Bench,
    listed: Sequence[Object],
    sources: Sequence[Source],
    kinds: tuple[At, ...],
    timeout_seconds: float,
) -> None:
    """Ask until interrupted; on a terminal the matrix is drawn anew all the time, in a pipe once."""
    from todoku.reach.targets import addresses

    targets = [one for service in listed for one in addresses(bench.world, service, kinds)]
    watch = _Watch(bench, sources, targets, min(timeout_seconds, _LIMIT_SECONDS))
    await watch.run()


class _Watch:
    """Every cell's latest attempt, its outages, and what happened in the cluster meanwhile."""

    def __init__(
        self, bench: Bench, sources: Sequence[Source], targets: Sequence[Address], limit: float
    ) -> None:
        from todoku.reach.outages import Tracker

        self._bench, self._sources, self._targets, self._limit = bench, sources, targets, limit
        self._tracker: Tracker[tuple[str, str]] = Tracker()
        self._vantages: dict[str, Vantage] = bench.survey.vantages(bench.world, sources)
        self._latest: dict[tuple[str, str], Attempt] = {}
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._live = sys.stdout.isatty()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for resource in _WATCHED:
                tasks.create_task(self._marks(resource), name=f"watch-{resource}")
            for source in self._sources:
                for address in self._targets:
                    if address.missing is None:
                        name = f"watch-{source.name}-{address.label}"
                        tasks.create_task(self._cell(source, address), name=name)
            tasks.create_task(self._draw(), name="watch-draw")

    async def _cell(self, source: Source, address: Address) -> None:
        """A new connection shortly after the last one ended, so that the end of an outage is seen at once."""
        from todoku.reach.probe import Question, attempt, payload_for

        payload = payload_for(address.service_port or address.port)
        question = Question(
            address.host, address.port, address.protocol, self._limit, False, payload
        )
        key = (source.name, address.label)
        while True:
            vantage = self._vantages.get(source.name)
            try:
                result = await attempt(vantage, question) if vantage else None
            except OSError:
                result = None  # the source has lost its power
            if result is None:
                self._latest.pop(key, None)
                await self._look_again(source)
                continue
            self._latest[key] = result
            self._note(key, result.outcome)
            await asyncio.sleep(_PAUSE_SECONDS)

    def _note(self, key: tuple[str, str], outcome: Outcome) -> None:
        outage = self._tracker.feed(key, time.monotonic(), outcome)
        if outage is not None:
            waited = f"  waited for: {outage.waited_for}" if outage.waited_for else ""
            self._say(
                f"{key[0]} -> {key[1]} back after {outage.milliseconds:.0f} ms "
                f"({outage.outcome}, {outage.failures} tries){waited}"
            )

    async def _look_again(self, source: Source) -> None:
        """The source is off; when it is booted again it has new namespaces."""
        from todoku.lab.reachability import Survey

        self._vantages.pop(source.name, None)
        await asyncio.sleep(_LOOK_SECONDS)
        survey = await asyncio.to_thread(Survey, self._bench.survey.lab)
        self._vantages |= survey.vantages(self._bench.world, [source])

    async def _marks(self, resource: str) -> None:
        """What changes in the cluster, in words."""
        from todoku.api.errors import ApiError
        from todoku.client import Unreachable

        said: dict[str, str] = {}
        client = self._bench.client
        while True:
            try:
                listed = await client.list(resource)
                # What is true already is no news: only a change can be what a recovery waited for.
                said |= {one["metadata"]["name"]: describe(resource, one) for one in listed.items}
                start = listed.resource_version
                async for event in client.watch(resource, resource_version=start):
                    text = describe(resource, event.object)
                    name = event.object["metadata"]["name"]
                    if text and said.get(name) != text:
                        said[name] = text
                        self._tracker.mark(time.monotonic(), text)
                        self._say(text)
            except (ApiError, Unreachable, OSError):
                await asyncio.sleep(_LOOK_SECONDS)

    # -- what is shown ------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        line = f"{_clock()} {text}"
        self._lines.append(line)
        if not self._live:
            click.echo(line)

    async def _draw(self) -> None:
        await asyncio.sleep(2 * self._limit)  # until every cell has been asked
        if not self._live:
            click.echo(self._matrix())
            click.echo("asking every cell again and again; Ctrl-C ends it")
            return
        while True:
            # Home, the new picture, and nothing of the old one below it (ECMA-48 CUP, ED).
            lines = [self._matrix(), "", *self._lines, "", "Ctrl-C ends it"]
            click.echo("\x1b[H\x1b[J" + "\n".join(lines))
            await asyncio.sleep(_DRAW_SECONDS)

    def _matrix(self) -> str:
        from todoku.reach.predict import predict
        from todoku.reach.report import Cell, Report
        from todoku.reach.table import render

        cells = [
            Cell(source, address, predict(self._bench.world, source, address), self._seen(source, address))
            for source in self._sources
            for address in self._targets
        ]  # fmt: skip
        table = render(
            Report("", self._sources, self._targets, cells), width=width(), colour=colour()
        )
        # The counts below the grid are about one finished run; here the cells change while one looks.
        return table[: table.rindex("\n" + f"{len(cells)} cells: ")]

    def _seen(self, source: Source, address: Address) -> list[Attempt]:
        latest = self._latest.get((source.name, address.label))
        return [latest] if latest else []


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
