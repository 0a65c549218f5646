"""ControllerRevisions: the pod templates that a DaemonSet or StatefulSet has had."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from todoku.api import errors, names
from todoku.api.meta import Object, copy
from todoku.client import Client, Informer
from todoku.controllers.controller import deleting, owner_reference, owner_uid

RESOURCE = "controllerrevisions.apps"
HASH = "controller-revision-hash"
STATEFUL_HASH = "controller.kubernetes.io/hash"


def template_data(owner: Object) -> Object:
    """What a revision stores: the template, as a strategic merge patch that puts it back."""
    template: Object = copy(owner["spec"]["template"])
    return {"spec": {"template": template | {"$patch": "replace"}}}


def make(owner: Object, number: int, collisions: int | None) -> Object:
    data = template_data(owner)
    digest = names.template_hash(data, collisions)
    meta = owner["metadata"]
    labels = (owner["spec"]["template"].get("metadata") or {}).get("labels") or {}
    label = HASH if owner["kind"] == "DaemonSet" else STATEFUL_HASH
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"{meta['name']}-{digest}",
            "namespace": meta["namespace"],
            "labels": labels | {label: digest},
            "annotations": _copied(owner),
            "ownerReferences": [owner_reference(owner)],
        },
        "data": data,
        "revision": number,
    }


@dataclass(frozen=True, slots=True)
class History:
    """All revisions of one owner, oldest first; `current` is the one of its template."""

    current: Object
    revisions: tuple[Object, ...]

    @property
    def hash(self) -> str:
        return hash_of(self.current)


def hash_of(revision: Object) -> str:
    """What pods of this revision bear as `controller-revision-hash`: for a StatefulSet the revision's whole name."""
    return str((revision["metadata"].get("labels") or {}).get(HASH, revision["metadata"]["name"]))


def owned(informer: Informer, owner: Object) -> list[Object]:
    uid = owner["metadata"]["uid"]
    found = [one for one in informer.list(owner["metadata"]["namespace"]) if owner_uid(one) == uid]
    return sorted(found, key=lambda one: (one.get("revision", 0), one["metadata"]["name"]))


async def current(client: Client, informer: Informer, owner: Object) -> History:
    """The history of an owner, with a revision for its template: the newest, made or renumbered as needed.

    Raises Conflict when a name is taken by a hash collision (the owner's collisionCount must rise).
    """
    there = owned(informer, owner)
    last = there[-1].get("revision", 0) if there else 0
    data = _text(template_data(owner))
    equal = [one for one in there if _text(one.get("data")) == data]
    if not equal:
        made = await _create(client, informer, owner, last + 1)
        return History(made, (*there, made))
    newest = equal[-1]
    if newest.get("revision", 0) < last:  # rolled back: the old template is the newest again
        changed = newest | {"revision": last + 1}
        written = await client.update(RESOURCE, changed)
        await informer.reached(written["metadata"]["resourceVersion"])
        rest = [one for one in there if one is not newest]
        return History(written, (*rest, written))
    return History(newest, tuple(there))


async def _create(client: Client, informer: Informer, owner: Object, number: int) -> Object:
    collisions = (owner.get("status") or {}).get("collisionCount")
    wanted = make(owner, number, collisions)
    try:
        made = await client.create(RESOURCE, wanted)
    except errors.AlreadyExists:
        meta = wanted["metadata"]
        there = await client.get(RESOURCE, meta["name"], meta["namespace"])
        if owner_uid(there) == owner["metadata"]["uid"] and _text(there["data"]) == _text(
            wanted["data"]
        ):
            return there
        raise
    await informer.reached(made["metadata"]["resourceVersion"])
    return made


async def trim(client: Client, owner: Object, history: Sequence[Object], used: set[str]) -> None:
    """Delete the oldest revisions beyond `revisionHistoryLimit` that no pod uses (by hash)."""
    limit = owner["spec"].get("revisionHistoryLimit", 10)
    idle = [one for one in history if hash_of(one) not in used and not deleting(one)]
    for one in idle[: max(len(idle) - limit, 0)]:
        meta = one["metadata"]
        try:
            await client.delete(RESOURCE, meta["name"], meta["namespace"], uid=meta["uid"])
        except (errors.NotFound, errors.Conflict):
            continue


def _text(data: object) -> str:
    return json.dumps(data, sort_keys=True)


def _copied(owner: Object) -> dict[str, str]:
    notes = owner["metadata"].get("annotations") or {}
    return {
        k: v for k, v in notes.items() if k != "kubectl.kubernetes.io/last-applied-configuration"
    }
