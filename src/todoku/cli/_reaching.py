"""What `reach`, `check`, `trace` and `graph` share: which lab, which Services, which sources."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import click

from todoku.cli import CouldNotTell
from todoku.cli._lab import chosen

if TYPE_CHECKING:
    from todoku.api.meta import Object
    from todoku.cli._foreign import Elsewhere
    from todoku.client import Client
    from todoku.lab.reachability import Survey
    from todoku.reach.matrix import Effort
    from todoku.reach.report import Report
    from todoku.reach.targets import Address, Source
    from todoku.reach.world import World

T = TypeVar("T")


class Examined(Protocol):
    """A cluster under examination: a lab, or any other."""

    world: World

    @property
    def lan(self) -> str:
        """The LAN's network; "" where nobody knows it."""

    def sources(self, patterns: Sequence[str], listed: Sequence[Object]) -> list[Source]: ...

    async def reach(
        self, sources: Sequence[Source], addresses: Sequence[Address], *, effort: Effort, title: str
    ) -> Report: ...


@dataclass(slots=True)
class Bench:
    """A running lab under examination: a client, what the lab knows, and one snapshot of the API."""

    survey: Survey
    client: Client
    world: World

    async def refresh(self) -> None:
        """Look again, after something changed."""
        from todoku.lab.reachability import Survey

        self.survey = Survey(self.survey.lab)
        self.world = await self.survey.world(self.client)

    @property
    def lan(self) -> str:
        return self.survey.lab.topology.lan

    def sources(self, patterns: Sequence[str], listed: Sequence[Object]) -> list[Source]:
        return sources(self.world, patterns, listed)

    async def reach(
        self, sources: Sequence[Source], addresses: Sequence[Address], *, effort: Effort, title: str
    ) -> Report:
        """Measure sources × addresses."""
        from todoku.lab.reachability import reach

        return await reach(self.survey, self.world, sources, addresses, effort=effort, title=title)


def examine(lab: str, elsewhere: Elsewhere, work: Callable[[Examined], Awaitable[T]]) -> T:
    """Do `work` on the other cluster if one is named, else on the lab."""
    if elsewhere:
        from todoku.cli import _foreign

        return _foreign.run(elsewhere, work)
    return run(lab, work)


def run(lab: str, work: Callable[[Bench], Awaitable[T]]) -> T:
    """Do `work` on a running lab.  Raises LabError (exit 2), CouldNotTell (exit 3)."""
    import todoku.lab
    from todoku.client import Unreachable
    from todoku.lab.reachability import Survey, connected

    found = todoku.lab.open(chosen(lab))
    if not found.running:
        raise todoku.lab.LabError(f"lab {found.name} is stopped; `todoku start` starts it")

    async def inside() -> T:
        async with connected(found) as client:
            survey = Survey(found)
            return await work(Bench(survey, client, await survey.world(client)))

    try:
        return asyncio.run(inside())
    except (Unreachable, TimeoutError) as error:
        text = f"the API server of lab {found.name} does not answer: {error}"
        raise CouldNotTell(f"{text}; `todoku status` shows which machine is off") from error


def services(world: World, names: Sequence[str], namespace: str, everywhere: bool) -> list[Object]:
    """The Services that are meant.  Raises UsageError naming those that are not there."""
    here = [
        one for one in world.services if everywhere or one["metadata"]["namespace"] == namespace
    ]
    if not names:
        if not here:
            raise click.UsageError(
                f"there is no Service in namespace {namespace}; say -n NAMESPACE or -A"
            )
        return here
    found = []
    for text in names:
        name = text.removeprefix("svc/").removeprefix("service/")
        named = [one for one in here if one["metadata"]["name"] == name]
        if not named:
            known = ", ".join(sorted(one["metadata"]["name"] for one in here)) or "none"
            where = "any namespace" if everywhere else f"namespace {namespace}"
            raise click.UsageError(f"there is no Service {name} in {where}; there are: {known}")
        found += named
    return found


def sources(world: World, patterns: Sequence[str], listed: Sequence[Object]) -> list[Source]:
    """The sources that are meant; without a pattern every machine, and one pod per node."""
    from todoku.reach.judge import matching_sources
    from todoku.reach.targets import machine_sources, pod_sources

    machines, pods = machine_sources(world), pod_sources(world.pods)
    if not patterns:
        return machines + _one_per_node(world, pods, listed)
    chosen_ones: list[Source] = []
    for pattern in patterns:
        matched = matching_sources(pattern, [*machines, *pods])
        if not matched:
            known = ", ".join(one.name for one in machines)
            raise click.UsageError(
                f"--from {pattern} matches no source; there are {known}, and running pods as pod/NAME"
            )
        chosen_ones += [one for one in matched if one not in chosen_ones]
    return chosen_ones


def _one_per_node(world: World, pods: Sequence[Source], listed: Sequence[Object]) -> list[Source]:
    """A pod on each node, a backend of the Services where there is one: it shows the hairpin, too."""
    backends = {
        endpoint.pod
        for service in listed
        for port in service["spec"].get("ports") or ()
        for endpoint in world.endpoints(service, port)
    }
    first: dict[str, Source] = {}
    for source in sorted(pods, key=lambda one: (one.pod not in backends, one.name)):
        first.setdefault(source.machine, source)
    return [first[machine.name] for machine in world.node_machines() if machine.name in first]


def width() -> int:
    """Columns of the terminal; 80 in a pipe."""
    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80


def colour() -> bool:
    """Whether to colour: a terminal, and NO_COLOR is not set (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
