"""Finished Jobs go after `ttlSecondsAfterFinished`."""

from __future__ import annotations

from typing import ClassVar

from todoku.api import errors, times
from todoku.api.meta import Key, Object
from todoku.controllers import conditions
from todoku.controllers.controller import Controller, deleting


def expires_at(job: Object) -> float | None:
    """When the Job is to go; None if it is not finished, or stays."""
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    if ttl is None:
        return None
    for type in ("Complete", "Failed"):
        found = conditions.find((job.get("status") or {}).get("conditions"), type)
        if found is not None and found["status"] == "True" and found.get("lastTransitionTime"):
            return times.parse(found["lastTransitionTime"]) + float(ttl)
    return None


class TtlAfterFinishedController(Controller):
    name: ClassVar[str] = "ttl-after-finished"
    reconciles: ClassVar[str] = "jobs.batch"

    async def reconcile(self, key: Key) -> None:
        job = self.cache.get(key)
        due = expires_at(job) if job is not None and not deleting(job) else None
        if job is None or due is None:
            return
        wait = due - self.clock.now()
        if wait > 0:
            self.queue.add_after(key, wait)
            return
        meta = job["metadata"]
        fresh = await self.client.get("jobs.batch", meta["name"], meta["namespace"])
        if expires_at(fresh) != due:
            return  # somebody prolonged it
        try:
            await self.client.delete(
                "jobs.batch",
                meta["name"],
                meta["namespace"],
                uid=meta["uid"],
                propagation="Foreground",
            )
        except errors.NotFound:
            return
