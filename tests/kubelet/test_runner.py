"""A container's start as the runner sees it, with the end coming whenever it likes."""

import time
from types import SimpleNamespace

import pytest

from todoku.kubelet.backoff import after_exit
from todoku.kubelet.config import Timings
from todoku.kubelet.records import Container, Delay, PodRecord, State
from todoku.kubelet.runner import Runner
from todoku.linux.containers import RuntimeFailed

SPEC = {"name": "main"}


class Containers:
    """A runtime whose containers do what `during_start` does before their start is reported."""

    def __init__(self, during_start):
        self.ends = {}
        self._during_start = during_start

    async def start(self, identity):
        self._during_start(self)

    def exit(self, identity):
        return self.ends.get(identity)

    def out_of_memory(self, identity):
        return False


def fixture(tmp_path, during_start):
    clock = SimpleNamespace(now=time.time)
    context = SimpleNamespace(
        config=SimpleNamespace(root_dir=tmp_path, pod_logs=tmp_path),
        containers=Containers(during_start),
        clock=clock,
    )
    return Runner(context)


def made(tmp_path):
    return Container(
        id="c1", name="main", kind="regular", restarts=0, image="busybox", image_id="",
        log=str(tmp_path / "0.log"),
    )  # fmt: skip


async def test_an_end_seen_before_the_start_is_reported_stays_an_end_and_backs_off(tmp_path):
    container = made(tmp_path)

    def ends_at_once(containers):
        containers.ends["c1"] = (1, time.time())
        assert runner.observe(PodRecord({"metadata": {}, "spec": {}}), container, SPEC)

    runner = fixture(tmp_path, ends_at_once)
    await runner.start(container)
    assert container.state is State.EXITED
    timings = Timings()
    delay = after_exit(Delay(seconds=10.0), container, timings)
    assert delay.until == pytest.approx(container.finished_at + 10.0)


async def test_a_container_that_could_not_be_started_has_no_time_of_start(tmp_path):
    def refuses(containers):
        raise RuntimeFailed("no")

    container = made(tmp_path)
    with pytest.raises(RuntimeFailed):
        await fixture(tmp_path, refuses).start(container)
    assert (container.state, container.started_at) == (State.CREATED, 0.0)
