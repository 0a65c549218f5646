"""A lab in the state of the tutorial's chapter 4, made once and shared; and one bench to look at it."""

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from todoku.cli import _acts
from todoku.cli._reaching import Bench
from todoku.cli.manifests import path
from todoku.lab import lifecycle
from todoku.lab.lab import Lab
from todoku.lab.lab import open as open_lab
from todoku.lab.reachability import Survey, connected


def apply(lab: Lab, *names: str) -> None:
    for name in names:
        _acts.kubectl(lab, ["apply", "-f", str(path(name))])


async def until(what: str, done: Callable[[], Awaitable[bool]], *, seconds: float = 60) -> None:
    await _acts.until(what, done, seconds=seconds, tell=lambda _: None)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A running lab with the tutorial's pods and load balancer on their way."""
    name = f"t{os.getpid()}-reach"
    try:
        lifecycle.up(name, None)
        found = open_lab(name)
        apply(found, "service-test-namespace.yaml", "httpd-deployment.yaml", "metallb.yaml")
        yield found
    finally:
        lifecycle.down(name)


@pytest.fixture
async def bench(lab: Lab) -> AsyncIterator[Bench]:
    """Chapter 4: the Service has an address that a node announces, and three pods."""
    async with connected(lab) as client:
        survey = Survey(lab)
        made = Bench(survey, client, await survey.world(client))
        await until("the load balancer", lambda: _acts.balancer_ready(made), seconds=120)
        apply(lab, "ipaddresspool.yaml", "l2advertisement.yaml", "loadbalancer-service.yaml")
        await until("an announcement", lambda: _acts.announced(made))
        await until("three pods", lambda: _acts.pods_ready(made), seconds=120)
        await until("the rules", lambda: _acts.programmed(made))
        yield made


@pytest.fixture
def deadline() -> float:
    """When a bounded test stops: TODOKU_REACH_SECONDS from now, 60 without it."""
    return time.monotonic() + float(os.environ.get("TODOKU_REACH_SECONDS", "60"))
