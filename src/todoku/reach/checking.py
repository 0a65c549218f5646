"""Runs a ReachSpec: assertions grouped by their faults, tried until they hold or their time is over.

    Spec ──► groups (same `given:`) ──► break ──► ask ──► judge ──► again, while `within:` lasts ──► undo
                 │                        first group: nothing broken; it also asks the *references*
                 └─ references: for every `denied`, somebody whom the prediction lets in, so that silence proves something

Where the packets come from is a `Ground`: a lab, or any other cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol

from todoku.aio.clock import Clock
from todoku.api.located import BadFile, Problem
from todoku.reach.judge import Result, Status, judge, matching_addresses, matching_sources
from todoku.reach.matrix import Effort, Wanted
from todoku.reach.outcome import Outcome
from todoku.reach.predict import predict
from todoku.reach.report import Cell
from todoku.reach.spec import Assertion, Backends, Fault, Spec, parse_target
from todoku.reach.targets import Address, At, Source, addresses, pod_addresses
from todoku.reach.world import World

_PAUSE_SECONDS = 0.25
_REFERENCES = 2


class Ground(Protocol):
    """A cluster that can be asked."""

    @property
    def knows_backends(self) -> bool:
        """Whether cells say who answered and which client address it saw."""

    async def look(self) -> World:
        """A fresh snapshot; while the API server is down, the last objects with the machines as they are."""

    def sources(self, world: World) -> Sequence[Source]: ...

    async def ask(self, world: World, wanted: Sequence[Wanted]) -> list[Cell]: ...

    def broken(self, faults: Sequence[Fault]) -> AbstractAsyncContextManager[None]:
        """Break something; mended at the end, whatever happens."""

    async def trace(self, world: World, cell: Cell) -> str:
        """The counter-example hop by hop, or why there is none."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """An assertion with its wildcards read."""

    assertion: Assertion
    sources: tuple[Source, ...]
    addresses: tuple[Address, ...]

    def pairs(self) -> list[tuple[Source, Address]]:
        return [(source, address) for source in self.sources for address in self.addresses]


@dataclass(slots=True)
class _Run:
    """What the run has found so far."""

    ground: Ground
    clock: Clock
    answered: set[Address] = field(default_factory=set)
    results: dict[int, Result] = field(default_factory=dict)  # by index in the file


async def run(spec: Spec, ground: Ground, clock: Clock) -> list[Result]:
    """All assertions in the file's order.  Raises BadFile if a wildcard or a name matches nothing."""
    world = await ground.look()
    found = resolve(spec, world, ground.sources(world))
    state = _Run(ground, clock)
    numbered = list(enumerate(found))
    whole = [(i, one) for i, one in numbered if not one.assertion.given]
    denied = [one for one in found if one.assertion.verdict == "denied"]
    await _ask_references(state, world, denied, ground.sources(world))
    await _try_all(state, world, whole)
    for faults, members in groups(found).items():
        async with ground.broken(faults):
            await _try_all(state, await ground.look(), [(i, found[i]) for i in members])
    return [state.results[i] for i, _ in numbered]


def groups(found: Sequence[Resolved]) -> dict[tuple[Fault, ...], list[int]]:
    """The assertions under a fault, by the faults they share, in the file's order; a fault is made once."""
    grouped: dict[tuple[Fault, ...], list[int]] = {}
    for i, one in enumerate(found):
        if one.assertion.given:
            grouped.setdefault(one.assertion.given, []).append(i)
    return grouped


def resolve(spec: Spec, world: World, sources: Sequence[Source]) -> list[Resolved]:
    """Read every wildcard.  Raises BadFile with the line, the field and the remedy of each that matches nothing."""
    known = known_addresses(world)
    problems: list[Problem] = []
    found: list[Resolved] = []
    for i, assertion in enumerate(spec.assertions):
        one = _resolved(assertion, sources, known)
        found.append(one)
        line, where = assertion.line, f"expect[{i}]"
        if not one.sources:
            names = ", ".join(source.name for source in sources if source.kind != "pod")
            text = f"{assertion.source!r} matches no source"
            remedy = f"there are {names}, and running pods as pod/NAMESPACE/NAME"
            problems.append(Problem(line, f"{where}.from", text, remedy))
        if not one.addresses:
            text = f"{assertion.target!r} matches no address"
            problems.append(Problem(line, f"{where}.to", text, _remedy(assertion, world)))
        problems += _unknown_machines(assertion, world, line, f"{where}.given")
    if problems:
        raise BadFile(spec.name, problems)
    return found


def _resolved(
    assertion: Assertion, sources: Sequence[Source], known: Sequence[Address]
) -> Resolved:
    targets = matching_addresses(assertion.target, assertion.namespace, known)
    parsed = parse_target(assertion.target, assertion.namespace)
    if not targets and parsed.kind == "address":
        # An address that no Service publishes can still be asked; nothing is known about it.
        targets = [
            Address(
                At.EXTERNAL, assertion.target, parsed.name, parsed.port, parsed.protocol or "TCP"
            )
        ]
    elif parsed.kind == "address":
        targets = targets[
            :1
        ]  # the same address and port, published by several Services or as a pod's
    return Resolved(assertion, tuple(matching_sources(assertion.source, sources)), tuple(targets))


def known_addresses(world: World) -> list[Address]:
    """Every address of every Service, and every declared port of every pod."""
    found = [one for service in world.services for one in addresses(world, service)]
    return found + pod_addresses(world, world.pods)


