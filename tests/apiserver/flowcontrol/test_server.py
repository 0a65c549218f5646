"""Priority and fairness of a running server."""

import asyncio
import ssl
import time
from contextlib import asynccontextmanager, contextmanager

import aiohttp
import pytest

from tests.support.apiserver import running_api
from todoku.apiserver.config import Timings
from todoku.apiserver.flowcontrol import work
from todoku.apiserver.request import User, read_path

API = "/apis/flowcontrol.apiserver.k8s.io/v1"
RULE = {
    "resourceRules": [
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    ],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
}  # fmt: skip


@asynccontextmanager
async def as_user(api, name, *groups):
    pair = api.authority.issue(name, groups=groups).write(api.folder, name)
    context = ssl.create_default_context(cafile=api.ca_file)
    context.load_cert_chain(*pair)
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    async with aiohttp.ClientSession(api.url, connector=connector) as session:
        yield session


async def make(api, limited, *, precedence=50, name="mine", user="alice"):
    """A level of its own for a user; its uid and that of its schema."""
    spec = {"type": "Limited", "limited": limited}
    _, level = await api.request(
        "POST", f"{API}/prioritylevelconfigurations", {"metadata": {"name": name}, "spec": spec}
    )
    spec = {
        "priorityLevelConfiguration": {"name": name},
        "matchingPrecedence": precedence,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [{**RULE, "subjects": [{"kind": "User", "user": {"name": user}}]}],
    }
    _, schema = await api.request(
        "POST", f"{API}/flowschemas", {"metadata": {"name": name}, "spec": spec}
    )
    return level["metadata"]["uid"], schema["metadata"]["uid"]


def queueing(shares=1, length=10):
    queuing = {"queues": 1, "handSize": 1, "queueLengthLimit": length}
    return {
        "nominalConcurrencyShares": shares,
        "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Queue", "queuing": queuing},
    }


REJECTING = {
    "nominalConcurrencyShares": 0,
    "borrowingLimitPercent": 0,
    "limitResponse": {"type": "Reject"},
}


def uids(response):
    headers = response.headers
    return (
        headers.get("X-Kubernetes-PF-PriorityLevel-UID"),
        headers.get("X-Kubernetes-PF-FlowSchema-UID"),
    )


async def test_new_objects_act_at_once_and_answers_name_them(api):
    async with as_user(api, "alice") as alice:
        async with alice.get("/version") as response:
            before = uids(response)
        mine = await make(api, queueing(shares=10))
        async with alice.get("/version") as response:
            assert (response.status, uids(response)) == (200, mine)
        async with alice.get("/api/v1/pods") as response:
            assert (response.status, uids(response)) == (403, mine)
        await api.request("DELETE", f"{API}/flowschemas/mine")
        async with alice.get("/version") as response:
            assert uids(response) == before
        await api.request("DELETE", f"{API}/prioritylevelconfigurations/mine")


async def test_a_watch_names_its_level_too(api):
    async with api.session.get(f"{api.url}/api/v1/configmaps?watch=1") as response:
        assert all(uids(response))


@contextmanager
def one_seat_taken(api):
    control = api.server.pipeline.control
    flow = control.flow(User("alice", groups=("system:authenticated",)), read_path("GET", "/x", {}))
    ticket = control.enter(flow, 1)
    yield
    control.leave(flow, ticket)


async def test_who_finds_no_seat_is_told_when_to_come_again():
    async with running_api() as api, as_user(api, "alice") as alice:
        mine = await make(api, REJECTING)
        with one_seat_taken(api):
            async with alice.get("/version") as response:
                answer = await response.json()
                assert (response.status, response.headers["Retry-After"]) == (429, "1")
                assert uids(response) == mine
        async with alice.get("/version") as response:
            assert response.status == 200
        assert answer["message"] == "Too many requests, please try again later."
        assert (answer["reason"], answer["details"]["retryAfterSeconds"]) == ("TooManyRequests", 1)
        _, page = await api.raw("GET", "/metrics")
        assert (
            b'apiserver_flowcontrol_rejected_requests_total{priority_level="mine",'
            b'flow_schema="mine",reason="concurrency-limit"} 1\n'
        ) in page


async def test_who_waits_too_long_is_turned_away_and_others_do_not_notice():
    timings = Timings(request_timeout=0.4)
    async with running_api(timings=timings) as api, as_user(api, "alice") as alice:
        await make(api, queueing(shares=0))
        async with asyncio.TaskGroup() as tasks:

            async def get():
                async with alice.get("/version") as response:
                    return response.status

            waiting = tasks.create_task(get())
            async with asyncio.timeout(5):
                while b"alice" not in await dump(api, "dump_requests?includeRequestDetails=1"):
                    assert not waiting.done()
            assert (await api.request("GET", "/version"))[0] == 200
            page = (await dump(api, "dump_priority_levels")).decode()
        assert waiting.result() == 429
        row = next(line for line in page.splitlines() if line.startswith("mine,"))
        assert row.replace(" ", "").split(",")[:6] == ["mine", "1", "false", "false", "1", "0"]
        assert b"mine" not in await dump(api, "dump_requests")


