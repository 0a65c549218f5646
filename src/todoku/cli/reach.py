"""todoku reach: the matrix of sources and addresses, measured and predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from todoku.cli import DONE, FAILED, UNKNOWN
from todoku.cli._foreign import Elsewhere, elsewhere_options
from todoku.cli._lab import lab_option
from todoku.cli._reaching import Bench, Examined, colour, examine, services, width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from todoku.api.meta import Object
    from todoku.reach.report import Report
    from todoku.reach.targets import At

_AT = ("pod", "clusterip", "nodeport", "lb", "external", "dns")


@click.command(
    epilog="\b\nExamples:\n  todoku reach svc/web\n  todoku reach -A --from 'outside/*'\n  todoku reach web --watch\n  todoku reach web -o json"
)
@lab_option
@elsewhere_options
@click.argument("names", nargs=-1, metavar="[svc/NAME]...")
@click.option("--namespace", "-n", default="default", help="The Services' namespace.")
@click.option("--all-namespaces", "-A", is_flag=True, help="Services of every namespace.")
@click.option(
    "--from", "patterns", multiple=True, metavar="SOURCE", help="node/N, outside/H, pod/P; * works."
)
@click.option(
    "--at", "at", default="", metavar="KINDS", help=f"Of {','.join(_AT)}; all by default."
)
@click.option("--requests", default=12, show_default=True, type=click.IntRange(1, 1000))
@click.option(
    "--timeout", default=2.0, show_default=True, type=click.FloatRange(0.05, 60), help="Seconds."
)
@click.option(
    "--watch", "-w", is_flag=True, help="Keep asking; show outages and how long they last."
)
@click.option("--exit-code", is_flag=True, help="Exit 1 if a cell is not as predicted.")
@click.option(
    "--output", "-o", default="table", type=click.Choice(["table", "wide", "json", "yaml", "spec"])
)
def command(
    lab: str,
    names: tuple[str, ...],
    namespace: str,
    all_namespaces: bool,
    patterns: tuple[str, ...],
    at: str,
    requests: int,
    timeout: float,
    watch: bool,
    exit_code: bool,
    output: str,
    elsewhere: Elsewhere,
) -> int:
    """Show who reaches a Service, from where, by which address.

    Real connections beside the prediction that the API objects alone allow.

    With --kubeconfig or --context on any cluster: a Job on each node asks from inside, this machine from outside.
    """
    from todoku.reach.matrix import Effort
    from todoku.reach.targets import addresses

    kinds = parse_kinds(at)
    effort = Effort(requests=requests, timeout_seconds=timeout)

    if watch and elsewhere:
        raise click.UsageError("--watch needs a lab: elsewhere every question costs a Job")

    async def work(here: Examined) -> list[Report]:
        listed = services(here.world, names, namespace, all_namespaces)
        asked = here.sources(patterns, listed)
        if watch and isinstance(here, Bench):
            from todoku.cli._watching import follow

            await follow(here, listed, asked, kinds, timeout)
            return []
        return [
            await here.reach(
                asked, addresses(here.world, service, kinds), effort=effort, title=title(service)
            )
            for service in listed
        ]

    reports = examine(lab, elsewhere, work)
    if elsewhere.dry_run:
        return DONE
    show(reports, output)
    if exit_code and any(report.surprises for report in reports):
        return FAILED
    if reports and all(_nothing_known(report) for report in reports):
        return UNKNOWN
    return DONE


def parse_kinds(text: str) -> tuple[At, ...]:
    """`--at` as a tuple of `At`.  Raises UsageError."""
    from todoku.reach.targets import At

    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in _AT]
    if unknown:
        raise click.UsageError(f"--at {unknown[0]} is no kind of address: {', '.join(_AT)}")
    return tuple(At(word) for word in words) or tuple(At)


def title(service: Object) -> str:
    """`svc/web LoadBalancer  10.96.0.20:80->30080  LB 192.168.50.200`."""
    from todoku.reach.targets import ingress

    spec, metadata = service["spec"], service["metadata"]
    ports = ",".join(
        f"{p['port']}{':' + str(p['nodePort']) if p.get('nodePort') else ''}/{p.get('protocol', 'TCP')}"
        for p in spec.get("ports") or ()
    )
    balanced = ",".join(one.get("ip", "") for one in ingress(service))
    shown = f"svc/{metadata['name']} {spec.get('type', 'ClusterIP')}  {spec.get('clusterIP', '')}  {ports}"
    return f"{shown}  LB {balanced}" if balanced else shown


def show(reports: Sequence[Report], output: str) -> None:
    """Print the reports as asked: JSON, YAML and a spec are one document, however many Services there are."""
    if not reports:
        return
    if output == "json":
        import json

        from todoku.reach.report import document

        click.echo(json.dumps(document(reports), indent=2))
    elif output == "yaml":
        import yaml

        from todoku.reach.report import document

        click.echo(yaml.safe_dump(document(reports), sort_keys=False), nl=False)
    elif output == "spec":
        from todoku.reach.baseline import baseline

        click.echo(baseline(reports), nl=False)
    else:
        from todoku.reach.table import render

        columns = 10_000 if output == "wide" else width()
        click.echo("\n\n".join(render(one, width=columns, colour=colour()) for one in reports))


def _nothing_known(report: Report) -> bool:
    return bool(report.cells) and all(cell.unprobed for cell in report.cells)
