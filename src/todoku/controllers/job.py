"""Jobs: pods that run to an end, so many times (batch/v1 Job)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from todoku.api import errors, times
from todoku.api.meta import Key, Object, key_of
from todoku.api.selectors import from_selector
from todoku.client import WatchEvent
from todoku.controllers import conditions, indexes, job_plan, pods
from todoku.controllers.claims import plan_claims, settle_claims
from todoku.controllers.controller import deleting, owner_key, owner_uid
from todoku.controllers.job_plan import FINALIZER, INDEX, Plan, View
from todoku.controllers.pod_owner import PodOwner

MANAGED_BY = "kubernetes.io/job-controller"
UNCOUNTED_LIMIT = 500


class JobController(PodOwner):
    name: ClassVar[str] = "job"
    reconciles: ClassVar[str] = "jobs.batch"

    def _pod_changed(self, event: WatchEvent) -> None:
        self.enqueue_owner("Job")(event)
        pod = event.object
        if owner_uid(pod) or event.type == "DELETED":
            return
        if job_plan.tracked(pod):
            self.queue.add(Key(pod["metadata"]["namespace"], f"pod/{pod['metadata']['name']}"))
        for job in self.cache.list(pod["metadata"]["namespace"]):
            if from_selector(job["spec"].get("selector")).matches(pod["metadata"].get("labels")):
                self.queue.add(key_of(job))

    async def reconcile(self, key: Key) -> None:
        if key.name.startswith("pod/"):
            return await self._free_orphan(Key(key.namespace, key.name.removeprefix("pod/")))
        job = self.cache.get(key)
        if job is None:
            return await self._free_bereaved(key)
        if job["spec"].get("managedBy") not in (None, MANAGED_BY):
            return None
        owned = await self._owned(job)
        if deleting(job) or job_plan.is_finished(job):
            await self._release([pod for pod in owned if job_plan.tracked(pod)])
            return None
        now = self.clock.now()
        view = job_plan.look(job, owned)
        ending = job_plan.verdict(view, now)
        decided = job_plan.plan(view, ending is not None, now)
        if ending is None:
            await self._release(decided.delete)  # what is not needed has not failed
        failure = await self._apply(view, decided)
        job = await self._count(view, ending, decided, now)
        self._look_again(key, job, decided, now)
        if failure is not None:
            raise failure
        return None

    async def _owned(self, job: Object) -> list[Object]:
        here = self.pods.by_index("namespace", job["metadata"]["namespace"])
        claims = plan_claims(job, from_selector(job["spec"].get("selector")), here)
        return await settle_claims(self.client, "pods", self.reconciles, job, claims)

    async def _apply(self, view: View, decided: Plan) -> Exception | None:
        job = view.job
        await asyncio.gather(*(self.delete_pod(job, pod) for pod in decided.delete))
        await self.until_gone(decided.delete)
        return await self.create_pods(
            job, len(decided.create), lambda number: make_pod(view, decided.create[number])
        )

    async def _count(
        self, view: View, ending: tuple[str, str, str] | None, decided: Plan, now: float
    ) -> Object:
        """Write what ended into the status, take the finalizers off, then settle the counters."""
        job = view.job
        status = progress(view, decided, len(self._active_now(job)), now)
        noted = view.fresh[:UNCOUNTED_LIMIT]
        if noted or ending:
            status = note_uncounted(status, noted, job)
            if ending is not None:
                status = interim(status, ending, now)
        job = await self._write(job, status)
        await self._release([one.pod for one in noted])
        done, lost = job_plan.uncounted(job)
        left = {pod["metadata"]["uid"] for pod in self.mine(job) if job_plan.tracked(pod)}
        status = settled(job, left)
        waits = any(not pods.is_terminal(pod) for pod in self.mine(job))
        all_counted = len(noted) == len(view.fresh) and not (set(done) | set(lost)) & left
        if ending is not None and all_counted and not waits:
            status = final(status, ending, now)
            reason = "Completed" if ending[0] == "Complete" else ending[1]
            kind = "Normal" if ending[0] == "Complete" else "Warning"
            self.recorder.event(
                job, kind, reason, "Job completed" if kind == "Normal" else ending[2]
            )
        return await self._write(job, status)

    def _active_now(self, job: Object) -> list[Object]:
        return [pod for pod in self.mine(job) if pods.is_active(pod)]

    async def _write(self, job: Object, status: Object) -> Object:
        if (job.get("status") or {}) == status:
            return job
        before = job.get("status") or {}
        written = await self.client.update(
            self.reconciles, job | {"status": status}, subresource="status"
        )
        await self.cache.reached(written["metadata"]["resourceVersion"])
        self._tell_suspension(job, before, status)
        return written

    def _tell_suspension(self, job: Object, before: Object, after: Object) -> None:
        was = (conditions.find(before.get("conditions"), "Suspended") or {}).get("status")
        now = (conditions.find(after.get("conditions"), "Suspended") or {}).get("status")
        if now == "True" and was != "True":
            self.recorder.event(job, "Normal", "Suspended", "Job suspended")
        elif was == "True" and now == "False":
            self.recorder.event(job, "Normal", "Resumed", "Job resumed")

    async def _release(self, freed: Sequence[Object]) -> None:
        """Take the finalizer off pods that are counted."""
        await pods.all_of([self._release_one(pod) for pod in freed])
        keys = [key_of(pod) for pod in freed]
        await self.pods.until(
            lambda: not any((pod := self.pods.get(key)) and job_plan.tracked(pod) for key in keys)
        )

    async def _release_one(self, pod: Object) -> None:
        meta = pod["metadata"]
        rest = [one for one in meta.get("finalizers") or () if one != FINALIZER]
        body = {"metadata": {"uid": meta["uid"], "finalizers": rest or None}}
        try:
            await self.client.patch("pods", meta["name"], meta["namespace"], body)
        except errors.NotFound:
            return

    async def _free_bereaved(self, key: Key) -> None:
        """Nobody counts the pods of a Job that is gone."""
        here = self.pods.by_index("namespace", key.namespace)
        held = [p for p in here if owner_key(p, "Job") == key and job_plan.tracked(p)]
        if not held:
            return
        try:
            await self.client.get(self.reconciles, key.name, key.namespace)
        except errors.NotFound:
            await self._release(held)

    async def _free_orphan(self, key: Key) -> None:
        """A pod that no Job controls must not keep the finalizer."""
        pod = self.pods.get(key)
        if pod is not None and not owner_uid(pod) and job_plan.tracked(pod):
            await self._release([pod])

    def _look_again(self, key: Key, job: Object, decided: Plan, now: float) -> None:
        if decided.wait is not None:
            self.queue.add_after(key, decided.wait)
        deadline, started = (
            job["spec"].get("activeDeadlineSeconds"),
            (job.get("status") or {}).get("startTime"),
        )
        if deadline is not None and started and not job_plan.is_finished(job):
            self.queue.add_after(key, max(times.parse(started) + deadline - now, 0.05))


def make_pod(view: View, index: int | None) -> Object:
    """A pod of the Job, with the finalizer by which it is counted, and its index."""
    job = view.job
    template = job["spec"]["template"]
    name = job["metadata"]["name"]
    prefix = name if index is None else f"{name}-{index}"
    pod = pods.from_template(template, job, prefix=prefix)
    meta = pod["metadata"]
    meta["finalizers"] = [*(meta.get("finalizers") or ()), FINALIZER]
    if index is None:
        return pod
    meta.setdefault("annotations", {})[INDEX] = str(index)
    meta.setdefault("labels", {})[INDEX] = str(index)
    if job["spec"].get("backoffLimitPerIndex") is not None:
        meta["annotations"][job_plan.FAILURES] = str(view.index_failures.get(index, 0))
    pod["spec"]["hostname"] = prefix
    reference = {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}
    for field in ("containers", "initContainers"):
        for container in pod["spec"].get(field) or ():
            env = container.setdefault("env", [])
            if not any(one["name"] == "JOB_COMPLETION_INDEX" for one in env):
                env.append({"name": "JOB_COMPLETION_INDEX", "valueFrom": reference})
    return pod


def progress(view: View, decided: Plan, active: int, now: float) -> Object:
    """The status' live numbers, the start and suspension of the Job."""
    job = view.job
    status = dict(job.get("status") or {})
    gone = {pod["metadata"]["uid"] for pod in decided.delete}
    staying = [pod for pod in view.active if pod["metadata"]["uid"] not in gone]
    status["active"] = active
    status["ready"] = sum(pods.is_ready(pod) for pod in staying)
    status["terminating"] = len(view.terminating) + len(gone)
    if not status["active"]:
        del status["active"]
    status.setdefault("uncountedTerminatedPods", {})
    suspended = bool(job["spec"].get("suspend"))
    listed = status.get("conditions")
    known = conditions.find(listed, "Suspended")
    if suspended or known is not None:
        text = ("JobSuspended", "Job suspended") if suspended else ("JobResumed", "Job resumed")
        condition = {
            "type": "Suspended", "status": "True" if suspended else "False",
            "reason": text[0], "message": text[1],
        }  # fmt: skip
        status["conditions"] = _set(listed, condition, now)
    if suspended:
        status.pop("startTime", None)
    elif not status.get("startTime"):
        status["startTime"] = times.text(now)
    return status


