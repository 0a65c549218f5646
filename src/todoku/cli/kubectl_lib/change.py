"""Small changes: `scale`, `label`, `annotate`."""

from __future__ import annotations

import sys

from todoku.api.meta import Object
from todoku.cli.kubectl_lib.refusals import Failed, Usage
from todoku.cli.kubectl_lib.session import Session
from todoku.cli.kubectl_lib.targets import Target, existing, from_files, parse


async def scale(session: Session) -> int:
    """Run `scale --replicas=N`."""
    given = session.given
    if given.replicas < 0:
        raise Usage(
            "The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0"
        )
    for target in _files_or_words(session):
        if not target.name:
            raise Usage("resource(s) were provided, but no name was specified")
        body = {"spec": {"replicas": given.replicas}}
        await session.client.patch(
            target.kind.named.name, target.name, target.namespace, body, subresource="scale"
        )
        print(f"{target.kind.label(target.name)} scaled", flush=True)
    return 0


async def label(session: Session) -> int:
    """Run `label`."""
    return await _edit(session, "labels", "labeled", "label")


async def annotate(session: Session) -> int:
    """Run `annotate`."""
    return await _edit(session, "annotations", "annotated", "annotation")


async def _edit(session: Session, field: str, done: str, noun: str) -> int:
    given = session.given
    words = [word for word in given.words if "=" not in word and not word.endswith("-")]
    changes = _changes([word for word in given.words if word not in words], noun)
    targets = parse(words, session.catalog, session.namespace)
    if any(not target.name for target in targets) and not (given.all or given.selector):
        raise Usage("resource(s) were provided, but no name was specified")
    status = 0
    for target, obj in await existing(session.client, targets, labels=given.selector):
        status |= await _edit_one(session, target, obj, (field, done, noun), changes)
    return status


async def _edit_one(
    session: Session,
    target: Target,
    obj: Object,
    words: tuple[str, str, str],
    changes: dict[str, str | None],
) -> int:
    field, done, noun = words
    present = obj["metadata"].get(field) or {}
    title = target.kind.label(target.name)
    for key, value in changes.items():
        if value is not None and present.get(key, value) != value and not session.given.overwrite:
            print(
                f"error: '{key}' already has a value ({present[key]}), and --overwrite is false",
                file=sys.stderr,
            )
            return 1
        if value is None and key not in present:
            print(f'{noun} "{key}" not found.')
    wanted = {key: value for key, value in changes.items() if present.get(key) != value}
    if not wanted:
        print(f"{title} not {done}", flush=True)
        return 0
    body = {"metadata": {field: wanted}}
    await session.client.patch(target.kind.named.name, target.name, target.namespace, body)
    removed = all(value is None for value in wanted.values())
    print(f"{title} {'un' + done if removed and field == 'labels' else done}", flush=True)
    return 0


def _changes(words: list[str], noun: str) -> dict[str, str | None]:
    """`key=value` sets, `key-` removes."""
    changes: dict[str, str | None] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            key = word.removesuffix("-")
        if not key:
            raise Usage(f"invalid {noun} spec: {word}")
        changes[key] = value if equals else None
    if not changes:
        raise Failed(f"error: at least one {noun} update is required")
    return changes


def _files_or_words(session: Session) -> list[Target]:
    if session.given.filename:
        return [
            target
            for target, _ in from_files(session.given.filename, session.catalog, session.namespace)
        ]
    return parse(session.given.words, session.catalog, session.namespace)
