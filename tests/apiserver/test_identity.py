"""The Lease that names an API server."""

import re

from tests.support.apiserver import running_api
from todoku.apiserver.identity import IdentityLease, server_id
from todoku.apiserver.objects import EngineObjects

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"


def test_the_name_follows_the_host():
    assert re.fullmatch("apiserver-[a-z2-7]{26}", server_id("master1"))
    assert server_id("master1") == server_id("master1") != server_id("master2")


async def test_each_start_takes_the_same_lease_as_another_holder():
    async with running_api() as api:
        objects = EngineObjects.of(api.server.engine)
        holders = []
        for _ in range(2):
            lease = IdentityLease(objects, "master1", lambda: 1_800_000_000.0)
            await lease.start()
            await lease.stop()
            _, found = await api.request("GET", f"{LEASES}/{server_id('master1')}")
            holders.append(found["spec"]["holderIdentity"])
        assert found["metadata"]["labels"] == {
            "apiserver.kubernetes.io/identity": "kube-apiserver", "kubernetes.io/hostname": "master1",
        }  # fmt: skip
        assert found["spec"]["leaseDurationSeconds"] == 3600
        assert holders[0] != holders[1]
        assert all(one.startswith(server_id("master1") + "_") for one in holders)