def note_uncounted(status: Object, noted: Sequence[job_plan.Outcome], job: Object) -> Object:
    """The status in which these ended pods are known by uid."""
    done, lost = job_plan.uncounted(job)
    completed = indexes.parse(status.get("completedIndexes"))
    failed = indexes.parse(status.get("failedIndexes"))
    for one in noted:
        uid, index = one.pod["metadata"]["uid"], job_plan.index_of(one.pod)
        if one.succeeded and job_plan.indexed(job):
            if 0 <= index < job["spec"]["completions"]:
                completed.add(index)
        elif one.succeeded:
            done.append(uid)
        elif one.counted:
            lost.append(uid)
        limit = job["spec"].get("backoffLimitPerIndex")
        if one.fail_index or (
            limit is not None and not one.succeeded and one.counted and _tries(one.pod) > limit
        ):
            failed.add(index)
    status = dict(status)
    status["uncountedTerminatedPods"] = {
        name: uids for name, uids in (("succeeded", done), ("failed", lost)) if uids
    }
    if job_plan.indexed(job):
        status["completedIndexes"] = indexes.text(completed)
        if not status["completedIndexes"]:
            del status["completedIndexes"]
        status["succeeded"] = len(completed)
        if job["spec"].get("backoffLimitPerIndex") is not None:
            status["failedIndexes"] = indexes.text(failed)
    if not status.get("succeeded"):
        status.pop("succeeded", None)
    return status


