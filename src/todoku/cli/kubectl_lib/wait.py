"""`wait --for=condition=…|delete|create|jsonpath=…`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass

from todoku.api import errors
from todoku.api.meta import Object
from todoku.cli.kubectl_lib.output import by_jsonpath
from todoku.cli.kubectl_lib.refusals import Failed, Usage
from todoku.cli.kubectl_lib.session import Session
from todoku.cli.kubectl_lib.targets import Target, existing, from_files, parse

_LOOK_SECONDS, _DEFAULT_SECONDS = 0.2, 30.0
Test = Callable[[Object | None], bool]


@dataclass(frozen=True, slots=True)
class Condition:
    """What to wait for: `holds` of the object (None: it is gone), and how kubectl reports it."""

    holds: Test
    report: str


def condition(text: str) -> Condition:
    """Read `--for`.  Raises Usage."""
    how, _, rest = text.partition("=")
    if text == "delete":
        return Condition(lambda obj: obj is None, "deleted")
    if text == "create":
        return Condition(lambda obj: obj is not None, "condition met")
    if how == "condition" and rest:
        name, _, value = rest.partition("=")
        return Condition(lambda obj: _has(obj, name, value or "True"), "condition met")
    if how == "jsonpath" and rest:
        template, expected = _split(rest)
        return Condition(lambda obj: _reads(obj, template, expected), "condition met")
    raise Usage(f'unrecognized condition: "{text}"')


async def wait(session: Session) -> int:
    """Run `wait`."""
    given = session.given
    wanted = condition(given.condition)
    targets = await _targets(session, wanted)
    if not targets:
        raise Failed("error: no matching resources found")
    seconds = _DEFAULT_SECONDS if given.timeout is None else given.timeout
    status = 0
    for target in targets:
        label = target.kind.label(target.name)
        try:
            async with asyncio.timeout(seconds if seconds >= 0 else None):
                await until(session, target, wanted.holds)
        except TimeoutError:
            status = 1
            print(
                f"error: timed out waiting for the condition on {target.kind.named.plural}/{target.name}",
                file=sys.stderr,
            )
        else:
            print(f"{label} {wanted.report}", flush=True)
    return status


async def until(session: Session, target: Target, holds: Test) -> None:
    """Look at one object again and again until the test holds."""
    while True:
        try:
            obj: Object | None = await session.client.get(
                target.kind.named.name, target.name, target.namespace
            )
        except errors.NotFound:
            obj = None
        if holds(obj):
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def _targets(session: Session, wanted: Condition) -> list[Target]:
    given = session.given
    if given.filename:
        pairs = from_files(given.filename, session.catalog, session.namespace)
        return [target for target, _ in pairs]
    namespace = "" if given.all_namespaces else session.namespace
    targets = parse(given.words, session.catalog, namespace)
    if all(target.name for target in targets):
        if not wanted.holds(None):
            missing = "" if given.condition == "create" else "must exist"
            for target in targets if missing else ():
                await session.client.get(target.kind.named.name, target.name, target.namespace)
        return targets
    if not given.all and not given.selector and not given.field_selector:
        raise Usage("resource(s) were provided, but no name was specified")
    found = await existing(
        session.client, targets, labels=given.selector, fields=given.field_selector
    )
    return [target for target, _ in found]


def _has(obj: Object | None, name: str, value: str) -> bool:
    """Whether a status condition has the value; one of an older generation does not count."""
    if obj is None:
        return False
    status = obj.get("status") or {}
    generation = obj["metadata"].get("generation", 0)
    for one in status.get("conditions") or ():
        if one.get("type", "").lower() != name.lower():
            continue
        observed = one.get("observedGeneration") or status.get("observedGeneration") or generation
        return bool(observed >= generation and one.get("status", "").lower() == value.lower())
    return False


def _split(text: str) -> tuple[str, str | None]:
    """`{.status.phase}=Running` into the path and the value; without a value any will do."""
    path, brace, rest = text.strip("'\"").partition("}")
    if not brace:
        path, _, rest = path.partition("=")
        return path, rest or None
    return path + "}", rest.removeprefix("=") or None


def _reads(obj: Object | None, template: str, value: str | None) -> bool:
    if obj is None:
        return False
    found = by_jsonpath(template, obj)
    return bool(found) if value is None else found == value
