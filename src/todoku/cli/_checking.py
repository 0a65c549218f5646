"""A running lab as the ground of a `check`: faults with their undoing, and traces of counter-examples."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from todoku.cli import CouldNotTell
from todoku.cli._reaching import Bench
from todoku.reach.matrix import Wanted, ask
from todoku.reach.report import Cell
from todoku.reach.targets import Source, machine_sources, pod_sources
from todoku.reach.world import World, usable

if TYPE_CHECKING:
    from todoku.reach.spec import Fault

_LOOK_SECONDS = 2.0
_RECOVERY_SECONDS = 60.0
_BREAK = {"stop": "power-off", "pause": "pause", "cut": "cut"}
_MEND = {"stop": "power-on", "pause": "power-on", "cut": "heal"}


class LabGround:
    """Satisfies `reach.checking.Ground`."""

    knows_backends = True

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def look(self) -> World:
        """While the API server is unreachable the last objects stand, with the machines as they are now."""
        from todoku.client import Unreachable
        from todoku.lab.reachability import Survey

        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._bench.refresh()
        except (Unreachable, TimeoutError):
            self._bench.survey = Survey(self._bench.survey.lab)
            machines = self._bench.survey.topology().machines
            self._bench.world = replace(self._bench.world, machines=machines)
        return self._bench.world

    def sources(self, world: World) -> Sequence[Source]:
        return [*machine_sources(world), *pod_sources(world.pods)]

    async def ask(self, world: World, wanted: Sequence[Wanted]) -> list[Cell]:
        survey = self._bench.survey
        asked = {one.source for one in wanted}
        return await ask(
            world, wanted, vantages=survey.vantages(world, asked), witnesses=survey.witnesses()
        )

    @contextlib.asynccontextmanager
    async def broken(self, faults: Sequence[Fault]) -> AsyncIterator[None]:
        """Undone even when interrupted; then waits until the cluster is as ready as it was."""
        before = await self.look()
        self._refuse_what_is_broken(faults, before)
        done: list[Fault] = []
        try:
            for fault in faults:
                done.append(fault)
                await asyncio.to_thread(
                    self._bench.survey.lab.ask, _BREAK[fault.action], machine=fault.machine
                )
            yield
        finally:
            self._mend(done)
        await self._recovered(before)

    def _refuse_what_is_broken(self, faults: Sequence[Fault], world: World) -> None:
        """Undoing a fault that somebody else made would change his lab."""
        for fault in faults:
            if not world.by_name[fault.machine].powered:
                raise CouldNotTell(
                    f"{fault.machine} is off, paused or cut off already, so `given: {{{fault.action}: …}}` "
                    f"means nothing; `todoku node start` or `todoku fault heal` first"
                )

    def _mend(self, done: Sequence[Fault]) -> None:
        """Blocking, so that no cancellation and no second Ctrl-C leaves half of it."""
        with _undisturbed():
            for fault in reversed(done):
                self._bench.survey.lab.ask(_MEND[fault.action], machine=fault.machine)

    async def _recovered(self, before: World) -> None:
        deadline = time.monotonic() + _RECOVERY_SECONDS
        wanted = _readiness(before)
        while time.monotonic() < deadline:
            now = _readiness(await self.look())
            if all(now.get(what, 0) >= count for what, count in wanted.items()):
                return
            await asyncio.sleep(0.25)

    async def trace(self, world: World, cell: Cell) -> str:
        from todoku.lab.tracing import trace
        from todoku.reach.trace.render import full

        address = cell.address
        target = f"{address.host}:{address.port}/{address.protocol.lower()}"
        try:
            return full(await trace(self._bench.survey, world, cell.source, target))
        except (LookupError, OSError) as error:
            return f"no trace: {error}"


def _readiness(world: World) -> dict[str, int]:
    """How many nodes are Ready, and how many usable endpoints each Service port has."""
    found = {
        "nodes": sum(
            condition["type"] == "Ready" and condition["status"] == "True"
            for node in world.nodes
            for condition in (node.get("status") or {}).get("conditions") or ()
        )
    }
    for service in world.services:
        metadata = service["metadata"]
        for port in service["spec"].get("ports") or ():
            name = f"{metadata['namespace']}/{metadata['name']}:{port['port']}"
            found[name] = len(usable(world.endpoints(service, port)))
    return found


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Without Ctrl-C and SIGTERM while it lasts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {one: signal.signal(one, signal.SIG_IGN) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
