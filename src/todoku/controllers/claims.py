"""Which of the objects that a selector matches belong to a controller: adopt orphans, release strangers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from todoku.api import errors
from todoku.api.meta import Object
from todoku.api.selectors import LabelSelector
from todoku.client import Client
from todoku.controllers.controller import deleting, owner_reference, owner_uid


@dataclass(frozen=True, slots=True)
class Claims:
    """`owned` stay; `adopt` match and have no controller; `release` are ours but match no more."""

    owned: tuple[Object, ...]
    adopt: tuple[Object, ...]
    release: tuple[Object, ...]


def plan_claims(owner: Object, selector: LabelSelector, candidates: Sequence[Object]) -> Claims:
    """Sort the objects of the owner's namespace (BaseControllerRefManager.ClaimObject)."""
    uid = owner["metadata"]["uid"]
    owned: list[Object] = []
    adopt: list[Object] = []
    release: list[Object] = []
    for obj in candidates:
        controller = owner_uid(obj)
        matches = selector.matches(obj["metadata"].get("labels"))
        if controller == uid:
            (owned if matches or deleting(owner) else release).append(obj)
        elif not controller and matches and not deleting(owner) and not deleting(obj):
            adopt.append(obj)
    return Claims(tuple(owned), tuple(adopt), tuple(release))


async def settle_claims(
    client: Client, resource: str, owner_resource: str, owner: Object, claims: Claims
) -> list[Object]:
    """Carry the claims out; returns the owned objects.  What is gone meanwhile is left out."""
    owned = list(claims.owned)
    if claims.adopt:
        await _still_there(client, owner_resource, owner)
    for obj in claims.adopt:
        adopted = await _patch_owners(
            client, resource, obj, [*_owners(obj), owner_reference(owner)]
        )
        if adopted is not None:
            owned.append(adopted)
    uid = owner["metadata"]["uid"]
    for obj in claims.release:
        rest = [one for one in _owners(obj) if one.get("uid") != uid]
        await _patch_owners(client, resource, obj, rest)
    return owned


async def _still_there(client: Client, resource: str, owner: Object) -> None:
    """Nobody may be adopted by the dead: the cache could be behind."""
    meta = owner["metadata"]
    fresh = await client.get(resource, meta["name"], meta.get("namespace", ""))
    if fresh["metadata"]["uid"] != meta["uid"] or deleting(fresh):
        raise errors.Conflict.of(resource, meta["name"], "it was deleted meanwhile")


async def _patch_owners(
    client: Client, resource: str, obj: Object, owners: list[Object]
) -> Object | None:
    meta = obj["metadata"]
    body = {
        "metadata": {
            "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
            "ownerReferences": owners or None,
        }
    }
    try:
        return await client.patch(resource, meta["name"], meta.get("namespace", ""), body)
    except (errors.NotFound, errors.Invalid):
        return None  # deleted, or replaced by another of the same name


def _owners(obj: Object) -> list[Object]:
    return list(obj["metadata"].get("ownerReferences") or ())
