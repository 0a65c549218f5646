"""todoku trace: one real connection, hop by hop, with the kernel's evidence."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from todoku.cli import DONE, FAILED, CouldNotTell
from todoku.cli._lab import lab_option
from todoku.cli._reaching import Bench, run, sources

if TYPE_CHECKING:
    from todoku.reach.targets import Source
    from todoku.reach.trace.facts import Trace

_ANSWER_SECONDS, _LIVE_SECONDS = 2.0, 60.0


@click.command(
    epilog="Examples:  todoku trace rhel8host svc/web:80@lb   todoku trace node/master1 10.244.1.2:80"
)
@lab_option
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--namespace", "-n", default="default", help="The namespace of TO.")
@click.option(
    "--timeout", default=None, type=click.FloatRange(0.05, 3600), help="Seconds; 2, with --live 60."
)
@click.option("--live", is_flag=True, help="Wait for somebody else's connection.")
@click.option(
    "--pcap",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write its packets there (pcapng).",
)
@click.option("--view", default="full", type=click.Choice(["full", "summary", "one-line"]))
@click.option("--output", "-o", default="text", type=click.Choice(["text", "json", "yaml"]))
@click.option("--kubeconfig", "--context", "cluster", default="", hidden=True)
def command(
    lab: str,
    source: str,
    target: str,
    namespace: str,
    timeout: float | None,
    live: bool,
    pcap: Path | None,
    view: str,
    output: str,
    cluster: str,
) -> int:
    """Follow one connection hop by hop, with the kernel's evidence.

    FROM is a machine or a pod; TO is svc/NAME[:PORT][@KIND], pod/NAME:PORT or ADDRESS:PORT.
    Exit 1 if it was not delivered.
    """
    from todoku.reach.spec import parse_target

    if cluster:
        raise click.UsageError(
            "a trace needs a lab: it looks into every namespace that a packet crosses; "
            f"on another cluster ask `todoku reach --kubeconfig {cluster}`"
        )
    try:
        parse_target(target, namespace)
    except ValueError as error:
        raise click.UsageError(str(error)) from error

    async def work(bench: Bench) -> Trace:
        from todoku.lab.tracing import trace

        return await trace(
            bench.survey, bench.world, _one_source(bench, source), target,
            namespace=namespace, record=pcap is not None,
            timeout_seconds=_ANSWER_SECONDS if live else timeout or _ANSWER_SECONDS,
            live_seconds=(timeout or _LIVE_SECONDS) if live else 0,
        )  # fmt: skip

    found = _run(lab, work)
    click.echo(_text(found, view, output))
    if pcap is not None:
        _write(pcap, found)
    return DONE if found.disposition == "DELIVERED" else FAILED


def _run(lab: str, work: Callable[[Bench], Awaitable[Trace]]) -> Trace:
    from todoku.lab.tracing import Busy
    from todoku.reach.trace.collect import NothingHeard

    try:
        return run(lab, work)
    except LookupError as error:
        raise click.UsageError(str(error)) from error
    except (Busy, NothingHeard) as error:
        raise CouldNotTell(str(error)) from error


def _write(path: Path, found: Trace) -> None:
    from todoku.reach.trace import pcapng

    path.write_bytes(pcapng.file(found.frames))
    where = len({one.place for one in found.frames})
    click.echo(f"wrote {path}: {len(found.frames)} frames, seen in {where} places", err=True)


def _one_source(bench: Bench, pattern: str) -> Source:
    found = sources(bench.world, [pattern], ())
    if len(found) > 1:
        names = ", ".join(one.name for one in found)
        raise click.UsageError(f"{pattern} means several sources: {names}; a trace starts at one")
    return found[0]


def _text(trace: Trace, view: str, output: str) -> str:
    from todoku.reach.trace import render

    if output == "json":
        import json

        return json.dumps(render.to_json(trace), indent=2)
    if output == "yaml":
        import yaml

        return str(yaml.safe_dump(render.to_json(trace), sort_keys=False)).rstrip()
    views = {"full": render.full, "summary": render.summary, "one-line": render.one_line}
    return views[view](trace)
