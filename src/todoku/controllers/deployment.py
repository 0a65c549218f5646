"""Deployments: a ReplicaSet per pod template, and the way from one to the next (apps/v1 Deployment)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from todoku.api import errors, names
from todoku.api.meta import Key, Object, copy, key_of
from todoku.api.selectors import from_selector
from todoku.client import WatchEvent
from todoku.controllers import conditions, pods, rollout
from todoku.controllers import deployment_status as statuses
from todoku.controllers.claims import plan_claims, settle_claims
from todoku.controllers.controller import (
    Controller,
    deleting,
    owner_key,
    owner_reference,
    owner_uid,
)
from todoku.controllers.rollout import Scale

_NOT_COPIED = (
    "kubectl.kubernetes.io/last-applied-configuration",
    rollout.REVISION,
    rollout.REVISION_HISTORY,
    rollout.DESIRED,
    rollout.MAXIMUM,
    "deprecated.deployment.rollback.to",
)


class DeploymentController(Controller):
    name: ClassVar[str] = "deployment"
    reconciles: ClassVar[str] = "deployments.apps"

    def setup(self) -> None:
        self.sets = self.watch("replicasets.apps", self._set_changed)
        self.sets.add_index("namespace", lambda rs: [rs["metadata"]["namespace"]])
        self.pods = self.watch("pods", self._pod_changed)
        pods.index(self.pods)

    def _set_changed(self, event: WatchEvent) -> None:
        self.enqueue_owner("Deployment")(event)
        rs = event.object
        if owner_uid(rs) or event.type == "DELETED":
            return
        for deployment in self.cache.list(rs["metadata"]["namespace"]):
            if from_selector(deployment["spec"]["selector"]).matches(rs["metadata"].get("labels")):
                self.queue.add(key_of(deployment))

    def _pod_changed(self, event: WatchEvent) -> None:
        """Recreate waits for the last old pod to go."""
        if event.type != "DELETED" and not pods.is_terminal(event.object):
            return
        owner = owner_key(event.object, "ReplicaSet")
        rs = self.sets.get(owner) if owner else None
        above = owner_key(rs, "Deployment") if rs else None
        deployment = self.cache.get(above) if above else None
        if deployment is not None and not rollout.is_rolling(deployment):
            self.queue.add(key_of(deployment))

    async def reconcile(self, key: Key) -> None:
        deployment = self.cache.get(key)
        if deployment is None:
            return None
        selector = from_selector(deployment["spec"]["selector"])
        if selector.empty:
            text = "This deployment is selecting all pods. A non-empty selector is required."
            self.recorder.event(deployment, "Warning", "SelectingAll", text)
            return None
        here = self.sets.by_index("namespace", key.namespace)
        claims = plan_claims(deployment, selector, here)
        sets = await settle_claims(
            self.client, "replicasets.apps", self.reconciles, deployment, claims
        )
        new = rollout.find_new(deployment, sets)
        old = [rs for rs in sets if rs is not new]
        if deleting(deployment):
            return await self._finish(deployment, new, sets)
        deployment = await self._note_pause(deployment)
        if deployment["spec"].get("paused") or rollout.is_scaling(deployment, sets):
            await self._scale(deployment, rollout.plan_scale(deployment, new, old))
            return await self._finish(deployment, new, sets, progress=False)
        if rollout.is_rolling(deployment):
            return await self._roll(deployment, new, old)
        return await self._recreate(deployment, new, old)

    async def _roll(self, deployment: Object, new: Object | None, old: Sequence[Object]) -> None:
        new, deployment = await self._ensure_new(deployment, new, old)
        steps = rollout.plan_rolling(deployment, new, old)
        await self._scale(deployment, steps)
        await self._finish(deployment, new, [*old, new])
        if not steps:
            await self._clean(deployment, old)

    async def _recreate(
        self, deployment: Object, new: Object | None, old: Sequence[Object]
    ) -> None:
        steps = rollout.plan_recreate(deployment, new, old, old_pods=self._run(old))
        if steps is None or (steps and steps[0].replicas == 0):
            await self._scale(deployment, steps or [])
            return await self._finish(deployment, new, [*old, *([new] if new else [])])
        new, deployment = await self._ensure_new(deployment, new, old)
        if rollout.replicas(new) != rollout.wanted(deployment):
            await self._scale(deployment, [Scale(new, rollout.wanted(deployment))])
        await self._finish(deployment, new, [*old, new])
        return await self._clean(deployment, old)

    def _run(self, sets: Sequence[Object]) -> bool:
        """Whether a pod of these sets has not ended."""
        uids = {rs["metadata"]["uid"] for rs in sets}
        if not uids:
            return False
        here = self.pods.by_index("namespace", sets[0]["metadata"]["namespace"])
        return any(owner_uid(pod) in uids and not pods.is_terminal(pod) for pod in here)

    async def _ensure_new(
        self, deployment: Object, new: Object | None, old: Sequence[Object]
    ) -> tuple[Object, Object]:
        """The ReplicaSet of the current template, made or brought up to date, and the Deployment as stored."""
        next_revision = str(max((rollout.revision(rs) for rs in old), default=0) + 1)
        if new is None:
            new = await self._create_set(deployment, old, next_revision)
            reason, text = (
                "NewReplicaSetCreated",
                f'Created new replica set "{new["metadata"]["name"]}"',
            )
        else:
            new = await self._refresh_set(deployment, new, next_revision)
            reason, text = (
                "FoundNewReplicaSet",
                f'Found new replica set "{new["metadata"]["name"]}"',
            )
        deployment = await self._note_revision(deployment, rollout.revision(new))
        return new, await self._note_progress(deployment, reason, text)

    async def _create_set(self, deployment: Object, old: Sequence[Object], revision: str) -> Object:
        size = rollout.new_size(deployment, None, old)
        wanted = new_replica_set(deployment, size, revision)
        try:
            made = await self.client.create("replicasets.apps", wanted)
        except errors.AlreadyExists:
            return await self._collided(deployment, wanted)
        except errors.Forbidden as error:
            if "being terminated" in str(error):
                raise errors.Conflict("the namespace is going away") from error
            raise
        await self.sets.reached(made["metadata"]["resourceVersion"])
        if size:
            text = f"Scaled up replica set {made['metadata']['name']} from 0 to {size}"
            self.recorder.event(deployment, "Normal", "ScalingReplicaSet", text)
        return made

    async def _collided(self, deployment: Object, wanted: Object) -> Object:
        """The name is taken: by our own set (the cache was behind), or by a hash collision."""
        meta = wanted["metadata"]
        there = await self.client.get("replicasets.apps", meta["name"], meta["namespace"])
        ours = owner_uid(there) == deployment["metadata"]["uid"]
        if ours and rollout.find_new(deployment, [there]) is not None:
            return there
        status = dict(deployment.get("status") or {})
        status["collisionCount"] = status.get("collisionCount", 0) + 1
        await self._store(deployment | {"status": status})
        raise errors.Conflict(f"replica set name {meta['name']} is taken, another hash follows")

    async def _refresh_set(self, deployment: Object, rs: Object, next_revision: str) -> Object:
        changed = copy(rs)
        notes = changed["metadata"].setdefault("annotations", {})
        notes |= _copied(deployment)
        before = rollout.revision(rs)
        if before < int(next_revision):
            notes[rollout.REVISION] = next_revision
            if before:
                history = notes.get(rollout.REVISION_HISTORY, "")
                notes[rollout.REVISION_HISTORY] = ",".join(filter(None, [history, str(before)]))
        min_ready = deployment["spec"].get("minReadySeconds", 0)
        if changed["spec"].get("minReadySeconds", 0) != min_ready:
            changed["spec"]["minReadySeconds"] = min_ready
        return rs if changed == rs else await self._update_set(changed)

    async def _scale(self, deployment: Object, steps: Sequence[Scale]) -> None:
        for step in steps:
            await self._scale_one(deployment, step)

    async def _scale_one(self, deployment: Object, step: Scale) -> None:
        rs, before = step.replica_set, rollout.replicas(step.replica_set)
        changed = copy(rs)
        changed["spec"]["replicas"] = step.replicas
        changed["metadata"].setdefault("annotations", {}).update(sizes(deployment))
        if changed == rs:
            return
        await self._update_set(changed)
        if step.replicas != before:
            way = "up" if step.replicas > before else "down"
            name = rs["metadata"]["name"]
            text = f"Scaled {way} replica set {name} from {before} to {step.replicas}"
            self.recorder.event(deployment, "Normal", "ScalingReplicaSet", text)

    async def _update_set(self, rs: Object) -> Object:
        written = await self.client.update("replicasets.apps", rs)
        await self.sets.reached(written["metadata"]["resourceVersion"])
        return written

    async def _clean(self, deployment: Object, old: Sequence[Object]) -> None:
        if not statuses.is_complete(
            deployment, deployment.get("status") or {"observedGeneration": 0}
        ):
            return
        for rs in rollout.surplus_history(deployment, old):
            meta = rs["metadata"]
            try:
                await self.client.delete(
                    "replicasets.apps", meta["name"], meta["namespace"], uid=meta["uid"],
                    propagation="Background",
                )  # fmt: skip
            except errors.NotFound:
                continue

    async def _note_revision(self, deployment: Object, revision: int) -> Object:
        if rollout.revision(deployment) == revision:
            return deployment
        changed = copy(deployment)
        changed["metadata"].setdefault("annotations", {})[rollout.REVISION] = str(revision)
        # Beside the status: an annotation of its own must not raise the generation.
        return await self._store(changed)

    async def _note_progress(self, deployment: Object, reason: str, text: str) -> Object:
        """A rollout begins: the condition from which the deadline counts."""
        if not statuses.has_deadline(deployment):
            return deployment
        kept = (deployment.get("status") or {}).get("conditions")
        found = conditions.find(kept, "Progressing")
        if found is not None and reason == "FoundNewReplicaSet":
            return deployment
        now = self.clock.now()
        status = dict(deployment.get("status") or {})
        status["conditions"] = statuses.set_condition(kept, "Progressing", True, reason, text, now)
        return deployment | {"status": status}

    async def _note_pause(self, deployment: Object) -> Object:
        if not statuses.has_deadline(deployment):
            return deployment
        kept = (deployment.get("status") or {}).get("conditions")
        found = conditions.find(kept, "Progressing")
        reason = (found or {}).get("reason")
        if reason == "ProgressDeadlineExceeded":
            return deployment
        paused = bool(deployment["spec"].get("paused"))
        if paused == (reason == "DeploymentPaused"):
            return deployment
        word, text = (
            ("DeploymentPaused", "Deployment is paused") if paused
            else ("DeploymentResumed", "Deployment is resumed")
        )  # fmt: skip
        status = dict(deployment.get("status") or {})
        status["conditions"] = statuses.set_condition(
            kept, "Progressing", None, word, text, self.clock.now()
        )
        return await self._store(deployment | {"status": status})

    async def _finish(
        self,
        deployment: Object,
        new: Object | None,
        sets: Sequence[Object],
        *,
        progress: bool = True,
    ) -> None:
        """Write the status as of the sets' newest state in the cache."""
        fresh = [self.sets.get(key_of(rs)) or rs for rs in sets]
        current = (self.sets.get(key_of(new)) or new) if new is not None else None
        now = self.clock.now()
        status = statuses.status(deployment, current, fresh, now, progress=progress)
        key = key_of(deployment)
        stored = self.cache.get(key)
        if stored is None or (stored.get("status") or {}) != status:
            deployment = await self._store(deployment | {"status": status})
        left = statuses.seconds_left(deployment, now)
        if left is not None and not deleting(deployment):
            self.queue.add_after(key, max(left + 0.5, 0.5))

    async def _store(self, deployment: Object) -> Object:
        written = await self.client.update(self.reconciles, deployment, subresource="status")
        await self.cache.reached(written["metadata"]["resourceVersion"])
        return written


