"""`apply`: server-side apply, so that the server merges by field owner and nothing is guessed here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from todoku.api import errors
from todoku.api.meta import Object
from todoku.cli.kubectl_lib.catalog import Catalog, catalog
from todoku.cli.kubectl_lib.files import read_objects
from todoku.cli.kubectl_lib.refusals import Failed, worded
from todoku.cli.kubectl_lib.session import Session
from todoku.cli.kubectl_lib.targets import Target
from todoku.client import Client

MANAGER = "todoku-kubectl"


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of one object; `outcome` is created, configured or unchanged."""

    target: Target
    outcome: str
    object: Object

    def __str__(self) -> str:
        return f"{self.target.kind.label(self.target.name)} {self.outcome}"


async def apply(session: Session) -> int:
    """Run `apply -f`: all files are read before the first object is sent."""
    given = session.given
    objects = [
        obj for name in given.filename for obj in read_objects(name, recursive=given.recursive)
    ]
    status = 0
    current = session.catalog
    for obj in objects:
        try:
            current, applied = await _apply_known(
                session.client, current, obj, session.namespace, dry_run=given.dry_run == "server"
            )
        except errors.ApiError as refusal:
            print(worded(refusal), file=sys.stderr)
            status = 1
        else:
            tail = " (server dry run)" if given.dry_run == "server" else ""
            print(f"{applied}{tail}", flush=True)
    return status


async def apply_file(client: Client, path: str, *, namespace: str = "default") -> list[Applied]:
    """Apply every object of a file or folder, in order.  Raises ApiError at the first refusal, Usage."""
    return await apply_objects(client, read_objects(str(path)), namespace=namespace)


async def apply_objects(
    client: Client, objects: Sequence[Object], *, namespace: str = "default"
) -> list[Applied]:
    """Apply objects in order; a CRD among them may be used by those that follow."""
    current, done = await catalog(client), []
    for obj in objects:
        current, applied = await _apply_known(client, current, obj, namespace)
        done.append(applied)
    return done


async def _apply_known(
    client: Client, known: Catalog, obj: Object, namespace: str, *, dry_run: bool = False
) -> tuple[Catalog, Applied]:
    """Apply one object; an unknown kind is looked for once more, a CRD may just have been created."""
    from todoku.cli.kubectl_lib.refusals import Usage

    try:
        kind = known.of(obj)
    except Usage:
        known = await catalog(client)
        kind = known.of(obj)
    target = Target(
        kind, obj["metadata"].get("name", ""), _namespace(obj, namespace, kind.named.namespaced)
    )
    return known, await _apply_one(client, target, obj, dry_run=dry_run)


async def _apply_one(client: Client, target: Target, obj: Object, *, dry_run: bool) -> Applied:
    if not target.name:
        raise Failed(
            "from "
            + str(obj["metadata"].get("generateName"))
            + ": cannot use generate name with apply"
        )
    resource = target.kind.named.name
    try:
        before = await client.get(resource, target.name, target.namespace)
    except errors.NotFound:
        before = None
    body = obj | {"metadata": dict(obj["metadata"])}
    if target.namespace:
        body["metadata"]["namespace"] = target.namespace
    for generated in ("creationTimestamp", "managedFields"):
        body["metadata"].pop(generated, None)
    after = await client.patch(
        resource, target.name, target.namespace, body,
        kind="apply", field_manager=MANAGER, force=True, dry_run=dry_run,
    )  # fmt: skip
    if before is None:
        return Applied(target, "created", after)
    same = before["metadata"].get("resourceVersion") == after["metadata"].get("resourceVersion")
    return Applied(target, "unchanged" if same else "configured", after)


def _namespace(obj: Object, default: str, namespaced: bool) -> str:
    return (obj["metadata"].get("namespace") or default) if namespaced else ""
