"""`reach`, `check` and `graph` on a cluster that is only known by its kubeconfig."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from todoku.cli import DONE, FAILED, CouldNotTell

if TYPE_CHECKING:
    from todoku.api.meta import Object
    from todoku.client import Client
    from todoku.reach.foreign import Asker
    from todoku.reach.jobs import Order
    from todoku.reach.matrix import Effort, Wanted
    from todoku.reach.report import Cell, Report
    from todoku.reach.spec import Fault
    from todoku.reach.targets import Address, Source
    from todoku.reach.world import World

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])
_DEFAULT_PODS = 5


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another cluster than a lab, and how to ask from inside it."""

    kubeconfig: str = ""
    context: str = ""
    image: str = ""
    nodes: bool = False
    jobs_in: str = "default"
    dry_run: bool = False
    check_access: bool = False

    def __bool__(self) -> bool:
        return bool(self.kubeconfig or self.context)

    def path(self) -> Path:
        """The kubeconfig: as given, else $KUBECONFIG, else kubectl's own."""
        first = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
        return Path(self.kubeconfig or first or "~/.kube/config").expanduser()


def elsewhere_options(function: Function) -> Function:
    """The options of another cluster, handed to the verb as `elsewhere`."""
    names = tuple(Elsewhere.__dataclass_fields__)

    @wraps(function)
    def wrapped(*args: Any, **given: Any) -> Any:
        found = Elsewhere(**{name: given.pop(name) for name in names})
        return function(*args, elsewhere=_consistent(found), **given)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]


_OPTIONS = (
    click.option(
        "--kubeconfig", default="", metavar="FILE", help="Ask on this cluster, not on a lab."
    ),
    click.option("--context", default="", metavar="NAME", help="A context of the kubeconfig."),
    click.option("--image", default="", metavar="IMAGE", help="For the Jobs; agnhost or busybox."),
    click.option("--nodes", is_flag=True, help="Ask from nodes too, by hostNetwork pods."),
    click.option("--jobs-in", default="default", metavar="NAMESPACE", help="Where Jobs are made."),
    click.option("--dry-run", is_flag=True, help="Print the Jobs; make none."),
    click.option("--check-access", is_flag=True, help="Print the Role that is missing."),
)


def _consistent(found: Elsewhere) -> Elsewhere:
    if not found and (found.image or found.nodes or found.dry_run or found.check_access):
        raise click.UsageError(
            "--image, --nodes, --dry-run and --check-access belong to another cluster: "
            "say --kubeconfig or --context; in a lab nothing has to be started to ask"
        )
    return found


class Stranger:
    """Another cluster under examination; satisfies `_reaching.Examined`."""

    def __init__(self, elsewhere: Elsewhere, client: Client, asker: Asker, world: World) -> None:
        self.elsewhere, self.client, self.world = elsewhere, client, world
        self._asker = asker

    @property
    def lan(self) -> str:
        return ""

    def every_source(self) -> list[Source]:
        from todoku.reach.foreign import sources

        return sources(self.world, nodes=self.elsewhere.nodes)

    def sources(self, patterns: Sequence[str], listed: Sequence[Object]) -> list[Source]:
        """The sources meant; by default this machine and a pod on each of the first nodes."""
        from todoku.reach.judge import matching_sources

        known = self.every_source()
        if not patterns:
            pods = [one for one in known if one.kind == "pod"][:_DEFAULT_PODS]
            return [*pods, *(one for one in known if one.kind != "pod")]
        chosen: list[Source] = []
        for pattern in patterns:
            found = matching_sources(pattern, known)
            if not found:
                raise click.UsageError(_no_source(pattern, known, self.elsewhere.nodes))
            chosen += [one for one in found if one not in chosen]
        return chosen

    async def reach(
        self, sources: Sequence[Source], addresses: Sequence[Address], *, effort: Effort, title: str
    ) -> Report:
        """Measure; with --dry-run print the Jobs instead."""
        import time

        from todoku.reach.matrix import Wanted
        from todoku.reach.report import Report

        started = time.monotonic()
        if self.elsewhere.dry_run:
            self._print(sources, addresses)
            return Report(title, [], [], [])
        wanted = [Wanted(source, address, effort) for source in sources for address in addresses]
        cells = await self.ask(self.world, wanted)
        return Report(title, sources, addresses, cells, time.monotonic() - started)

    async def ask(self, world: World, wanted: Sequence[Wanted]) -> list[Cell]:
        return await self._asker.ask(world, wanted)

    def _print(self, sources: Sequence[Source], addresses: Sequence[Address]) -> None:
        from todoku.reach.jobs import job, manifests

        order = _order(self.elsewhere)
        asked = [source for source in sources if source.kind != "outside"]
        click.echo(manifests([job(order, source, addresses) for source in asked]), nl=False)


