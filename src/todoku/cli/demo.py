"""todoku demo: the tutorial from start to finish, narrated, with real packets."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import click

from todoku.cli import DONE, FAILED
from todoku.cli._lab import chosen, lab_option
from todoku.cli._output import Progress, program
from todoku.cli._reaching import Bench, colour, run, width

if TYPE_CHECKING:
    from todoku.lab.scenario import Chapter, Check
    from todoku.reach.report import Cell, Report

_PAGE_CHARACTERS = 160


@click.command()
@lab_option
@click.option(
    "--chapter", "last", default=4, type=click.IntRange(0, 4), help="Stop after this one."
)
@click.option(
    "--svg", type=click.Path(file_okay=False), help="Also write each chapter's drawing there."
)
def command(lab: str, last: int, svg: str | None) -> int:
    """Walk through the tutorial with real requests; show who answers.

    Pods, ClusterIP, NodePort, LoadBalancer, MetalLB, and the death of a node.

    Exit 0 only if everything that the tutorial promises was true.  The lab stays up.

    \b
    todoku demo
    todoku demo --chapter 1           pods and ClusterIP only
    todoku demo --svg drawings
    """
    from todoku.cli.up import start

    name = chosen(lab)
    click.echo(_heading("Todoku: who can reach a Service, from where, and how"))
    start(name, None, wait=True)
    started = time.monotonic()
    performance = _Performance(name, last, svg)
    try:
        run(name, performance.play)
    except KeyboardInterrupt:
        performance.break_off()
        raise
    return performance.close(time.monotonic() - started)


class _Performance:
    """One run of the demo; collects what every chapter found."""

    def __init__(self, lab: str, last: int, svg: str | None) -> None:
        self.lab, self.last, self.svg = lab, last, svg
        self.measured: list[tuple[Chapter, Report]] = []
        self.checks: list[Check] = []
        self.broken: list[str] = []
        self.held = 0
        self.off = ""  # the node whose power is cut at the moment

    async def play(self, bench: Bench) -> None:
        from todoku.lab.scenario import CHAPTERS

        self.found = bench.survey.lab
        await self._clear(bench)
        for chapter in CHAPTERS[: self.last + 1]:
            await self._chapter(bench, chapter)

    async def _clear(self, bench: Bench) -> None:
        """An earlier demo's objects would make this one's chapters untrue."""
        from todoku.lab.scenario import NAMESPACE

        there = {one["metadata"]["name"] for one in bench.world.namespaces}
        for namespace in (NAMESPACE, "metallb-system"):
            if namespace in there:
                click.echo(f"removing namespace {namespace} of an earlier run")
                await self._kubectl("delete", "namespace", namespace, "--wait=true", quiet=True)

    async def _chapter(self, bench: Bench, chapter: Chapter) -> None:
        from todoku.cli import _acts
        from todoku.lab.scenario import DEPLOYMENT, NAMESPACE

        click.echo(f"\n{_heading(f'Chapter {chapter.number}. {chapter.title}')}")
        for name in chapter.deletes:
            await self._manifest("delete", name)
        await self._apply(bench, chapter)
        with Progress() as progress:
            what = f"Deployment {DEPLOYMENT} to be 3/3"
            await _acts.until(what, lambda: _acts.pods_ready(bench), seconds=180, tell=progress)
            if chapter.number:
                await _acts.until(
                    "the rules on every node",
                    lambda: _acts.programmed(bench),
                    seconds=20,
                    tell=progress,
                )
        await bench.refresh()
        if chapter.number == 0:
            self._show_lan(bench)
        await self._kubectl("get", "all", "-n", NAMESPACE, "-o", "wide")
        report = await _acts.measure(bench, chapter)
        self._tell(chapter, report)
        if chapter.number == 2:
            await self._stop_a_node(bench)
        if chapter.number == 4:
            await self._stop_the_announcer(bench)

    async def _apply(self, bench: Bench, chapter: Chapter) -> None:
        from todoku.cli import _acts

        for name in chapter.applies:
            await self._manifest("apply", name)
            if name == "metallb.yaml":
                click.echo(
                    "  (upstream's own manifest takes 10 seconds here: its probes wait that long before the first look)"
                )
                with Progress() as progress:
                    await _acts.until(
                        "the load balancer to be Ready", lambda: _acts.balancer_ready(bench),
                        seconds=90, tell=progress,
                    )  # fmt: skip
        if chapter.number == 4:
            with Progress() as progress:
                await _acts.until(
                    "an address and its announcement", lambda: _acts.announced(bench), seconds=20,
                    tell=progress,
                )  # fmt: skip

    # -- what is shown ------------------------------------------------------------------------------

    def _show_lan(self, bench: Bench) -> None:
        from todoku.reach.draw.terminal import lan

        click.echo()
        click.echo("\n".join(lan(bench.world, bench.survey.lab.topology.lan, width=width())))

    def _tell(self, chapter: Chapter, report: Report) -> None:
        """Samples, drawing, table and verdict of a chapter."""
        from todoku.lab.scenario import check, failed
        from todoku.reach.draw.terminal import meanings, ways
        from todoku.reach.table import render

        self.measured.append((chapter, report))
        click.echo("\nAsked for real, one request of each shown:")
        for cell in _samples(report):
            click.echo(_asked(cell))
            note = chapter.notes.get(cell.address.at)
            if note and cell.source.kind == "node":
                click.echo(f"    ({note})")
        click.echo()
        click.echo("\n".join(ways(report, colour=colour())))
        click.echo()
        click.echo(render(report, width=width(), colour=colour()))
        for line in meanings(report):
            click.echo(f"  {line}")
        checks = check(chapter, report)
        self.checks += checks
        problems = failed(checks)
        self._verdict([f"chapter {chapter.number}: {one.problem}" for one in problems], len(checks))
        if self.svg:
            self._write_svg(chapter, report)
        click.echo(f"The point: {chapter.teaches}")

    def _verdict(self, problems: list[str], total: int) -> None:
        self.held += total - len(problems)
        self.broken += problems
        for problem in problems:
            click.echo(f"NOT as expected: {problem}")
        if not problems:
            click.echo(f"as expected: all {total}")

    def _write_svg(self, chapter: Chapter, report: Report) -> None:
        from pathlib import Path

        from todoku.reach.draw.picture import picture
        from todoku.reach.draw.svg import render

        assert self.svg is not None
        path = Path(self.svg) / f"chapter-{chapter.number}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(picture(report, title=f"{chapter.number}. {chapter.title}")))
        click.echo(f"  drawing: {path}")

    # -- faults -------------------------------------------------------------------------------------

    async def _stop_a_node(self, bench: Bench) -> None:
        """A node port lives and dies with its node; the others go on."""
        from todoku.cli import _acts
        from todoku.reach.world import usable

        node = _last_worker(bench)
        click.echo(f"\nAnd when a node dies? Cutting the power of {node}.")
        await self._power(bench, "power-off", node)

        async def withdrawn() -> bool:
            await bench.refresh()
            service = _acts.the_service(bench)
            assert service is not None
            listed = usable(bench.world.endpoints(service, service["spec"]["ports"][0]))
            return all(one.node != node for one in listed)

        with Progress() as progress:
            await _acts.until(
                f"the endpoints on {node} to be withdrawn", withdrawn, seconds=30, tell=progress
            )
        report = await self._outside_ports(bench)
        problems = [
            f"{cell.source.name} -> {cell.address.label}: {cell.outcome}"
            for cell in report.cells
            if (cell.outcome == "ok") != (cell.address.node != node)
        ]
        self._verdict(problems, len(report.cells))
        click.echo(f"Booting {node} again.")
        await self._power(bench, "power-on", node)
        await self._recovered(bench, node)

    async def _outside_ports(self, bench: Bench) -> Report:
        from todoku.cli import _acts
        from todoku.lab.reachability import reach
        from todoku.reach.draw.terminal import meanings
        from todoku.reach.matrix import Effort
        from todoku.reach.table import render
        from todoku.reach.targets import At

        outside = [one for one in _acts.the_sources(bench) if one.kind == "outside"]
        report = await reach(
            bench.survey, bench.world, outside, _acts.targets(bench, (At.NODEPORT,)),
            effort=Effort(requests=12, timeout_seconds=1.0),
        )  # fmt: skip
        click.echo(render(report, width=width(), colour=colour()))
        for line in meanings(report):
            click.echo(f"  {line}")
        return report

    async def _stop_the_announcer(self, bench: Bench) -> None:
        """The address moves to another node; clients notice a pause, not an end."""
        from todoku.cli import _acts
        from todoku.cli._failover import Watcher

        node = _acts.announcer(await bench.client.list("servicel2statuses.metallb.io"))
        service = _acts.the_service(bench)
        assert service is not None
        address = service["status"]["loadBalancer"]["ingress"][0]["ip"]
        source = next(one for one in _acts.the_sources(bench) if one.kind == "outside")
        click.echo(f"\n{node} answers for {address}. And when it dies? Cutting its power.")
        watcher = Watcher(bench.survey.vantages(bench.world, [source])[source.name], address, 8080)
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(watcher.ask(), name="demo-failover")
            await watcher.answered()
            await self._power(bench, "power-off", node)
            await watcher.recovered(seconds=60)
            asking.cancel()
        first, steady = watcher.first_answer_seconds, watcher.steady_seconds
        click.echo(
            f"  {source.name} -> {address}:8080 answered again after {first:.2f} s, "
            f"and every request since {steady:.2f} s"
        )
        await bench.refresh()
        successor = _acts.announcer(await bench.client.list("servicel2statuses.metallb.io"))
        problems = [] if first < 60 else [f"{address} does not answer after {node} died"]
        if successor in ("", node):
            problems.append(f"no other node announces {address}")
        else:
            click.echo(f"  {successor} announces it now")
        self._verdict(problems, 2)
        click.echo(f"Booting {node} again.")
        await self._power(bench, "power-on", node)
        await self._recovered(bench, node)

    async def _recovered(self, bench: Bench, node: str) -> None:
        from todoku.cli import _acts

        with Progress() as progress:
            await _acts.until(
                f"{node} to be Ready",
                lambda: _acts.node_ready(bench, node),
                seconds=60,
                tell=progress,
            )
            await _acts.until(
                "3/3 pods", lambda: _acts.pods_ready(bench), seconds=60, tell=progress
            )
        await bench.refresh()

    async def _power(self, bench: Bench, op: str, node: str) -> None:
        self.off = node
        await asyncio.to_thread(bench.survey.lab.ask, op, machine=node)
        self.off = node if op == "power-off" else ""

    # -- kubectl ------------------------------------------------------------------------------------

    async def _manifest(self, verb: str, name: str) -> None:
        from todoku.cli.manifests import path

        shown = ["kubectl", verb, "-f", name]
        click.echo(f"\n$ {' '.join(shown)}")
        await self._kubectl(verb, "-f", str(path(name)), shown=False)

    async def _kubectl(self, *words: str, shown: bool = True, quiet: bool = False) -> None:
        from todoku.cli._acts import kubectl

        if shown and not quiet:
            click.echo(f"\n$ kubectl {' '.join(words)}")
        said = await asyncio.to_thread(kubectl, self.found, words)
        if not quiet:
            lines = said.splitlines()
            click.echo(
                "\n".join(
                    lines
                    if len(lines) <= 24
                    else [*lines[:3], f"… {len(lines) - 4} more", lines[-1]]
                )
            )

    # -- the end ------------------------------------------------------------------------------------

    def break_off(self) -> None:
        """Ctrl-C: every node has its power again, and the lab is there to be looked at."""
        if self.off:
            self.found.ask("power-on", machine=self.off)
            click.echo(f"\n{self.off} has its power again.", err=True)
        option = self._option()
        click.echo(
            f"\nThe lab is still up: `{program()} demo{option}` begins anew, "
            f"`{program()} down{option}` deletes it.",
            err=True,
        )

    def close(self, seconds: float) -> int:
        """The answer to the question: every chapter in one table."""
        from todoku.lab.scenario import summary
        from todoku.reach.table import render

        click.echo(f"\n{_heading('Who can reach it, from where, by which address')}")
        click.echo(render(summary(self.measured), width=width(), colour=colour()))
        total = self.held + len(self.broken)
        click.echo(f"\n{self.held} of {total} expectations held; {seconds:.0f} s.")
        for problem in self.broken:
            click.echo(f"  NOT as expected: {problem}")
        click.echo(f"\nThe lab is still up. Try:\n{self._next()}")
        return FAILED if self.broken else DONE

    def _option(self) -> str:
        return "" if self.lab == "default" else f" --lab {self.lab}"

    def _next(self) -> str:
        """Commands to copy; those of the load balancer only if its chapter was played."""
        option = self._option()
        todoku, at = program(), "lb" if self.last == 4 else "clusterip"
        lines = [
            f"export KUBECONFIG=$({todoku} kubeconfig{option})",
            f"{todoku} manifests .        # the files that were applied",
        ]
        if self.last:
            lines += [
                f"{todoku} reach{option} -n service-test svc/httpd-service",
                f"{todoku} trace{option} -n service-test rhel8host svc/httpd-service@{at}",
            ]
        if self.last == 4:
            lines.append(f"{todoku} exec{option} al9host -- curl -s 192.168.11.136:8080")
        lines += [f"{todoku} explain CLUSTERIP_INSIDE_ONLY", f"{todoku} down{option}"]
        return "\n".join(f"  {line}" for line in lines)


def _heading(text: str) -> str:
    line = f"== {text}"
    return f"\x1b[1m{line}\x1b[0m" if colour() else line


def _last_worker(bench: Bench) -> str:
    from todoku.lab.topology import Node

    nodes = [m for m in bench.survey.lab.topology.machines if isinstance(m, Node)]
    return next(node.name for node in reversed(nodes) if node.role == "worker")


def _samples(report: Report) -> list[Cell]:
    """One cell per source and kind of address: enough to see, not so many as to drown."""
    seen: set[tuple[str, str]] = set()
    found = []
    for cell in report.cells:
        kind = (cell.source.name, str(cell.address.at))
        if kind not in seen and cell.address.missing is None:
            seen.add(kind)
            found.append(cell)
    return found


def _asked(cell: Cell) -> str:
    """A request as somebody on that machine would have typed it, and what came back."""
    asked = f"  {cell.source.name}$ curl http://{cell.address.host}:{cell.address.port}"
    body = (
        next((one.body for one in cell.attempts if one.body), b"").decode(errors="replace").strip()
    )
    if body:
        return f"{asked}\n    {body[:_PAGE_CHARACTERS]}"
    return f"{asked}\n    ({cell.outcome}: {_plain(cell)})"


def _plain(cell: Cell) -> str:
    from todoku.reach.outcome import Outcome

    words = {
        Outcome.TIMEOUT: "nothing came back",
        Outcome.REFUSED: "somebody said no",
        Outcome.NO_ROUTE: "no way there",
        Outcome.OK: "connected",
    }
    return words.get(cell.outcome, str(cell.outcome))
