"""Who leads: the Lease that a holder renews and others wait for."""

import asyncio

import pytest

from tests.support.apiserver import running_api
from todoku.aio import FakeClock
from todoku.client import Client, ClientConfig
from todoku.client.election import Election, LostLease, Periods, taken

LEASES = "leases.coordination.k8s.io"
SPEC = {
    "holderIdentity": "a", "leaseDurationSeconds": 15, "acquireTime": "2026-01-01T00:00:00.000000Z",
    "renewTime": "2026-01-01T00:00:00.000000Z", "leaseTransitions": 2,
}  # fmt: skip


def test_the_holder_renews_and_a_successor_counts_as_a_transition():
    renewed = taken(SPEC, "a", 15, 1_800_000_000.0)
    assert (renewed["acquireTime"], renewed["leaseTransitions"]) == (SPEC["acquireTime"], 2)
    assert renewed["renewTime"] > SPEC["renewTime"]
    other = taken(SPEC, "b", 15, 1_800_000_000.0)
    assert (other["holderIdentity"], other["leaseTransitions"]) == ("b", 3)
    assert other["acquireTime"] == other["renewTime"]
    assert taken({}, "a", 15, 0.0)["leaseTransitions"] == 0


@pytest.fixture
async def client():
    async with (
        running_api() as api,
        Client(ClientConfig.from_kubeconfig(api.kubeconfig)) as client,
    ):
        yield client


def election(client, identity, clock):
    return Election(client, "a-role", identity, clock=clock, periods=Periods(retry_seconds=0.01))


async def test_another_waits_until_the_lease_has_run_out(client):
    clock = FakeClock()
    await election(client, "first", clock).acquired()
    waiting = asyncio.create_task(election(client, "second", clock).acquired())
    for _ in range(20):
        await clock.advance(0.01)
        await client.get(LEASES, "a-role", "kube-system")
    assert not waiting.done()
    async with asyncio.timeout(5):
        while not waiting.done():
            await clock.advance(1.0)
            await client.get(LEASES, "a-role", "kube-system")
    spec = (await client.get(LEASES, "a-role", "kube-system"))["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("second", 1)


async def test_the_same_identity_goes_on_at_once(client):
    for _ in range(2):
        async with asyncio.timeout(5):
            await election(client, "first", FakeClock()).acquired()


async def test_a_holder_that_was_replaced_stops(client):
    clock = FakeClock()
    ours = election(client, "first", clock)
    await ours.acquired()
    lease = await client.get(LEASES, "a-role", "kube-system")
    lease["spec"]["holderIdentity"] = "second"
    await client.update(LEASES, lease)
    holding = asyncio.create_task(ours.hold())
    async with asyncio.timeout(5):
        while not holding.done():
            await clock.advance(5.0)
            await client.get(LEASES, "a-role", "kube-system")
    with pytest.raises(LostLease, match="second leads as a-role"):
        await holding