def new_replica_set(deployment: Object, size: int, revision: str) -> Object:
    """The ReplicaSet for the Deployment's template, named and labelled by the template's hash."""
    template: Object = copy(deployment["spec"]["template"])
    collisions = (deployment.get("status") or {}).get("collisionCount")
    digest = names.template_hash(template, collisions)
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    labels[rollout.HASH] = digest
    selector: Object = copy(deployment["spec"]["selector"])
    selector.setdefault("matchLabels", {})[rollout.HASH] = digest
    meta = deployment["metadata"]
    spec: Object = {"replicas": size, "selector": selector, "template": template}
    if deployment["spec"].get("minReadySeconds"):
        spec["minReadySeconds"] = deployment["spec"]["minReadySeconds"]
    notes = _copied(deployment) | sizes(deployment) | {rollout.REVISION: revision}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{meta['name']}-{digest}",
            "namespace": meta["namespace"],
            "labels": dict(labels),
            "annotations": notes,
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": spec,
    }


def sizes(deployment: Object) -> dict[str, str]:
    """The annotations that tell for which size a ReplicaSet was scaled."""
    surge, _ = rollout.limits(deployment)
    total = rollout.wanted(deployment)
    return {rollout.DESIRED: str(total), rollout.MAXIMUM: str(total + surge)}


def _copied(deployment: Object) -> dict[str, str]:
    notes = deployment["metadata"].get("annotations") or {}
    return {name: value for name, value in notes.items() if name not in _NOT_COPIED}
