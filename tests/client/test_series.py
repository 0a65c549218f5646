"""Events of the new API: what repeats becomes a series, whose count is told in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from todoku.client import SeriesRecorder

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "resourceVersion": "7"},
}


class Time:
    now = 1_700_000_000.25


@pytest.fixture
async def recorder(client) -> AsyncIterator[SeriesRecorder]:
    made = SeriesRecorder(
        client, component="default-scheduler", instance="default-scheduler-m1", now=lambda: Time.now
    )
    Time.now = 1_700_000_000.25
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def fail(recorder: SeriesRecorder, pod=POD, note="0/3 nodes are available"):
    recorder.event(pod, "Warning", "FailedScheduling", note, action="Scheduling")


def counts(api) -> list[tuple[str, object]]:
    return [(r.method, r.body.get("series", {}).get("count")) for r in api.requests]


async def test_an_event_says_when_who_and_what(api, recorder):
    other = {"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "vip"}
    recorder.event(POD, "Normal", "Preempted", "m" * 2000, action="Preempting", related=other)
    await recorder.flush()
    sent = api.requests[0]
    assert (sent.method, sent.path) == ("POST", "/apis/events.k8s.io/v1/namespaces/shop/events")
    assert sent.body["eventTime"] == "2023-11-14T22:13:20.250000Z"
    assert sent.body["regarding"]["resourceVersion"] == "7"
    assert sent.body["related"] == other
    assert (len(sent.body["note"]), sent.body["note"][-4:]) == (1024, " ...")
    assert {"series", "deprecatedCount", "deprecatedSource"}.isdisjoint(sent.body)


async def test_the_second_begins_a_series_and_further_ones_are_told_when_it_ends(api, recorder):
    for number in range(4):
        fail(recorder, note=f"try {number}")
    await recorder.flush()
    assert counts(api) == [("POST", None), ("PATCH", 2)]
    Time.now += 361
    await recorder.settle()
    assert counts(api)[2:] == [("PATCH", 4)]
    await recorder.settle()
    assert len(api.requests) == 3


async def test_a_long_series_is_told_from_time_to_time(api, recorder):
    for _ in range(8):
        fail(recorder)
        await recorder.flush()
        Time.now += 250
    await recorder.settle()
    assert counts(api) == [("POST", None), ("PATCH", 2), ("PATCH", 8)]


async def test_after_six_minutes_or_in_another_state_it_is_another_event(api, recorder):
    fail(recorder)
    await recorder.flush()
    Time.now += 361
    fail(recorder)
    fail(recorder, {**POD, "metadata": POD["metadata"] | {"resourceVersion": "8"}})
    await recorder.flush()
    assert counts(api) == [("POST", None)] * 3
