"""Events: repeated ones are counted, similar ones combined, too many held back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from todoku.client import EventRecorder

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "resourceVersion": "7"},
}


@pytest.fixture
async def recorder(client) -> AsyncIterator[EventRecorder]:
    made = EventRecorder(client, component="kubelet", host="worker1", now=lambda: 1_700_000_000.0)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_an_event_names_its_object_source_and_time(api, recorder):
    recorder.event(POD, "Normal", "Pulled", "image is here", field_path="spec.containers{web}")
    await recorder.flush()
    sent = api.requests[0]
    assert (sent.method, sent.path) == ("POST", "/api/v1/namespaces/shop/events")
    assert sent.body["involvedObject"] == {
        "apiVersion": "v1", "kind": "Pod", "name": "web", "namespace": "shop", "uid": "u1",
        "resourceVersion": "7", "fieldPath": "spec.containers{web}",
    }  # fmt: skip
    assert sent.body["source"] == {"component": "kubelet", "host": "worker1"}
    assert sent.body["firstTimestamp"] == "2023-11-14T22:13:20Z"
    assert sent.body["metadata"]["name"].startswith("web.")


async def test_events_about_cluster_objects_are_kept_in_default(api, recorder):
    recorder.event({"apiVersion": "v1", "kind": "Node", "name": "w1"}, "Normal", "NodeReady", "m")
    await recorder.flush()
    assert api.requests[0].path == "/api/v1/namespaces/default/events"


async def test_a_repeated_event_raises_the_count_of_the_first(api, recorder):
    for _ in range(3):
        recorder.event(POD, "Warning", "BackOff", "restarting")
    await recorder.flush()
    assert [r.method for r in api.requests] == ["POST", "PATCH", "PATCH"]
    assert [r.body["count"] for r in api.requests] == [1, 2, 3]


async def test_many_similar_events_are_combined(api, recorder):
    for number in range(12):
        recorder.event(POD, "Warning", "Failed", f"try {number}")
    await recorder.flush()
    combined = [r for r in api.requests if "combined from similar" in r.body["message"]]
    assert [r.method for r in combined] == ["POST", "PATCH", "PATCH"]
    assert [r.body["count"] for r in combined] == [1, 2, 3]
    assert combined[-1].body["message"] == "(combined from similar events): try 11"


async def test_one_object_may_cause_25_events_then_is_held_back(api, recorder):
    for number in range(40):
        recorder.event(POD, "Normal", f"Reason{number}", "m")
    await recorder.flush()
    assert len(api.requests) == 25
