"""Assertions held against cells (pure), and the results as TAP and JUnit.

`denied` proves something only if the same address answered somebody in the run: otherwise it is *vacuous*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from xml.sax.saxutils import escape, quoteattr

from todoku.api.meta import Key, Object
from todoku.reach.outcome import Outcome
from todoku.reach.report import Cell
from todoku.reach.spec import Assertion, Target, parse_target
from todoku.reach.table import cell_text
from todoku.reach.targets import Address, Source


class Status(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    VACUOUS = "vacuous"  # denied, but nobody got through: the target may simply be down
    UNDETERMINED = "undetermined"  # a cell could not be probed
    SKIPPED = "skipped"  # there is no such address (pending)


@dataclass(frozen=True, slots=True)
class Result:
    """One assertion's verdict; `culprit` is the cell to trace, `trace` what that trace showed."""

    assertion: Assertion
    status: Status
    message: str = ""
    culprit: Cell | None = None
    flaky: int = 0
    cells: int = 0
    seconds: float = 0.0
    trace: str = ""


def matching_sources(pattern: str, sources: Sequence[Source]) -> list[Source]:
    """Sources that `outside/*`, `node/n1`, `pod/ns/name`, or a bare name with wildcards mean."""
    return [one for one in sources if any(fnmatchcase(name, pattern) for name in _names(one))]


def _names(source: Source) -> tuple[str, ...]:
    short = source.machine.partition(".")[0]
    if source.kind == "pod" and source.pod is None:
        return (source.name, f"pod@{source.machine}")  # a probe's own pod on another cluster
    if source.pod is not None:
        return (
            f"pod/{source.pod.name}",
            f"pod/{source.pod.namespace}/{source.pod.name}",
            source.name,
        )
    return (f"{source.kind}/{short}", f"{source.kind}/{source.machine}", short, source.machine)


def matching_addresses(text: str, namespace: str, addresses: Sequence[Address]) -> list[Address]:
    """Addresses that a target means; names may hold wildcards."""
    target = parse_target(text, namespace)
    return [one for one in addresses if _is_target(target, one)]


def _is_target(target: Target, address: Address) -> bool:
    if target.protocol and target.protocol != address.protocol:
        return False
    if target.kind == "address":
        return (target.name, target.port) == (address.host, address.port)
    if target.at is not None and address.at is not target.at:
        return False
    if target.node and target.node not in (address.node, address.node.partition(".")[0]):
        return False
    key = address.pod if target.kind == "pod" else address.service
    if key is None or not _same(key, target):
        return False
    # A Service is asked by its own port number, whatever number the node port or the pod has.
    return target.port in (0, address.port, address.service_port)


def _same(key: Key, target: Target) -> bool:
    return fnmatchcase(key.namespace, target.namespace) and fnmatchcase(key.name, target.name)


def judge(assertion: Assertion, cells: Sequence[Cell], answered: frozenset[Address]) -> Result:
    """Hold one assertion against its cells.  `answered` are the addresses that let anybody in during the run."""
    if assertion.verdict == "absent":
        return replace(_missing(assertion, cells), cells=len(cells))
    check = _allowed if assertion.verdict == "allowed" else _denied
    probed = [cell for cell in cells if cell.outcome is not Outcome.UNKNOWN]
    real = [cell for cell in probed if cell.outcome is not Outcome.NOT_APPLICABLE]
    result = check(assertion, real, answered)
    if result.status is Status.FAILED:  # outranks what could not be probed
        return replace(result, cells=len(cells))
    if len(probed) < len(cells):
        unknown = next(cell for cell in cells if cell.outcome is Outcome.UNKNOWN)
        why = f"{_said(unknown)}: {unknown.unprobed or 'it was not probed'}"
        result = Result(assertion, Status.UNDETERMINED, why, unknown)
    elif len(real) < len(probed):
        result = _absent(assertion, result, probed, real)
    return replace(result, cells=len(cells))


