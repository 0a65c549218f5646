"""What a run found: cells, and the `ReachReport` that carries them, as JSON `todoku.dev/reach/v1`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from todoku.api.meta import Object
from todoku.reach.outcome import Code, Outcome
from todoku.reach.predict import Prediction
from todoku.reach.probe import Attempt
from todoku.reach.targets import Address, Source

SCHEMA = "todoku.dev/reach/v1"


@dataclass(frozen=True, slots=True)
class Cell:
    """One source against one address: every attempt, who answered, whom they saw, and what was predicted."""

    source: Source
    address: Address
    predicted: Prediction
    attempts: Sequence[Attempt] = ()
    backends: Mapping[str, int] = field(default_factory=dict)  # pod or "ip:port" -> answers
    client_seen: tuple[str, ...] = ()
    unprobed: str = ""  # why the cell is `?`

    @property
    def outcome(self) -> Outcome:
        """`ok` if any attempt succeeded, else the commonest failure."""
        if self.address.missing is not None:
            return Outcome.NOT_APPLICABLE
        if not self.attempts:
            return Outcome.UNKNOWN
        counted = Counter(attempt.outcome for attempt in self.attempts)
        return Outcome.OK if counted[Outcome.OK] else counted.most_common(1)[0][0]

    @property
    def flaky(self) -> bool:
        """Some attempts succeeded and some did not."""
        return len({attempt.outcome is Outcome.OK for attempt in self.attempts}) > 1

    @property
    def surprising(self) -> bool:
        """The measurement is none of the predicted outcomes; `?` and `n/a` never surprise."""
        outcome = self.outcome
        if outcome in (Outcome.UNKNOWN, Outcome.NOT_APPLICABLE):
            return False
        if outcome not in self.predicted.outcomes:
            return True
        return self.flaky and len(self.predicted.outcomes) == 1

    @property
    def latency_ms(self) -> float:
        """The median time to connect of the successful attempts; 0 when there is none."""
        times = sorted(one.latency_ms for one in self.attempts if one.outcome is Outcome.OK)
        return times[len(times) // 2] if times else 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """All cells of one run, row by row; `seconds` is how long it took."""

    title: str
    sources: Sequence[Source]
    addresses: Sequence[Address]
    cells: Sequence[Cell]
    seconds: float = 0.0

    def cell(self, source: Source, address: Address) -> Cell:
        for cell in self.cells:
            if cell.source == source and cell.address == address:
                return cell
        raise LookupError(f"no cell {source.name} x {address.label}")

    @property
    def surprises(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.surprising]

    def counts(self) -> str:
        """`18 cells: 14 open, 4 closed, all as predicted`."""
        words = [cell.outcome for cell in self.cells]
        opened = sum(word is Outcome.OK for word in words)
        absent = sum(word is Outcome.NOT_APPLICABLE for word in words)
        unknown = sum(word is Outcome.UNKNOWN for word in words)
        closed = len(words) - opened - absent - unknown
        parts = [f"{opened} open", f"{closed} closed"]
        parts += [f"{absent} n/a"] if absent else []
        parts += [f"{unknown} not probed"] if unknown else []
        surprises = len(self.surprises)
        verdict = "all as predicted" if not surprises else f"{surprises} NOT as predicted"
        return f"{len(words)} cells: {', '.join(parts)}, {verdict}"

    def to_json(self) -> Object:
        """The report as plain data; `schema/reach-v1.json` describes it."""
        return {
            "schema": SCHEMA,
            "kind": "ReachReport",
            "title": self.title,
            "seconds": round(self.seconds, 3),
            "sources": [_source(one) for one in self.sources],
            "targets": [_address(one) for one in self.addresses],
            "cells": [_cell(one) for one in self.cells],
        }


def document(reports: Sequence[Report]) -> Object:
    """One JSON document: the report itself when there is one, else a list of them, as kubectl does it."""
    if len(reports) == 1:
        return reports[0].to_json()
    items = [report.to_json() for report in reports]
    return {"schema": SCHEMA, "kind": "ReachReportList", "items": items}


def closed_codes(cells: Iterable[Cell]) -> dict[Code, int]:
    """How many closed or absent cells carry each code, commonest first."""
    counted = Counter(
        cell.predicted.code for cell in cells if cell.outcome not in (Outcome.OK, Outcome.UNKNOWN)
    )
    return dict(counted.most_common())


def _source(source: Source) -> Object:
    body = {"name": source.name, "kind": source.kind, "machine": source.machine}
    return body | {"address": source.address}


def _address(address: Address) -> Object:
    body: Object = {
        "label": address.label,
        "at": str(address.at),
        "host": address.host,
        "port": address.port,
        "protocol": address.protocol,
    }
    if address.service:
        body["service"] = str(address.service)
    if address.node:
        body["node"] = address.node
    if address.pod:
        body["pod"] = str(address.pod)
    return body


def _cell(cell: Cell) -> Object:
    witness = next((one.witness for one in cell.attempts if one.witness), None)
    return {
        "from": cell.source.name,
        "to": cell.address.label,
        "outcome": str(cell.outcome),
        "expected": sorted(str(one) for one in cell.predicted.outcomes),
        "code": str(cell.predicted.code),
        "surprising": cell.surprising,
        "flaky": cell.flaky,
        "attempts": dict(Counter(str(one.outcome) for one in cell.attempts)),
        "latencyMs": round(cell.latency_ms, 3),
        "backends": dict(cell.backends),
        "clientSeen": list(cell.client_seen),
        "witness": None if witness is None else {
            "protocol": witness.protocol,
            "source": f"{witness.source}:{witness.source_port}",
            "destination": f"{witness.destination}:{witness.destination_port}",
        },
        "unprobed": cell.unprobed,
    }  # fmt: skip