def _no_source(pattern: str, known: Sequence[Source], nodes: bool) -> str:
    names = ", ".join(one.name for one in known)
    if pattern.startswith("node/") and not nodes:
        return f"--from {pattern} asks from a node's own network, by a hostNetwork pod: add --nodes"
    if pattern.startswith("pod/"):
        return (
            f"--from {pattern}: outside a lab a pod cannot be asked from without changing it; "
            f"there are {names}"
        )
    return f"--from {pattern} matches no source; there are {names}"


class StrangerGround:
    """Satisfies `reach.checking.Ground`: nobody tells who answered, and nothing can be broken."""

    knows_backends = False

    def __init__(self, stranger: Stranger) -> None:
        self._stranger = stranger

    async def look(self) -> World:
        from todoku.reach.foreign import look

        self._stranger.world = await look(self._stranger.client)
        return self._stranger.world

    def sources(self, world: World) -> Sequence[Source]:
        return self._stranger.every_source()

    async def ask(self, world: World, wanted: Sequence[Wanted]) -> list[Cell]:
        return await self._stranger.ask(world, wanted)

    def broken(self, faults: Sequence[Fault]) -> AbstractAsyncContextManager[None]:
        raise click.UsageError("`given:` breaks machines, and that needs a lab")

    async def trace(self, world: World, cell: Cell) -> str:
        return "no trace: that needs a lab"


def run(elsewhere: Elsewhere, work: Callable[[Stranger], Awaitable[T]]) -> T:
    """Do `work` on the other cluster.  Raises UsageError, CouldNotTell; ends the verb after --check-access."""

    async def examine(client: Client) -> T:
        from todoku.reach.foreign import Asker, look

        if elsewhere.check_access:
            raise click.exceptions.Exit(await _access(client, elsewhere))
        world = await look(client)
        _warn_of_the_vantage(world)
        return await work(Stranger(elsewhere, client, Asker(client, _order(elsewhere)), world))

    return run_plainly(elsewhere, examine)


def run_plainly(elsewhere: Elsewhere, work: Callable[[Client], Awaitable[T]]) -> T:
    """Do `work` with a client of the other cluster.  Raises UsageError, CouldNotTell."""
    from todoku.api.errors import Forbidden
    from todoku.client import Client, ClientConfig, Unreachable
    from todoku.client.config import ConfigError

    path = elsewhere.path()
    try:
        config = ClientConfig.from_kubeconfig(path, context=elsewhere.context)
    except (ConfigError, OSError) as error:
        raise click.UsageError(f"the kubeconfig {path} is not usable: {error}") from error

    async def inside() -> T:
        async with Client(config) as client:
            return await work(client)

    try:
        return asyncio.run(inside())
    except Forbidden as error:
        hint = "`todoku reach --check-access` prints the Role that is missing"
        raise CouldNotTell(f"{error}; {hint}") from error
    except (Unreachable, TimeoutError) as error:
        raise CouldNotTell(f"the cluster of {path} does not answer: {error}") from error


def _order(elsewhere: Elsewhere) -> Order:
    from todoku.reach.jobs import DEFAULT_IMAGE, Order

    return Order(secrets.token_hex(3), elsewhere.jobs_in, elsewhere.image or DEFAULT_IMAGE)


def _warn_of_the_vantage(world: World) -> None:
    from todoku.reach.foreign import LOCAL

    own = world.by_name[LOCAL].address
    if any(machine.address == own for machine in world.node_machines()):
        click.echo(f"todoku: this machine is a node ({own}): `local` is not outside", err=True)


async def _access(client: Client, elsewhere: Elsewhere) -> int:
    """Print what is missing, ready to apply."""
    import yaml

    from todoku.reach.foreign import missing_access
    from todoku.reach.jobs import role

    missing = await missing_access(client, elsewhere.jobs_in)
    if not missing:
        click.echo(
            f"nothing is missing to ask from Jobs in namespace {elsewhere.jobs_in}", err=True
        )
        return DONE
    click.echo(
        "---\n".join(yaml.safe_dump(one, sort_keys=False) for one in role(missing)), nl=False
    )
    click.echo("todoku: these rights are missing; bind them to the user who runs this", err=True)
    return FAILED
