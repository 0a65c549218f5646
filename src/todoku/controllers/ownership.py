"""The graph of who owns whom, and what a deletion means for the owned.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from todoku.api.meta import Object

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"


class Reference(NamedTuple):
    """One object by resource name, namespace, name and uid."""

    resource: str
    namespace: str
    name: str
    uid: str


@dataclass(slots=True)
class Node:
    """One object as the graph knows it."""

    at: Reference
    owners: Sequence[Object] = ()
    dependents: dict[str, bool] = field(
        default_factory=dict
    )  # uid -> it must not go before this one
    blockers: int = 0  # how many of the dependents that is true of
    deleting: bool = False
    finalizers: tuple[str, ...] = ()

    def is_at(self, resource: str, name: str, dependent: Reference) -> bool:
        """Whether this is the object of that name which `dependent` may have as its owner."""
        return (self.at.resource, self.at.name) == (resource, name) and reaches(self.at, dependent)

    @property
    def foreground(self) -> bool:
        """Waits for its blocking dependents to go first."""
        return self.deleting and FOREGROUND in self.finalizers

    @property
    def orphaning(self) -> bool:
        """Waits for its dependents to be cut loose."""
        return self.deleting and ORPHAN in self.finalizers


@dataclass(slots=True)
class Graph:
    """Objects by uid.  `waiting` holds the dependents of owners that were not seen (yet)."""

    nodes: dict[str, Node] = field(default_factory=dict)
    waiting: dict[str, dict[str, bool]] = field(default_factory=dict)

    def put(self, at: Reference, obj: Object) -> Node:
        """Note an object; edges follow its owner references."""
        meta = obj["metadata"]
        owners = meta.get("ownerReferences") or ()
        node = self.nodes.get(at.uid)
        if node is None:
            node = self._insert(at)
        if node.owners != owners:
            for gone in {o["uid"] for o in node.owners} - {o["uid"] for o in owners}:
                self._unlink(gone, at.uid)
            for owner in owners:
                self._link(owner, at.uid)
            node.owners = owners
        node.deleting = bool(meta.get("deletionTimestamp"))
        node.finalizers = tuple(meta.get("finalizers") or ())
        return node

    def _insert(self, at: Reference) -> Node:
        known = self.waiting.pop(at.uid, {})
        node = self.nodes[at.uid] = Node(at, dependents=known, blockers=sum(known.values()))
        return node

    def remove(self, uid: str) -> set[str]:
        """An object is gone; returns the uids of its dependents, whose owner is absent now."""
        node = self.nodes.pop(uid, None)
        if node is None:
            return set()
        for owner in node.owners:
            self._unlink(owner["uid"], uid)
        node.dependents.pop(uid, None)  # it may have owned itself
        if node.dependents:
            self.waiting[uid] = node.dependents
        return set(node.dependents)

    def dependents(self, uid: str) -> list[Node]:
        node = self.nodes.get(uid)
        found = node.dependents if node is not None else self.waiting.get(uid, {})
        return [self.nodes[one] for one in found if one in self.nodes]

    def blocking(self, uid: str) -> list[Node]:
        """Dependents that say that their owner must not go before them."""
        node = self.nodes.get(uid)
        if node is None or not node.blockers:
            return []
        return [self.nodes[one] for one, blocks in node.dependents.items() if blocks]

    def _link(self, owner: Object, dependent: str) -> None:
        node, blocks = self.nodes.get(owner["uid"]), bool(owner.get("blockOwnerDeletion"))
        if node is None:
            self.waiting.setdefault(owner["uid"], {})[dependent] = blocks
            return
        node.blockers += blocks - node.dependents.get(dependent, False)
        node.dependents[dependent] = blocks

    def _unlink(self, owner: str, dependent: str) -> None:
        node = self.nodes.get(owner)
        if node is not None:
            node.blockers -= node.dependents.pop(dependent, False)
            return
        rest = self.waiting.get(owner, {})
        rest.pop(dependent, None)
        if not rest:
            self.waiting.pop(owner, None)


def reaches(owner: Reference, dependent: Reference) -> bool:
    """Whether an object may own another: from its own namespace, or from none."""
    return owner.namespace in ("", dependent.namespace)


def coordinates(owner: Object, namespace: str) -> str:
    """An owner reference as Events write it."""
    where = f"namespace: {namespace}, name: {owner.get('name', '')}, uid: {owner.get('uid', '')}"
    return f"[{owner.get('apiVersion', '')}/{owner.get('kind', '')}, {where}]"


class OwnerState(Enum):
    SOLID = "there, and staying"
    WAITING = "being deleted in the foreground: waits for us"
    ABSENT = "gone, or another object of the same name"
    UNREACHABLE = (
        "namespaced, though what it should own is not: a mistake that nothing follows from"
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an object: `delete` with a propagation policy, or lose some owner references.

    `unblock` first clears blockOwnerDeletion, to break a circle of foreground deletions.
    """

    delete: str = ""
    drop_owners: tuple[str, ...] = ()
    unblock: bool = False


def judge(
    owners: Sequence[Object],
    state: Callable[[Object], OwnerState],
    finalizers: Iterable[str],
    dependents: Sequence[Node],
) -> Verdict:
    """Decide from the states of an object's owners (GarbageCollector.attemptToDeleteItem)."""
    by_state: dict[OwnerState, list[str]] = {one: [] for one in OwnerState}
    for owner in owners:
        by_state[state(owner)].append(owner["uid"])
    if not owners or by_state[OwnerState.UNREACHABLE]:
        return Verdict()
    if by_state[OwnerState.SOLID]:
        return Verdict(drop_owners=(*by_state[OwnerState.ABSENT], *by_state[OwnerState.WAITING]))
    if by_state[OwnerState.WAITING] and dependents:
        return Verdict(delete="Foreground", unblock=any(one.foreground for one in dependents))
    if ORPHAN in finalizers:
        return Verdict(delete="Orphan")
    if FOREGROUND in finalizers:
        return Verdict(delete="Foreground")
    return Verdict(delete="Background")