def _missing(assertion: Assertion, cells: Sequence[Cell]) -> Result:
    """`absent` holds if none of the addresses exists."""
    there = next((one for one in cells if one.outcome is not Outcome.NOT_APPLICABLE), None)
    if there is None:
        return Result(assertion, Status.PASSED)
    return Result(assertion, Status.FAILED, f"{_said(there)}, expected no such address", there)


def _absent(
    assertion: Assertion, result: Result, probed: Sequence[Cell], real: Sequence[Cell]
) -> Result:
    """An address that does not exist is never denied, and never allowed either."""
    absent = next(cell for cell in probed if cell.outcome is Outcome.NOT_APPLICABLE)
    why = f"there is no such address: {absent.address.label} ({absent.predicted.code})"
    if assertion.verdict == "allowed":
        return Result(assertion, Status.FAILED, why)
    return result if real else Result(assertion, Status.SKIPPED, why)


def _allowed(assertion: Assertion, cells: Sequence[Cell], answered: frozenset[Address]) -> Result:
    for cell in cells:
        if cell.outcome is not Outcome.OK:
            return Result(assertion, Status.FAILED, f"{_said(cell)}, expected ok", cell)
        problem = _bounds(assertion, cell)
        if problem:
            return Result(assertion, Status.FAILED, f"{_said(cell)}: {problem}", cell)
    return Result(assertion, Status.PASSED, flaky=sum(cell.flaky for cell in cells))


def _denied(assertion: Assertion, cells: Sequence[Cell], answered: frozenset[Address]) -> Result:
    for cell in cells:
        if any(one.outcome is Outcome.OK for one in cell.attempts):
            return Result(assertion, Status.FAILED, f"{_said(cell)}, expected a refusal", cell)
        if assertion.outcomes and cell.outcome not in assertion.outcomes:
            wanted = " or ".join(sorted(map(str, assertion.outcomes)))
            return Result(assertion, Status.FAILED, f"{_said(cell)}, expected {wanted}", cell)
    silent = [cell for cell in cells if cell.address not in answered]
    if silent:
        text = f"{_said(silent[0])}, but it answered nobody else either"
        return Result(assertion, Status.VACUOUS, text, silent[0])
    return Result(assertion, Status.PASSED)


def _bounds(assertion: Assertion, cell: Cell) -> str:
    found, bounds = len(cell.backends), assertion.backends
    if found < bounds.minimum:
        return f"{found} pods answered, expected at least {bounds.minimum}"
    if bounds.maximum and found > bounds.maximum:
        return f"{found} pods answered, expected at most {bounds.maximum}"
    strange = set(cell.client_seen) - set(assertion.client_seen)
    if assertion.client_seen and strange:
        return (
            f"the pod saw {', '.join(sorted(strange))}, expected {', '.join(assertion.client_seen)}"
        )
    return ""


def _said(cell: Cell) -> str:
    return f"{cell.source.name} -> {cell.address.label}: {cell_text(cell)}"


def strictly(results: Sequence[Result]) -> list[Result]:
    """`--strict`: what proves nothing has failed."""
    return [
        replace(one, status=Status.FAILED, message=f"vacuous: {one.message}")
        if one.status is Status.VACUOUS
        else one
        for one in results
    ]


CHECK_SCHEMA = "todoku.dev/check/v1"

_WORDS = {
    Status.PASSED: ("ok", "32"),
    Status.FAILED: ("FAILED", "31"),
    Status.VACUOUS: ("vacuous", "33"),
    Status.UNDETERMINED: ("?", "33"),
    Status.SKIPPED: ("skipped", "2"),
}


