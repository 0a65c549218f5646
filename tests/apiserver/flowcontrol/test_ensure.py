"""Flow control's objects are kept up while the server runs."""

from tests.support.apiserver import running_api
from todoku.apiserver.flowcontrol import defaults
from todoku.apiserver.flowcontrol.upkeep import Upkeep
from todoku.apiserver.objects import EngineObjects

API = "/apis/flowcontrol.apiserver.k8s.io/v1"


async def test_what_was_deleted_or_changed_comes_back_unless_people_took_it_over():
    async with running_api() as api:

        async def level(name):
            return (await api.request("GET", f"{API}/prioritylevelconfigurations/{name}"))[1]

        async def set_shares(name, shares, mark):
            patch = {
                "metadata": {"annotations": {defaults.AUTO_UPDATE: mark}},
                "spec": {"limited": {"nominalConcurrencyShares": shares}},
            }
            await api.request(
                "PATCH",
                f"{API}/prioritylevelconfigurations/{name}",
                patch,
                content_type="application/merge-patch+json",
            )

        await api.request("DELETE", f"{API}/flowschemas/probes")
        await set_shares("system", 1, "true")
        await set_shares("node-high", 7, "false")
        engine = api.server.engine
        objects = EngineObjects.of(engine)
        await Upkeep(api.server.pipeline.control, objects, engine.clock).ensure()
        assert (await api.request("GET", f"{API}/flowschemas/probes"))[0] == 200
        assert (await level("system"))["spec"]["limited"]["nominalConcurrencyShares"] == 30
        assert (await level("node-high"))["spec"]["limited"]["nominalConcurrencyShares"] == 7
