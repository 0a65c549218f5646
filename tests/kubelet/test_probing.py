"""When a container is looked at, on a clock that stands still until told."""

from __future__ import annotations

import asyncio

import pytest

from todoku.aio.clock import FakeClock
from todoku.kubelet.probing import Prober
from todoku.kubelet.records import Container, State


class Looks:
    """A command that a probe runs: fails until `good_at`, and remembers when it ran."""

    def __init__(self, clock: FakeClock, good_at: float) -> None:
        self._clock, self._began, self._good_at = clock, clock.monotonic(), good_at
        self.at: list[float] = []

    async def exec(self, container, command, timeout_seconds):
        age = self._clock.monotonic() - self._began
        self.at.append(round(age, 3))
        return (0, "") if age >= self._good_at else (1, "not yet")


async def probed(kind: str, *, good_at: float, seconds: float, **probe):
    """Watch a container for some seconds; it, when it was looked at, and the events."""
    clock, events = FakeClock(), []
    looks = Looks(clock, good_at)
    container = Container(
        id="c1",
        name="main",
        kind="regular",
        restarts=0,
        image="",
        image_id="",
        state=State.RUNNING,
        started_at=clock.now(),
    )
    spec = {"name": "main", kind: {"exec": {"command": ["ready"]}, "periodSeconds": 5, **probe}}
    async with asyncio.TaskGroup() as tasks:
        prober = Prober(tasks, looks, clock, lambda: None, lambda *event: events.append(event[2:]))
        prober.watch(container, spec, ["10.0.0.1"])
        await clock.advance(seconds)
        prober.stop_all()
    return container, looks.at, events


async def test_a_server_that_needs_a_moment_is_ready_without_waiting_a_period():
    container, at, events = await probed("readinessProbe", good_at=0.09, seconds=0.2)
    assert container.ready
    assert at == [0, 0.05, 0.1]
    assert not events


async def test_looks_out_of_turn_end_and_count_as_one_failure():
    container, at, events = await probed("readinessProbe", good_at=7.0, seconds=6.0)
    assert not container.ready
    assert at == [0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 5.0]
    assert events == [("Unhealthy", "Readiness probe failed: not yet")] * 2


@pytest.mark.parametrize("kind", ["readinessProbe", "livenessProbe"])
async def test_the_initial_delay_is_honoured(kind):
    _, at, _ = await probed(kind, good_at=0.0, seconds=9.9, initialDelaySeconds=10)
    assert at == []


async def test_liveness_is_looked_at_in_turn_only():
    _, at, _ = await probed("livenessProbe", good_at=100.0, seconds=11.0, failureThreshold=9)
    assert at == [0, 5.0, 10.0]