def table(results: Sequence[Result], *, seconds: float, colour: bool = False) -> str:
    """One line per assertion, what is to say about it below, and the sum."""
    lines: list[str] = []
    for result in results:
        word, code = _WORDS[result.status]
        painted = f"\x1b[{code}m{word}\x1b[0m" if colour else word
        flaky = f"  ({result.flaky} flaky)" if result.flaky else ""
        lines.append(f"{painted}{' ' * (9 - len(word))}{result.assertion.name}{flaky}")
        if result.message:
            lines.append(f"         {result.message}")
        lines += [f"           {line}" for line in result.trace.splitlines()]
    lines.append(f"{summary(results)} ({seconds:.2f} s)")
    return "\n".join(lines) + "\n"


def summary(results: Sequence[Result]) -> str:
    """`12 assertions, 74 cells: 10 passed, 2 failed`."""
    counted = Counter(result.status for result in results)
    parts = ", ".join(f"{counted[one]} {one}" for one in Status if counted[one])
    return f"{len(results)} assertions, {sum(one.cells for one in results)} cells: {parts}"


def to_json(results: Sequence[Result], *, name: str, seconds: float) -> Object:
    """The results as plain data; `schema/check-v1.json` describes it."""
    return {
        "schema": CHECK_SCHEMA,
        "kind": "CheckReport",
        "file": name,
        "seconds": round(seconds, 3),
        "results": [_result(one) for one in results],
    }


def _result(result: Result) -> Object:
    assertion = result.assertion
    return {
        "name": assertion.name,
        "line": assertion.line,
        "from": assertion.source,
        "to": assertion.target,
        "verdict": assertion.verdict,
        "given": [f"{fault.action} {fault.machine}" for fault in assertion.given],
        "status": str(result.status),
        "message": result.message,
        "cells": result.cells,
        "flaky": result.flaky,
        "seconds": round(result.seconds, 3),
        "trace": result.trace,
    }


def tap(results: Sequence[Result]) -> str:
    """TAP version 14."""
    lines = ["TAP version 14", f"1..{len(results)}"]
    for number, result in enumerate(results, 1):
        good = result.status in (Status.PASSED, Status.SKIPPED, Status.VACUOUS)
        directive = f" # SKIP {result.message}" if result.status is Status.SKIPPED else ""
        lines.append(f"{'ok' if good else 'not ok'} {number} - {result.assertion.name}{directive}")
        if result.message and not directive:
            lines.append(f"# {result.status}: {result.message}")
        lines += [f"#   {line}" for line in result.trace.splitlines()]
    return "\n".join(lines) + "\n"


def junit(results: Sequence[Result], *, suite: str) -> str:
    """JUnit XML: `?` is an error, an address that does not exist is skipped."""
    words = [result.status for result in results]
    head = (
        f"<testsuite name={quoteattr(suite)} tests='{len(results)}' "
        f"failures='{words.count(Status.FAILED)}' errors='{words.count(Status.UNDETERMINED)}' "
        f"skipped='{words.count(Status.SKIPPED)}'>"
    )
    cases = "".join(_case(result) for result in results)
    return f"<?xml version='1.0' encoding='UTF-8'?>\n{head}\n{cases}</testsuite>\n"


_ELEMENTS = {Status.FAILED: "failure", Status.UNDETERMINED: "error", Status.SKIPPED: "skipped"}


def _case(result: Result) -> str:
    name = quoteattr(result.assertion.name)
    target = quoteattr(result.assertion.target)
    element = _ELEMENTS.get(result.status)
    inner = ""
    if element:
        inner = (
            f"<{element} message={quoteattr(result.message)}>{escape(_told(result))}</{element}>"
        )
    elif result.message:
        inner = f"<system-out>{escape(f'{result.status}: {result.message}')}</system-out>"
    took = f"time='{result.seconds:.3f}'"
    return f"<testcase classname={target} name={name} {took}>{inner}</testcase>\n"


def _told(result: Result) -> str:
    """The message and the counter-example's trace, without what XML 1.0 cannot carry."""
    text = f"{result.message}\n{result.trace}" if result.trace else result.message
    return "".join(c for c in text if c in "\n\t" or ord(c) >= 0x20)