def _tries(pod: Object) -> int:
    text = (pod["metadata"].get("annotations") or {}).get(job_plan.FAILURES, "0")
    return int(text) + 1 if text.isdigit() else 1


def settled(job: Object, left: set[str]) -> Object:
    """The status after uids whose pods bear no finalizer any more moved into the counters."""
    status = dict(job.get("status") or {})
    done, lost = job_plan.uncounted(job)
    for name, uids, counter in (("succeeded", done, "succeeded"), ("failed", lost, "failed")):
        counted = [uid for uid in uids if uid not in left]
        if counted:
            status[counter] = status.get(counter, 0) + len(counted)
        rest = [uid for uid in uids if uid in left]
        kept = dict(status.get("uncountedTerminatedPods") or {})
        kept.pop(name, None)
        status["uncountedTerminatedPods"] = kept | ({name: rest} if rest else {})
    return status


def interim(status: Object, ending: tuple[str, str, str], now: float) -> Object:
    """The condition that says how the Job will end, while pods are still on their way out."""
    type = "SuccessCriteriaMet" if ending[0] == "Complete" else "FailureTarget"
    condition = {"type": type, "status": "True", "reason": ending[1], "message": ending[2]}
    return status | {"conditions": _set(status.get("conditions"), condition, now)}


def final(status: Object, ending: tuple[str, str, str], now: float) -> Object:
    condition = {"type": ending[0], "status": "True", "reason": ending[1], "message": ending[2]}
    status = status | {"conditions": _set(status.get("conditions"), condition, now)}
    status.pop("active", None)
    status |= {"ready": 0, "terminating": 0}
    if ending[0] == "Complete":
        status["completionTime"] = times.text(now)
    return status


def _set(kept: Sequence[Object] | None, condition: Object, now: float) -> list[Object]:
    stamp = times.text(now)
    return conditions.with_condition(kept, condition | {"lastProbeTime": stamp}, stamp)
