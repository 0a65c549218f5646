"""`delete`, and waiting until the objects are really gone."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from todoku.api import errors
from todoku.api.meta import Object
from todoku.cli.kubectl_lib.catalog import catalog
from todoku.cli.kubectl_lib.refusals import Failed, Usage, worded
from todoku.cli.kubectl_lib.session import Session
from todoku.cli.kubectl_lib.targets import Target, existing, from_files, parse
from todoku.client import Client

_LOOK_SECONDS = 0.2


async def delete(session: Session) -> int:
    """Run `delete`."""
    given = session.given
    if given.filename:
        pairs = from_files(
            given.filename, session.catalog, session.namespace, recursive=given.recursive
        )
        targets = [target for target, _ in pairs]
    else:
        targets = await _named(session)
    status, gone = 0, []
    for target in targets:
        try:
            gone.append((target, await _delete_one(session, target)))
            print(f"{_spoken(target)} deleted", flush=True)
        except errors.NotFound as refusal:
            if not given.ignore_not_found:
                print(worded(refusal), file=sys.stderr)
                status = 1
        except errors.ApiError as refusal:
            print(worded(refusal), file=sys.stderr)
            status = 1
    if given.wait and gone:
        await wait_until_gone(session.client, gone, seconds=given.timeout or None)
    if not targets:
        print("No resources found", file=sys.stderr)
    return status


async def delete_objects(
    client: Client, objects: Sequence[Object], *, namespace: str = "default", seconds: float = 60.0
) -> list[str]:
    """Delete objects (those that exist) and wait until they are gone; their labels, as `service/web`."""
    known, gone = await catalog(client), []
    for obj in objects:
        kind = known.of(obj)
        own = (obj["metadata"].get("namespace") or namespace) if kind.named.namespaced else ""
        target = Target(kind, obj["metadata"]["name"], own)
        try:
            answer = await client.delete(kind.named.name, target.name, own)
        except errors.NotFound:
            continue
        gone.append((target, _uid(answer)))
    await wait_until_gone(client, gone, seconds=seconds)
    return [target.kind.label(target.name) for target, _ in gone]


async def wait_until_gone(
    client: Client, targets: Sequence[tuple[Target, str]], *, seconds: float | None
) -> None:
    """Wait until none of the objects (of these uids) exists any longer.  Raises Failed after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            for target, uid in targets:
                while await _still_there(client, target, uid):  # noqa: ASYNC110  the server is asked
                    await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise Failed("error: timed out waiting for the condition") from None


async def _still_there(client: Client, target: Target, uid: str) -> bool:
    try:
        obj = await client.get(target.kind.named.name, target.name, target.namespace)
    except errors.NotFound:
        return False
    return not uid or obj["metadata"].get("uid") == uid


async def _named(session: Session) -> list[Target]:
    given = session.given
    targets = parse(given.words, session.catalog, session.namespace)
    if all(target.name for target in targets):
        return targets
    if not given.all and not given.selector:
        raise Usage("resource(s) were provided, but no name was specified")
    found = await existing(session.client, targets, labels=given.selector)
    return [target for target, _ in found]


async def _delete_one(session: Session, target: Target) -> str:
    given = session.given
    grace = 0 if given.force and given.grace_period is None else given.grace_period
    answer = await session.client.delete(
        target.kind.named.name, target.name, target.namespace,
        grace_period_seconds=grace, propagation=given.cascade.capitalize(),
    )  # fmt: skip
    return _uid(answer)


def _uid(answer: Object) -> str:
    """The uid of the deleted object, from the object or from the Status."""
    if answer.get("kind") == "Status":
        return str((answer.get("details") or {}).get("uid", ""))
    return str(answer["metadata"].get("uid", ""))


def _spoken(target: Target) -> str:
    return f'{target.kind.label("").rstrip("/")} "{target.name}"'