async def test_one_request_does_not_stand_behind_a_hundred():
    """Alice has thirty requests waiting for the one seat when bob comes with his: he is among the first."""
    limited = queueing(shares=0, length=50)
    limited["limitResponse"]["queuing"] |= {"queues": 64, "handSize": 2}
    done = []

    async def get(session, name):
        async with session.get("/version") as response:
            assert response.status == 200
        done.append(name)

    async with (
        running_api() as api,
        as_user(api, "alice") as alice,
        as_user(api, "bob") as bob,
        asyncio.timeout(10),
    ):
        await make(api, limited, user="*")
        level = next(one for one in api.server.pipeline.control.levels() if one.name == "mine")
        async with asyncio.TaskGroup() as tasks:
            for number in range(30):
                tasks.create_task(get(alice, "alice"))
                while level.queues.waiting <= number:
                    await asyncio.sleep(0)
            tasks.create_task(get(bob, "bob"))
            while level.queues.waiting < 31:
                await asyncio.sleep(0)
            while not level.queues.idle:
                level.queues.configure(level.queuing, 1, time.monotonic())
                await asyncio.sleep(0)
    assert done.index("bob") < 5


async def dump(api, what):
    response, data = await api.raw("GET", f"/debug/api_priority_and_fairness/{what}")
    assert response.status == 200
    return data


async def test_a_watch_takes_a_seat_only_while_it_begins():
    """More watches than seats."""
    async with (
        running_api(max_requests_inflight=10, max_mutating_inflight=5, authorization=False) as api,
        as_user(api, "alice") as alice,
    ):
        await make(api, queueing(shares=1), name="a")
        streams = []
        for _ in range(20):
            response = await alice.get("/api/v1/configmaps?watch=1")
            assert response.status == 200
            streams.append(response)
        assert len({uids(one) for one in streams}) == 1
        seats = (
            b'apiserver_flowcontrol_current_executing_requests{priority_level="a",flow_schema="a"}'
        )
        page = b""
        async with asyncio.timeout(30):  # the last has answered, but may be about to leave its seat
            while seats + b" 0" not in page:
                _, page = await api.raw("GET", "/metrics")
        assert b'apiserver_longrunning_requests{verb="WATCH"' in page
        for one in streams:
            one.close()


async def test_the_condition_of_a_schema_follows_its_level(api):
    async def dangling():
        _, schema = await api.request("GET", f"{API}/flowschemas/mine")
        return [
            (one["type"], one["status"]) for one in schema.get("status", {}).get("conditions", [])
        ]

    await make(api, queueing())
    async with asyncio.timeout(5):
        while await dangling() != [("Dangling", "False")]:
            await asyncio.sleep(0)
        await api.request("DELETE", f"{API}/prioritylevelconfigurations/mine")
        while await dangling() != [("Dangling", "True")]:
            await asyncio.sleep(0)
    await api.request("DELETE", f"{API}/flowschemas/mine")


async def test_a_new_cluster_has_upstreams_schemas(api):
    _, table = await api.request("GET", f"{API}/flowschemas")
    ranks = {one["metadata"]["name"]: one["spec"]["matchingPrecedence"] for one in table["items"]}
    assert ranks.items() >= {
        "exempt": 1, "probes": 2, "system-leader-election": 100, "endpoint-controller": 150,
        "workload-leader-election": 200, "system-node-high": 400, "system-nodes": 500,
        "kube-controller-manager": 800, "kube-scheduler": 800, "kube-system-service-accounts": 900,
        "service-accounts": 9000, "global-default": 9900, "catch-all": 10000,
    }.items()  # fmt: skip
    assert all(one["status"]["conditions"][0]["status"] == "False" for one in table["items"])


WIDTHS = {"": 10, "?limit=1": 1, "?fieldSelector=metadata.name%3Dbig-1": 1}


@pytest.mark.parametrize(("query", "width"), WIDTHS.items())
async def test_a_list_takes_seats_by_the_size_of_its_answer(query, width):
    async with running_api() as api:
        path = "/api/v1/namespaces/default/configmaps"
        for number in range(12):
            body = {"metadata": {"name": f"big-{number}"}, "data": {"a": "x" * 90_000}}
            await api.request("POST", path, body)
        values = dict(part.split("=") for part in query.lstrip("?").split("&") if part)
        values = {key: value.replace("%3D", "=") for key, value in values.items()}
        info = read_path("GET", path, values)
        assert work.width(api.server.engine, info, values, 37) == pytest.approx(width, abs=1)
        assert work.width(api.server.engine, info, values, 3) <= 3
