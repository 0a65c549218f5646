"""StatefulSets: pods with names, order and claims of their own (apps/v1 StatefulSet)."""

from __future__ import annotations

from typing import ClassVar

from todoku.api import errors
from todoku.api.meta import Key, Object, key_of
from todoku.api.selectors import from_selector
from todoku.client import WatchEvent
from todoku.controllers import pods, revisions
from todoku.controllers.claims import plan_claims, settle_claims
from todoku.controllers.controller import deleting, owner_uid
from todoku.controllers.pod_owner import PodOwner
from todoku.controllers.statefulset_plan import (
    Plan,
    make_claims,
    make_pod,
    ordinal,
    plan,
    status,
)


class StatefulSetController(PodOwner):
    name: ClassVar[str] = "statefulset"
    reconciles: ClassVar[str] = "statefulsets.apps"

    def setup(self) -> None:
        super().setup()
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
        owned = self.mine(one)
        new = status(one, owned, current=current, update=update, name_of=name_of, now=now)
        await self.settle_status(one, new)
        used = {(pod["metadata"].get("labels") or {}).get(revisions.HASH, "") for pod in owned}
        await revisions.trim(self.client, one, history.revisions, used | {update, current})
        self.look_again(key, one, owned, now)
        if failure is not None:
            raise failure

    async def _owned(self, one: Object) -> list[Object]:
        here = self.pods.by_index("namespace", one["metadata"]["namespace"])
        # A pod is adopted only if its name is one this set would give.
        candidates = [p for p in here if owner_uid(p) or ordinal(p, one) >= 0]
        claims = plan_claims(one, from_selector(one["spec"]["selector"]), candidates)
        return await settle_claims(self.client, "pods", self.reconciles, one, claims)

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
            text = f"delete Pod {pod['metadata']['name']} in StatefulSet {one['metadata']['name']} successful"
            await self.delete_pod(one, pod, said=text)
        await self.until_gone(doomed)
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