def _remedy(assertion: Assertion, world: World) -> str:
    target = parse_target(assertion.target, assertion.namespace)
    if target.kind == "pod":
        return f"`kubectl get pods -n {target.namespace}` lists them; the port must be declared"
    names = sorted(
        one["metadata"]["name"]
        for one in world.services
        if one["metadata"]["namespace"] == target.namespace
    )
    if target.name in names:
        return f"Service {target.name} has no such port or kind of address"
    listed = ", ".join(names) or "none; say `namespace:` or svc/NAMESPACE/NAME"
    return f"Services in namespace {target.namespace}: {listed}"


def _unknown_machines(
    assertion: Assertion, world: World, line: int, where: str
) -> Iterable[Problem]:
    for fault in assertion.given:
        if fault.machine not in world.by_name:
            names = ", ".join(machine.short for machine in world.machines)
            yield Problem(
                line,
                f"{where}.{fault.action}",
                f"no machine {fault.machine!r}",
                f"there are {names}",
            )


def references(
    world: World, denied: Sequence[Resolved], sources: Sequence[Source]
) -> list[tuple[Source, Address]]:
    """For each address that must be denied to some: others whom the prediction lets in, else every other source.

    What answers nobody proves nothing when it is silent.
    """
    pairs: dict[tuple[Source, Address], None] = {}
    for one in denied:
        for address in one.addresses:
            if address.missing is None:
                for source in _candidates(world, one, address, sources):
                    pairs[source, address] = None
    return list(pairs)


def _candidates(
    world: World, one: Resolved, address: Address, sources: Sequence[Source]
) -> list[Source]:
    # Before a fault, the denied source itself may show that the address lives.
    others = [s for s in sources if one.assertion.given or s not in one.sources]
    if address.service is None and address.at is not At.POD:
        return others
    likely = [source for source in others if predict(world, source, address).open]
    return likely[:_REFERENCES] or others


async def _ask_references(
    state: _Run, world: World, denied: Sequence[Resolved], sources: Sequence[Source]
) -> None:
    effort = Effort(requests=1, speak=False)
    wanted = [Wanted(s, a, effort) for s, a in references(world, denied, sources)]
    if wanted:
        _note(state, await state.ground.ask(world, wanted))


def _note(state: _Run, cells: Iterable[Cell]) -> None:
    state.answered |= {cell.address for cell in cells if cell.outcome is Outcome.OK}


async def _try_all(state: _Run, world: World, members: Sequence[tuple[int, Resolved]]) -> None:
    """Ask until every assertion holds or its time is over, and trace those that failed for good."""
    began = state.clock.monotonic()
    waiting = list(members)
    while waiting:
        found = await _try_once(state, world, [one for _, one in waiting])
        took = state.clock.monotonic() - began
        left: list[tuple[int, Resolved]] = []
        for (i, one), result in zip(waiting, found, strict=True):
            over = took >= one.assertion.within_seconds
            if over or result.status in (Status.PASSED, Status.VACUOUS):
                final = replace(result, seconds=took)
                state.results[i] = await _with_trace(state, world, final)
            else:
                left.append((i, one))
        if left:
            await state.clock.sleep(_PAUSE_SECONDS)
            world = await state.ground.look()
            left = [(i, _again(one.assertion, state.ground, world)) for i, one in left]
        waiting = left


def _again(assertion: Assertion, ground: Ground, world: World) -> Resolved:
    """Read the wildcards anew: pods come and go."""
    return _resolved(assertion, ground.sources(world), known_addresses(world))


async def _try_once(state: _Run, world: World, members: Sequence[Resolved]) -> list[Result]:
    efforts: dict[tuple[Source, Address], Effort] = {}
    for one in members:
        for pair in one.pairs():
            efforts[pair] = _larger(efforts.get(pair), one.assertion)
    wanted = [Wanted(source, address, effort) for (source, address), effort in efforts.items()]
    cells = await state.ground.ask(world, wanted) if wanted else []
    _note(state, cells)
    by_pair = {(cell.source, cell.address): cell for cell in cells}
    return [_judged(state, one, by_pair) for one in members]


def _larger(known: Effort | None, assertion: Assertion) -> Effort:
    """A cell that several assertions share is asked once, as hard as the most demanding wants."""
    if known is None:
        return Effort(
            requests=assertion.requests, timeout_seconds=assertion.timeout_seconds, speak=False
        )
    return replace(
        known,
        requests=max(known.requests, assertion.requests),
        timeout_seconds=max(known.timeout_seconds, assertion.timeout_seconds),
    )


def _judged(state: _Run, one: Resolved, cells: Mapping[tuple[Source, Address], Cell]) -> Result:
    assertion = one.assertion
    if not one.pairs():
        what = "source" if not one.sources else "address"
        return Result(assertion, Status.UNDETERMINED, f"at the moment it matches no {what}")
    unbound = replace(assertion, backends=Backends(), client_seen=())
    bounded = unbound != assertion
    judged = assertion if state.ground.knows_backends else unbound
    result = judge(judged, [cells[pair] for pair in one.pairs()], frozenset(state.answered))
    if bounded and not state.ground.knows_backends and result.status is Status.PASSED:
        why = "it got through, but who answered is known only in a lab"
        return replace(result, assertion=assertion, status=Status.UNDETERMINED, message=why)
    return replace(result, assertion=assertion)


async def _with_trace(state: _Run, world: World, result: Result) -> Result:
    if result.status is not Status.FAILED or result.culprit is None:
        return result
    return replace(result, trace=await state.ground.trace(world, result.culprit))


def verdict(results: Sequence[Result]) -> Status:
    """The run in one word: what failed outranks what could not be told, and all skipped is skipped."""
    found = {one.status for one in results}
    for status in (Status.FAILED, Status.UNDETERMINED):
        if status in found:
            return status
    return Status.SKIPPED if found == {Status.SKIPPED} else Status.PASSED
