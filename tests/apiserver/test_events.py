"""Events in both of their versions: what is not set is shown as upstream shows it."""

from __future__ import annotations

from tests.support.apiserver import running_api

OLD, NEW = "/api/v1/namespaces/default/events", "/apis/events.k8s.io/v1/namespaces/default/events"


async def test_an_event_of_the_new_api_has_an_empty_source_and_no_old_times():
    body = {
        "metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.500000+00:00", "action": "Binding", "reason": "Scheduled",
        "reportingController": "default-scheduler", "reportingInstance": "default-scheduler-m1",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "web"}, "note": "n", "type": "Normal",
    }  # fmt: skip
    async with running_api() as api:
        _, made = await api.request("POST", NEW, body)
        _, core = await api.request("GET", f"{OLD}/e")
    assert made["deprecatedSource"] == core["source"] == {}
    assert (made["deprecatedFirstTimestamp"], core["firstTimestamp"], core["lastTimestamp"]) == (
        None,
    ) * 3
    assert core["eventTime"] == "2026-01-01T00:00:00.500000Z"
    assert "count" not in core


async def test_an_event_of_the_old_api_has_no_event_time():
    body = {
        "metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}, "lastTimestamp": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    async with running_api() as api:
        _, core = await api.request("POST", OLD, body)
        _, new = await api.request("GET", f"{NEW}/e")
    assert (core["eventTime"], core["firstTimestamp"], core["source"]) == (None, None, {})
    assert (new["eventTime"], new["deprecatedSource"]) == (None, {})
