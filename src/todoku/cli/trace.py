"""todoku trace: one real connection, hop by hop, with the kernel's evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from todoku.cli import DONE, FAILED
from todoku.cli._lab import lab_option
from todoku.cli._reaching import Bench, run, sources

if TYPE_CHECKING:
    from todoku.reach.targets import Source
    from todoku.reach.trace.facts import Trace


@click.command(
    epilog="Examples:  todoku trace rhel8host svc/web:80@lb   todoku trace node/master1 10.244.1.2:80"
)
@lab_option
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--namespace", "-n", default="default", help="The namespace of TO.")
@click.option(
    "--timeout", default=2.0, show_default=True, type=click.FloatRange(0.05, 60), help="Seconds."
)
@click.option("--view", default="full", type=click.Choice(["full", "summary", "one-line"]))
@click.option("--output", "-o", default="text", type=click.Choice(["text", "json", "yaml"]))
@click.option("--kubeconfig", "--context", "cluster", default="", hidden=True)
def command(
    lab: str,
    source: str,
    target: str,
    namespace: str,
    timeout: float,
    view: str,
    output: str,
    cluster: str,
) -> int:
    """Follow one connection FROM a machine or pod TO svc/NAME[:PORT][@KIND], pod/NAME:PORT or ADDRESS:PORT.

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
            namespace=namespace, timeout_seconds=timeout,
        )  # fmt: skip

    try:
        found = run(lab, work)
    except LookupError as error:
        raise click.UsageError(str(error)) from error
    click.echo(_text(found, view, output))
    return DONE if found.disposition == "DELIVERED" else FAILED


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
