"""A measured report as a ReachSpec: the state of today as tomorrow's expectation (pure)."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from todoku.api.meta import Object
from todoku.reach.outcome import Outcome
from todoku.reach.report import Cell, Report
from todoku.reach.spec import API_VERSION, KIND
from todoku.reach.targets import At


def baseline(reports: Sequence[Report]) -> str:
    """One assertion per cell that was measured, as YAML; one file, however many Services."""
    expect = [
        _assertion(cell)
        for report in reports
        for cell in report.cells
        if cell.outcome not in (Outcome.UNKNOWN, Outcome.NOT_APPLICABLE) and cell.address.service
    ]
    body = {"apiVersion": API_VERSION, "kind": KIND, "expect": expect}
    titles = "".join(f"# {report.title}\n" for report in reports)
    return f"{titles}{yaml.safe_dump(body, sort_keys=False, width=120)}"


def _assertion(cell: Cell) -> Object:
    source, address = cell.source, cell.address
    assert address.service is not None
    name = (
        f"pod/{source.pod.namespace}/{source.pod.name}"
        if source.pod
        else f"{source.kind}/{source.name}"
    )
    protocol = address.protocol.lower()
    # A pod or a node port is one of several of its kind, so it is named by its address.
    if address.at in (At.POD, At.NODEPORT, At.EXTERNAL):
        target = f"{address.host}:{address.port}/{protocol}"
    else:
        service = f"{address.service.namespace}/{address.service.name}"
        target = f"svc/{service}:{address.service_port}/{protocol}@{address.at}"
    opened = cell.outcome is Outcome.OK
    body: Object = {"from": name, "to": target, "verdict": "allowed" if opened else "denied"}
    if opened and len(cell.backends) > 1:
        body["backends"] = {"min": len(cell.backends)}
    return body
