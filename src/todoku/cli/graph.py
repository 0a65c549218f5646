"""todoku graph: the ways into a Service as a drawing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from todoku.cli import DONE
from todoku.cli._foreign import Elsewhere, elsewhere_options
from todoku.cli._lab import lab_option
from todoku.cli._reaching import Examined, colour, examine, services
from todoku.cli.reach import parse_kinds, title

if TYPE_CHECKING:
    from todoku.reach.report import Report


@click.command(
    epilog="\b\nExamples:\n  todoku graph svc/web\n  todoku graph svc/web -n shop -o svg -f web.svg"
)
@lab_option
@elsewhere_options
@click.argument("names", nargs=-1, metavar="[svc/NAME]...")
@click.option("--namespace", "-n", default="default", help="The Services' namespace.")
@click.option("--all-namespaces", "-A", is_flag=True, help="Services of every namespace.")
@click.option(
    "--from", "patterns", multiple=True, metavar="SOURCE", help="node/N, outside/H, pod/P; * works."
)
@click.option("--at", "at", default="", metavar="KINDS", help="Kinds of addresses; all by default.")
@click.option(
    "--output", "-o", default="text", type=click.Choice(["text", "svg", "mermaid", "dot", "html"])
)
@click.option(
    "--title", "heading", default="", help="The drawing's title; the Service's own line by default."
)
@click.option(
    "--file", "-f", type=click.Path(dir_okay=False, path_type=Path), help="Write it there."
)
def command(
    lab: str,
    names: tuple[str, ...],
    namespace: str,
    all_namespaces: bool,
    patterns: tuple[str, ...],
    at: str,
    output: str,
    heading: str,
    file: Path | None,
    elsewhere: Elsewhere,
) -> int:
    """Draw the LAN and who gets into a Service by which address."""
    from todoku.reach.matrix import Effort
    from todoku.reach.targets import addresses

    kinds = parse_kinds(at)

    async def work(here: Examined) -> tuple[list[str], list[Report]]:
        from todoku.reach.draw.terminal import lan

        listed = services(here.world, names, namespace, all_namespaces)
        asked = here.sources(patterns, listed)
        reports = [
            await here.reach(
                asked,
                addresses(here.world, service, kinds),
                effort=Effort(),
                title=heading or title(service),
            )
            for service in listed
        ]
        return lan(here.world, here.lan) if here.lan else [], reports

    drawn_lan, reports = examine(lab, elsewhere, work)
    if elsewhere.dry_run:
        return DONE
    text = _draw(drawn_lan, reports, output, coloured=colour() and file is None)
    if file is None:
        click.echo(text, nl=False)
    else:
        file.write_text(text, encoding="utf-8")
        click.echo(f"wrote {file}")
    return DONE


def _draw(drawn_lan: list[str], reports: list[Report], output: str, *, coloured: bool) -> str:
    from todoku.reach.draw import html, svg, terminal
    from todoku.reach.draw import text as plain
    from todoku.reach.draw.picture import picture

    if output == "html":
        return html.page(reports, title="Who reaches what")
    if output == "text":
        lines = list(drawn_lan)
        for report in reports:
            lines += ["", report.title, *terminal.ways(report, colour=coloured)]
            lines += ["", *terminal.meanings(report)]
        return "\n".join(lines) + "\n"
    render = {"svg": svg.render, "mermaid": plain.mermaid, "dot": plain.dot}[output]
    return "".join(render(picture(report)) for report in reports)
