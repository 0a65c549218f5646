"""A namespace that is being deleted: its content goes first, pods before everything else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from todoku.api import errors, times
from todoku.api.meta import Key, Object
from todoku.client import WatchEvent
from todoku.client.names import Named
from todoku.controllers import conditions, pods
from todoku.controllers.controller import Controller, deleting

FINALIZER = "kubernetes"
AGAIN_SECONDS = 0.5
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is still there: counts by resource, counts by finalizer, and what could not be deleted."""

    resources: Mapping[str, int] = field(default_factory=dict)
    finalizers: Mapping[str, int] = field(default_factory=dict)
    failures: Sequence[str] = ()
    undiscovered: str = ""
    grace_seconds: float = 0.0  # that pods have left


def discovery_failure(stale: Sequence[str]) -> str:
    """What may still be in the namespace is unknown while an extension API server does not answer."""
    if not stale:
        return ""
    each = ", ".join(f"{one}: stale GroupVersion discovery: {one}" for one in stale)
    return (
        f"Discovery failed for some groups, {len(stale)} failing:"
        f" unable to retrieve the complete list of server APIs: {each}"
    )


def remaining_conditions(left: Remaining) -> list[Object]:
    """The five conditions by which a namespace tells why it is still there."""
    return [
        _condition(
            "NamespaceDeletionDiscoveryFailure", left.undiscovered,
            ("DiscoveryFailed", left.undiscovered),
            ("ResourcesDiscovered", "All resources successfully discovered"),
        ),
        _condition(
            "NamespaceDeletionGroupVersionParsingFailure", "",
            ("GroupVersionParsingFailed", ""),
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        _condition(
            "NamespaceDeletionContentFailure", left.failures,
            ("ContentDeletionFailed",
             f"Failed to delete all resource types, {len(left.failures)} remaining: {', '.join(left.failures)}"),
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ),
        _condition(
            "NamespaceContentRemaining", left.resources,
            ("SomeResourcesRemain", "Some resources are remaining: " + ", ".join(
                f"{name} has {count} resource instances" for name, count in sorted(left.resources.items()))),
            ("ContentRemoved", "All content successfully removed"),
        ),
        _condition(
            "NamespaceFinalizersRemaining", left.finalizers,
            ("SomeFinalizersRemain", "Some content in the namespace has finalizers remaining: " + ", ".join(
                f"{name} in {count} resource instances" for name, count in sorted(left.finalizers.items()))),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ]  # fmt: skip


def grace_seconds(here: Sequence[Object]) -> float:
    """How long these pods may take to end."""
    given = [
        p["spec"].get("terminationGracePeriodSeconds") for p in here if not pods.is_terminal(p)
    ]
    return float(max((one for one in given if one is not None), default=0))


def _condition(type: str, problem: object, bad: tuple[str, str], good: tuple[str, str]) -> Object:
    reason, message = bad if problem else good
    status = "True" if problem else "False"
    return {"type": type, "status": status, "reason": reason, "message": message}


class NamespaceController(Controller):
    name: ClassVar[str] = "namespace"
    reconciles: ClassVar[str] = "namespaces"

    def setup(self) -> None:
        self.pods = self.watch("pods", self._pod_changed)
        pods.index(self.pods)

    def enqueue(self, event: WatchEvent) -> None:
        if event.type != "DELETED" and deleting(event.object):
            super().enqueue(event)

    def _pod_changed(self, event: WatchEvent) -> None:
        key = Key("", event.object["metadata"]["namespace"])
        namespace = self.cache.get(key)
        if namespace is not None and deleting(namespace):
            self.queue.add(key)

    async def reconcile(self, key: Key) -> None:
        namespace = self.cache.get(key)
        if namespace is None or not deleting(namespace):
            return
        if FINALIZER not in (namespace["spec"].get("finalizers") or ()):
            return
        left = await self._empty(namespace)
        if left.resources or left.failures or left.undiscovered:
            await self._tell(namespace, left)
            if set(left.resources) != {"pods."} or left.failures:
                self.queue.add_after(key, AGAIN_SECONDS)
            elif left.grace_seconds:  # the pods' own, after which they should be gone
                self.queue.add_after(key, left.grace_seconds)
            return
        namespace = await self._tell(namespace, left) if self._told(namespace) else namespace
        await self._finalize(namespace)

    async def _empty(self, namespace: Object) -> Remaining:
        """Delete what there is; returns what remains."""
        name: str = namespace["metadata"]["name"]
        here = self.pods.by_index("namespace", name)
        if here:
            began = times.parse(namespace["metadata"]["deletionTimestamp"])
            return await self._empty_pods(name, here, self.clock.now() - began)
        try:
            found = await self.client.discover()
            undiscovered = discovery_failure(self.client.stale)
        except errors.ApiError as error:
            return Remaining(undiscovered=str(error))
        served = [one for one in found if one.namespaced and {"list", "delete"} <= set(one.verbs)]
        gate = asyncio.Semaphore(AT_ONCE)
        results = await asyncio.gather(*(self._clear(one, name, gate) for one in served))
        counts: Counter[str] = Counter()
        finalizers: Counter[str] = Counter()
        failures: list[str] = []
        for resource, items, failure in results:
            if items:
                counts[f"{resource.plural}.{resource.group}"] = len(items)
            finalizers.update(f for item in items for f in item["metadata"].get("finalizers") or ())
            failures += [failure] if failure else []
        return Remaining(counts, finalizers, failures, undiscovered)

    async def _empty_pods(
        self, name: str, here: Sequence[Object], waited_seconds: float
    ) -> Remaining:
        if not all(deleting(pod) for pod in here):
            await self.client.delete_collection("pods", name)
        held = Counter(f for pod in here for f in pod["metadata"].get("finalizers") or ())
        left = max(grace_seconds(here) - waited_seconds, 0.0)
        failures = []
        if held or not left:
            failures = [
                f"unexpected items still remain in namespace: {name} for gvr: /v1, Resource=pods"
            ]
        return Remaining({"pods.": len(here)}, held, failures, grace_seconds=left)

    async def _clear(
        self, resource: Named, namespace: str, gate: asyncio.Semaphore
    ) -> tuple[Named, list[Object], str]:
        async with gate:
            try:
                items = (await self.client.list(resource.name, namespace, metadata_only=True)).items
                if items:
                    await self._delete_all(resource, namespace, items)
                    listed = await self.client.list(resource.name, namespace, metadata_only=True)
                    items = listed.items
            except (errors.NotFound, errors.MethodNotAllowed):
                return resource, [], ""  # not served any more
            except errors.ApiError as error:
                return resource, [], str(error)
            return resource, items, ""

    async def _delete_all(self, resource: Named, namespace: str, items: Sequence[Object]) -> None:
        if "deletecollection" in resource.verbs:
            await self.client.delete_collection(resource.name, namespace, propagation="Background")
            return
        for item in items:
            meta = item["metadata"]
            try:
                await self.client.delete(
                    resource.name, meta["name"], namespace, propagation="Background"
                )
            except errors.NotFound:
                continue

    def _told(self, namespace: Object) -> bool:
        return bool((namespace.get("status") or {}).get("conditions"))

    async def _tell(self, namespace: Object, left: Remaining) -> Object:
        status = dict(namespace.get("status") or {})
        now = times.text(self.clock.now())
        kept: list[Object] = list(status.get("conditions") or ())
        for condition in remaining_conditions(left):
            kept = conditions.with_condition(kept, condition, now)
        status |= {"phase": "Terminating", "conditions": kept}
        if status == namespace.get("status"):
            return namespace
        written = await self.client.update(
            "namespaces", namespace | {"status": status}, subresource="status"
        )
        await self.cache.reached(written["metadata"]["resourceVersion"])
        return written

    async def _finalize(self, namespace: Object) -> None:
        rest = [one for one in namespace["spec"]["finalizers"] if one != FINALIZER]
        spec = namespace["spec"] | {"finalizers": rest}
        try:
            await self.client.update(
                "namespaces", namespace | {"spec": spec}, subresource="finalize"
            )
        except errors.NotFound:
            return
