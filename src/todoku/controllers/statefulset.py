"""StatefulSets: pods with names, order and claims of their own (apps/v1 StatefulSet)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from todoku.api import errors
from todoku.api.meta import Key, Object, key_of
from todoku.api.selectors import from_selector
from todoku.client import WatchEvent
from todoku.controllers import pods, revisions
from todoku.controllers.claims import plan_claims, settle_claims
from todoku.controllers.controller import Controller, deleting, owner_uid
from todoku.controllers.statefulset_plan import (
    Plan,
    make_claims,
    make_pod,
    ordinal,
    plan,
    status,
)


class StatefulSetController(Controller):
    name: ClassVar[str] = "statefulset"
    reconciles: ClassVar[str] = "statefulsets.apps"

    def setup(self) -> None:
        self.pods = self.watch("pods", self._pod_changed)
        pods.index(self.pods)
        self.claims = self.watch("persistentvolumeclaims")
        self.revisions = self.watch(revisions.RESOURCE, self.enqueue_owner("StatefulSet"))

    def _pod_changed(self, event: WatchEvent) -> None:
        self.enqueue_owner("StatefulSet")(event)
        pod = event.object
        if owner_uid(pod) or event.type == "DELETED":
            return
        for one in self.cache.list(pod["metadata"]["namespace"]):
            if from_selector(one["spec"]["selector"]).matches(pod["metadata"].get("labels")):
                self.queue.add(key_of(one))

    async def reconcile(self, key: Key) -> None:
        one = self.cache.get(key)
        if one is None:
            return
        owned = await self._owned(one)
        if deleting(one):
            return
        history = await revisions.current(self.client, self.revisions, one)
        update = history.hash
        name_of = {revisions.hash_of(r): r["metadata"]["name"] for r in history.revisions}
        current = self._current(one, name_of, update)
        templates = {revisions.hash_of(r): r["data"]["spec"]["template"] for r in history.revisions}
        now = self.clock.now()
        decided = plan(one, owned, current=current, update=update, now=now)
        failure = await self._apply(one, decided, templates)
        owned = self._mine(one)
        new = status(one, owned, current=current, update=update, name_of=name_of, now=now)
        await self._write(one, new)
        used = {(pod["metadata"].get("labels") or {}).get(revisions.HASH, "") for pod in owned}
        await revisions.trim(self.client, one, history.revisions, used | {update, current})
        self._look_again(key, one, owned, now)
        if failure is not None:
            raise failure

    async def _owned(self, one: Object) -> list[Object]:
        here = self.pods.by_index("namespace", one["metadata"]["namespace"])
        # A pod is adopted only if its name is one this set would give.
        candidates = [p for p in here if owner_uid(p) or ordinal(p, one) >= 0]
        claims = plan_claims(one, from_selector(one["spec"]["selector"]), candidates)
        return await settle_claims(self.client, "pods", self.reconciles, one, claims)

    def _mine(self, one: Object) -> list[Object]:
        here = self.pods.by_index("namespace", one["metadata"]["namespace"])
        return [pod for pod in here if owner_uid(pod) == one["metadata"]["uid"]]

    def _current(self, one: Object, name_of: dict[str, str], update: str) -> str:
        """The hash of the revision that the status calls current; the newest if it is gone."""
        named = (one.get("status") or {}).get("currentRevision", "")
        return next((digest for digest, name in name_of.items() if name == named), update)

    async def _apply(
        self, one: Object, decided: Plan, templates: dict[str, Object]
    ) -> Exception | None:
        for pod in decided.recreate:
            word = "Failed" if pods.phase(pod) == "Failed" else "Terminated"
            text = f"StatefulSet {key_of(one)} is recreating {word.lower()} Pod {pod['metadata']['name']}"
            self.recorder.event(one, "Warning", f"Recreating{word}Pod", text)
        doomed = [*decided.recreate, *decided.delete]
        for pod in doomed:
            await self._delete(one, pod)
        await self.pods.until(lambda: not any(self._lives(pod) for pod in doomed))
        for number, digest in decided.create:
            try:
                await self._create(one, number, digest, templates[digest])
            except errors.Forbidden as error:
                if "being terminated" in str(error):
                    return None
                return error
            except errors.ApiError as error:
                return error
        return None

    async def _create(self, one: Object, number: int, digest: str, template: Object) -> None:
        name = f"{one['metadata']['name']}-{number}"
        where = f"Pod {name} in StatefulSet {one['metadata']['name']}"
        for claim in make_claims(one, number):
            if self.claims.get(key_of(claim)) is not None:
                continue
            try:
                made = await self.client.create("persistentvolumeclaims", claim)
                await self.claims.reached(made["metadata"]["resourceVersion"])
            except errors.AlreadyExists:
                continue
            text = f"create Claim {claim['metadata']['name']} {where} success"
            self.recorder.event(one, "Normal", "SuccessfulCreate", text)
        plain = {k: v for k, v in template.items() if k != "$patch"}
        try:
            made = await self.client.create("pods", make_pod(one, plain, number, digest))
        except errors.AlreadyExists as error:
            raise errors.Conflict(f"pod {name} is there already") from error
        except errors.ApiError as error:
            text = f"create {where} failed error: {error}"
            self.recorder.event(one, "Warning", "FailedCreate", text)
            raise
        self.recorder.event(one, "Normal", "SuccessfulCreate", f"create {where} successful")
        await self.pods.reached(made["metadata"]["resourceVersion"])

    async def _delete(self, one: Object, pod: Object) -> None:
        meta = pod["metadata"]
        try:
            await self.client.delete("pods", meta["name"], meta["namespace"], uid=meta["uid"])
        except (errors.NotFound, errors.Conflict):
            return
        text = f"delete Pod {meta['name']} in StatefulSet {one['metadata']['name']} successful"
        self.recorder.event(one, "Normal", "SuccessfulDelete", text)

    def _lives(self, pod: Object) -> bool:
        now = self.pods.get(key_of(pod))
        return (
            now is not None
            and now["metadata"]["uid"] == pod["metadata"]["uid"]
            and not deleting(now)
        )

    async def _write(self, one: Object, new: Object) -> None:
        if (one.get("status") or {}) == new:
            return
        written = await self.client.update(
            self.reconciles, one | {"status": new}, subresource="status"
        )
        await self.cache.reached(written["metadata"]["resourceVersion"])

    def _look_again(self, key: Key, one: Object, owned: Sequence[Object], now: float) -> None:
        min_ready = one["spec"].get("minReadySeconds", 0)
        waits = [pods.available_in(pod, min_ready, now) for pod in owned] if min_ready else []
        due = [wait for wait in waits if wait is not None]
        if due:
            self.queue.add_after(key, max(min(due), 0.05))
