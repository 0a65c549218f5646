"""All cells at once: real connections in parallel, bounded, then one look at conntrack for who answered."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from todoku.aio import log as logs
from todoku.reach.outcome import Outcome
from todoku.reach.predict import predict
from todoku.reach.probe import Attempt, Question, Tuple5, Vantage, attempt, payload_for
from todoku.reach.report import Cell, Report
from todoku.reach.targets import Address, Source
from todoku.reach.witness import Answer, Witnesses
from todoku.reach.world import World

log = logs.get(__name__)

_BURST = 3
_CONCURRENCY = 64


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to ask: `requests` per cell, `concurrency` connections at once, over the whole run."""

    requests: int = 12
    concurrency: int = _CONCURRENCY
    timeout_seconds: float = 2.0
    speak: bool = True


@dataclass(frozen=True, slots=True)
class Wanted:
    """One cell to measure."""

    source: Source
    address: Address
    effort: Effort


async def measure(
    world: World,
    sources: Sequence[Source],
    addresses: Sequence[Address],
    *,
    vantages: Mapping[str, Vantage],
    witnesses: Witnesses,
    effort: Effort | None = None,
    title: str = "",
) -> Report:
    """Probe every source × address and compare with the prediction.

    `vantages` maps a source's name to the place to ask from; a source without one gives `?` cells.
    """
    started = time.monotonic()
    effort = effort or Effort()
    wanted = [Wanted(source, address, effort) for source in sources for address in addresses]
    cells = await ask(
        world, wanted, vantages=vantages, witnesses=witnesses, concurrency=effort.concurrency
    )
    return Report(title, sources, addresses, cells, time.monotonic() - started)


async def ask(
    world: World,
    wanted: Sequence[Wanted],
    *,
    vantages: Mapping[str, Vantage],
    witnesses: Witnesses,
    concurrency: int = _CONCURRENCY,
) -> list[Cell]:
    """Probe these cells, each with its own effort, at most `concurrency` connections at once over all."""
    gate = asyncio.Semaphore(concurrency)
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(
                _probe(vantages.get(one.source.name), one.address, one.effort, gate),
                name=f"reach-{one.source.name}-{one.address.label}",
            )
            for one in wanted
        ]
    results = [task.result() for task in running]
    answers = await witnesses.look(
        [w for attempts, _ in results for one in attempts if (w := _answered(one))]
    )
    return [
        _cell(world, one.source, one.address, attempts, answers, unprobed)
        for one, (attempts, unprobed) in zip(wanted, results, strict=True)
    ]


async def _probe(
    vantage: Vantage | None, address: Address, effort: Effort, gate: asyncio.Semaphore
) -> tuple[list[Attempt], str]:
    """One cell's attempts, all at once; an address that does not exist is not dialled."""
    if address.missing is not None:
        return [], ""
    if vantage is None:
        return [], "the source is not running, so nothing can be asked from it"
    question = Question(
        address.host,
        address.port,
        address.protocol,
        effort.timeout_seconds,
        effort.speak,
        payload_for(address.service_port or address.port),
    )

    async def once() -> Attempt:
        async with gate:
            return await attempt(vantage, question)

    try:
        # A closed cell costs one time-out, not one per request: a first burst decides, all at once.
        burst = min(effort.requests, _BURST)
        first = await asyncio.gather(*(once() for _ in range(burst)))
        answered = any(one.outcome is Outcome.OK for one in first)
        rest = effort.requests - burst if answered else 0
        others = await asyncio.gather(*(once() for _ in range(rest)))
    except OSError as error:
        log.warning("Source cannot be entered", source=vantage.name, error=error)
        return [], f"the source's network namespace cannot be entered: {error}"
    return [*first, *others], ""


def _cell(
    world: World,
    source: Source,
    address: Address,
    attempts: Sequence[Attempt],
    answers: Mapping[Tuple5, Answer],
    unprobed: str,
) -> Cell:
    found = [answers[it] for one in attempts if (it := _answered(one)) and it in answers]
    backends = Counter(_name(world, answer.backend, answer.port) for answer in found)
    seen = tuple(sorted({answer.client for answer in found}))
    prediction = predict(world, source, address)
    return Cell(source, address, prediction, attempts, dict(backends), seen, unprobed)


def _answered(attempt: Attempt) -> Tuple5 | None:
    """What a successful attempt sent."""
    return attempt.witness if attempt.outcome is Outcome.OK else None


def _name(world: World, address: str, port: int) -> str:
    """The pod behind an address, or the address itself when no pod owns it."""
    pod = world.pods_by_address.get(address)
    return str(pod["metadata"]["name"]) if pod else f"{address}:{port}"
