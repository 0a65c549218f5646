"""Running a ReachSpec: faults made once and always undone, time to recover, proof that a denial means something."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from tests.reach.article import endpoint_slice, machine, service, with_ingress, world
from todoku.aio.clock import SystemClock
from todoku.api.located import BadFile
from todoku.reach.checking import run, verdict
from todoku.reach.judge import Status, strictly
from todoku.reach.matrix import Wanted
from todoku.reach.outcome import Outcome
from todoku.reach.predict import predict
from todoku.reach.probe import Attempt
from todoku.reach.report import Cell
from todoku.reach.spec import Fault, parse
from todoku.reach.targets import machine_sources, pod_sources
from todoku.reach.world import World

HEAD = (
    "apiVersion: todoku/v1alpha1\nkind: ReachSpec\ndefaults: {namespace: service-test}\nexpect:\n"
)


class Model:
    """A cluster in which everything happens as predicted; a machine that is broken has no power."""

    def __init__(
        self, here: World, *, knows_backends: bool = True, heals_after: int | None = None
    ) -> None:
        self.whole, self.knows_backends, self.heals_after = here, knows_backends, heals_after
        self.off: tuple[str, ...] = ()
        self.asked: list[tuple[str, str]] = []
        self.broke: list[tuple[Fault, ...]] = []
        self.looks = 0

    async def look(self) -> World:
        self.looks += 1
        healed = self.heals_after is not None and self.looks > self.heals_after
        machines = [
            replace(one, powered=one.powered and (healed or one.short not in self.off))
            for one in self.whole.machines
        ]
        return replace(self.whole, machines=machines)

    def sources(self, here: World):
        return [*machine_sources(here), *pod_sources(here.pods)]

    async def ask(self, here: World, wanted: Sequence[Wanted]) -> list[Cell]:
        self.asked += [(one.source.name, one.address.label) for one in wanted]
        return [self._cell(here, one) for one in wanted]

    def _cell(self, here: World, one: Wanted) -> Cell:
        prediction = predict(here, one.source, one.address)
        outcome = Outcome.OK if prediction.open else min(prediction.outcomes)
        if outcome in (Outcome.UNKNOWN, Outcome.NOT_APPLICABLE):
            return Cell(one.source, one.address, prediction)
        backends = dict.fromkeys(prediction.backends, 1) if self.knows_backends else {}
        attempts = [Attempt(outcome, 0.1)] * one.effort.requests
        return Cell(one.source, one.address, prediction, attempts, backends)

    @contextlib.asynccontextmanager
    async def broken(self, faults: Sequence[Fault]) -> AsyncIterator[None]:
        self.broke.append(tuple(faults))
        self.off = tuple(fault.machine for fault in faults)
        try:
            yield
        finally:
            self.off = ()

    async def trace(self, here: World, cell: Cell) -> str:
        return f"the way of {cell.source.name} -> {cell.address.label}"


def assertion(**fields: str) -> str:
    return "- {" + ", ".join(f"{key}: {value}" for key, value in fields.items()) + "}\n"


def outside(at: str, verdict_: str, **fields: str) -> str:
    return assertion(
        **{"from": '"outside/*"'}, to=f'"svc/httpd-service:8080@{at}"', verdict=verdict_, **fields
    )


BALANCED = world(with_ingress(service("LoadBalancer")))


async def checked(model: Model, *lines: str):
    return await run(parse(HEAD + "".join(lines), "reach.yaml"), model, SystemClock())


async def test_assertions_keep_the_file_s_order():
    results = await checked(
        Model(BALANCED),
        outside("lb", "allowed", given="{stop: node/worker1}"),
        outside("nodeport", "allowed"),
        outside("clusterip", "denied"),
    )
    assert [one.assertion.line for one in results] == [5, 6, 7]
    assert {one.status for one in results} == {Status.PASSED}


async def test_a_shared_fault_is_made_once_and_undone():
    model = Model(BALANCED)
    await checked(
        model,
        outside("lb", "allowed", given="{stop: node/worker1}"),
        outside("nodeport/worker1", "denied", given="{stop: node/worker1}"),
        outside("lb", "allowed", given="{cut: worker2}"),
    )
    assert model.broke == [(Fault("stop", "worker1"),), (Fault("cut", "worker2"),)]
    assert model.off == ()


async def test_faults_are_undone_when_a_run_is_interrupted():
    model = Model(BALANCED)

    async def interrupted(here: World, wanted: Sequence[Wanted]) -> list[Cell]:
        raise KeyboardInterrupt

    model.ask = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        await checked(model, outside("lb", "allowed", given="{stop: node/worker1}"))
    assert model.broke
    assert model.off == ()


async def test_within_tries_again_until_it_holds():
    slow = Model(BALANCED, heals_after=3)
    line = outside("nodeport/worker1", "allowed", given="{stop: node/worker1}", within="5s")
    (result,) = await checked(slow, line)
    assert result.status is Status.PASSED
    assert result.seconds > 0


async def test_within_ends_and_then_the_counter_example_is_traced():
    line = outside("nodeport/worker1", "allowed", given="{stop: node/worker1}", within="300ms")
    (result,) = await checked(Model(BALANCED), line)
    assert result.status is Status.FAILED
    assert result.seconds >= 0.3
    assert result.trace == "the way of rhel8host -> worker1:30080"


async def test_a_denial_asks_somebody_who_should_get_in():
    model = Model(BALANCED)
    (result,) = await checked(model, outside("clusterip", "denied"))
    assert result.status is Status.PASSED
    assert ("master1", "ClusterIP:8080") in model.asked


async def test_a_denial_proves_nothing_when_nobody_gets_in():
    nothing = world(service("NodePort"), slices=[endpoint_slice({})])
    results = await checked(Model(nothing), outside("nodeport", "denied"))
    assert results[0].status is Status.VACUOUS
    assert verdict(results) is Status.PASSED
    assert verdict(strictly(results)) is Status.FAILED


async def test_before_a_fault_the_denied_source_itself_may_show_that_the_address_lives():
    line = outside("nodeport/worker1", "denied", given="{stop: node/worker1}")
    (result,) = await checked(Model(BALANCED), line)
    assert result.status is Status.PASSED


async def test_a_source_that_is_down_is_undetermined_never_denied():
    dead = replace(
        BALANCED, machines=[machine("master1"), machine("rhel8host", powered=False), machine("worker1")]
    )  # fmt: skip
    (result,) = await checked(Model(dead), outside("lb", "denied"))
    assert result.status is Status.UNDETERMINED


async def test_who_answered_is_undetermined_where_nobody_tells():
    model = Model(BALANCED, knows_backends=False)
    bounded, plain = await checked(
        model, outside("lb", "allowed", backends="{min: 2}"), outside("lb", "allowed")
    )
    assert (bounded.status, plain.status) == (Status.UNDETERMINED, Status.PASSED)


async def test_a_pending_address_is_not_allowed_and_not_denied():
    pending = Model(world(service("LoadBalancer")))
    allowed, denied = await checked(pending, outside("lb", "allowed"), outside("lb", "denied"))
    assert (allowed.status, denied.status) == (Status.FAILED, Status.SKIPPED)


NOTHING = [
    ("source", assertion(**{"from": "outside/nobody"}, to="svc/httpd-service", verdict="allowed"),
     "line 5: expect[0].from: 'outside/nobody' matches no source (there are master1"),
    ("service", assertion(**{"from": "node/*"}, to='"svc/htpd-*"', verdict="allowed"),
     "expect[0].to: 'svc/htpd-*' matches no address (Services in namespace service-test: httpd-service)"),
    ("port", assertion(**{"from": "node/*"}, to='"svc/httpd-service:81"', verdict="allowed"),
     "Service httpd-service has no such port or kind of address"),
    ("pod", assertion(**{"from": "node/*"}, to='"pod/web:81"', verdict="allowed"),
     "`kubectl get pods -n service-test` lists them"),
    ("machine", outside("lb", "allowed", given="{stop: node/worker9}"),
     "expect[0].given.stop: no machine 'worker9' (there are master1, worker1"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "said"), [r[1:] for r in NOTHING], ids=[r[0] for r in NOTHING])
async def test_what_matches_nothing_is_an_error_with_its_line_and_remedy(line, said):
    with pytest.raises(BadFile) as caught:
        await checked(Model(BALANCED), line)
    assert said in str(caught.value)


async def test_an_unpublished_address_can_be_asked_without_a_prediction():
    (result,) = await checked(
        Model(BALANCED), assertion(**{"from": "node/*"}, to='"192.168.11.200:22"', verdict="denied")
    )
    assert result.status in (Status.VACUOUS, Status.PASSED)
