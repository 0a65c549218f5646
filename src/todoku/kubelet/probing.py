"""The probe tasks of one pod: one per probe and container, from its start to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from todoku.aio import Clock
from todoku.aio import log as logs
from todoku.api.meta import Object
from todoku.kubelet.probes import (
    LIVENESS,
    READINESS,
    STARTUP,
    Schedule,
    Tally,
    Target,
    Verdict,
    kinds,
    look,
    named_ports,
    probe_of,
)
from todoku.kubelet.records import Container
from todoku.kubelet.runner import Runner

log = logs.get(__name__)

Event = Callable[[Object, str, str, str], None]  # spec, type, reason, message
_AGAIN_SECONDS = (0.05, 0.05, 0.1, 0.1, 0.2, 0.3)
_NAMES = {LIVENESS: "Liveness", READINESS: "Readiness", STARTUP: "Startup"}


class Prober:
    """Starts probe tasks in the pod's task group; tells `changed` when a container's state moves.

    `unhealthy` maps ids of containers that must be restarted to the reason.
    """

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        runner: Runner,
        clock: Clock,
        changed: Callable[[], None],
        event: Event,
    ) -> None:
        self._tasks = tasks
        self._runner = runner
        self._clock = clock
        self._changed = changed
        self._event = event
        self._running: dict[str, list[asyncio.Task[None]]] = {}
        self.unhealthy: dict[str, str] = {}

    def watch(self, container: Container, spec: Object, ips: Sequence[str]) -> None:
        """Begin with a container that has just started (or was adopted)."""
        if container.id in self._running:
            return
        wanted = kinds(spec)
        container.started = container.started or STARTUP not in wanted
        container.ready = container.ready or READINESS not in wanted
        startup_passed = asyncio.Event()
        if container.started:
            startup_passed.set()
            wanted = [kind for kind in wanted if kind != STARTUP]

        async def run(command: list[str], timeout_seconds: float) -> tuple[int, str]:
            return await self._runner.exec(container, command, timeout_seconds)

        target = Target(ips[0] if ips else "127.0.0.1", named_ports(spec), run)
        self._running[container.id] = [
            self._tasks.create_task(
                self._probe(kind, container, spec, target, startup_passed),
                name=f"{kind}-{container.name}",
            )
            for kind in wanted
        ]

    def stop(self, container: Container) -> None:
        """The container has ended, or is about to."""
        for task in self._running.pop(container.id, []):
            task.cancel()
        self.unhealthy.pop(container.id, None)

    def stop_all(self) -> None:
        for tasks in self._running.values():
            for task in tasks:
                task.cancel()
        self._running.clear()

    async def _probe(
        self,
        kind: str,
        container: Container,
        spec: Object,
        target: Target,
        startup_passed: asyncio.Event,
    ) -> None:
        probe = probe_of(spec, kind) or {}
        schedule = Schedule.of(probe)
        if kind != STARTUP:
            await startup_passed.wait()
        tally = Tally(schedule, Verdict.FAILURE if kind == READINESS else Verdict.SUCCESS)
        if kind == STARTUP:
            tally.settled = Verdict.UNKNOWN
        age = self._clock.now() - container.started_at
        await self._clock.sleep(schedule.initial_delay - age)
        first = kind != LIVENESS
        while True:
            began = self._clock.monotonic()
            verdict, text = await look(probe, target)
            if first and verdict is Verdict.FAILURE:
                verdict, text = await self._look_again(probe, target, began)
            first = False
            if verdict is Verdict.FAILURE:
                self._event(spec, "Warning", "Unhealthy", f"{_NAMES[kind]} probe failed: {text}")
            elif verdict is Verdict.UNKNOWN:
                self._event(
                    spec, "Warning", "ProbeWarning", f"{_NAMES[kind]} probe errored: {text}"
                )
            if verdict is not Verdict.UNKNOWN and tally.add(verdict):
                self._settle(kind, container, tally.settled)
                if kind == STARTUP and tally.settled is Verdict.SUCCESS:
                    startup_passed.set()
                    return
            await self._clock.sleep(schedule.period - (self._clock.monotonic() - began))

    async def _look_again(self, probe: Object, target: Target, began: float) -> tuple[Verdict, str]:
        """The first look finds most servers still starting: a few more soon after it count as one.

        Upstream looks at an unready container out of turn as well, whenever it makes the pod's status.
        """
        for pause in _AGAIN_SECONDS:
            await self._clock.sleep(pause)
            verdict, text = await look(probe, target)
            if verdict is not Verdict.FAILURE or self._clock.monotonic() - began > 1.0:
                break
        return verdict, text

    def _settle(self, kind: str, container: Container, verdict: Verdict) -> None:
        good = verdict is Verdict.SUCCESS
        if kind == READINESS:
            container.ready = good
        elif kind == STARTUP and good:
            container.started = True
        elif not good:
            word = "liveness" if kind == LIVENESS else "startup"
            self.unhealthy[container.id] = (
                f"Container {container.name} failed {word} probe, will be restarted"
            )
        log.debug("Probe settled", container=container.name, probe=kind, verdict=verdict)
        self._changed()
