"""Writes pod statuses to the API server: the newest only, and only what changed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from todoku.aio import WorkQueue
from todoku.aio import log as logs
from todoku.api import errors
from todoku.api.meta import Object
from todoku.client import Client

log = logs.get(__name__)


@dataclass(slots=True)
class _Entry:
    namespace: str
    name: str
    status: Object
    version: int = 0
    sent: int = 0
    last: Object | None = None  # as the server has it, as far as we know
    settled: asyncio.Event = field(default_factory=asyncio.Event)


class StatusWriter:
    """One merge patch per pod at a time; a pod's uid travels along, so a namesake is never touched."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._entries: dict[str, _Entry] = {}
        self._queue: WorkQueue[str] = WorkQueue("pod-status")

    def set(self, pod: Object, status: Object) -> None:
        """Queue a status; older ones of the pod that were not sent yet are skipped."""
        metadata = pod["metadata"]
        entry = self._entries.get(metadata["uid"])
        if entry is None:
            entry = _Entry(metadata["namespace"], metadata["name"], status, last=pod.get("status"))
            self._entries[metadata["uid"]] = entry
        elif entry.status == status:
            if entry.version != entry.sent or not contradicted(pod.get("status") or {}, status):
                return
            # While this node was cut off, the node controller wrote that the pod is not ready; or within the very
            # second of our last word, so that ours reads the same.  What the server has now is what is patched.
            entry.last = pod.get("status")
        entry.status = status
        entry.version += 1
        entry.settled.clear()
        self._queue.add(metadata["uid"])

    async def settled(self, uid: str) -> None:
        """Wait until the newest status of a pod was sent, or the pod is gone."""
        entry = self._entries.get(uid)
        if entry is not None:
            await entry.settled.wait()

    def forget(self, uid: str) -> None:
        entry = self._entries.pop(uid, None)
        if entry is not None:
            entry.settled.set()

    async def run(self) -> None:
        await self._queue.run(self._write, workers=4)

    async def _write(self, uid: str) -> None:
        entry = self._entries.get(uid)
        if entry is None or entry.version == entry.sent:
            return
        version, status = entry.version, entry.status
        body = {"metadata": {"uid": uid}, "status": changes(entry.last or {}, status)}
        try:
            if body["status"]:
                await self._send(entry, uid, body)
        except errors.NotFound:
            log.debug("Pod is gone, its status stays unsent", pod=entry.name)
        entry.last, entry.sent = status, version
        if entry.version == version:
            entry.settled.set()

    async def _send(self, entry: _Entry, uid: str, body: Object) -> None:
        """Patch the status.  A conflict is either a namesake, and then nothing is written, or bad luck."""
        try:
            await self._client.patch(
                "pods", entry.name, entry.namespace, body, subresource="status"
            )
        except errors.Conflict:
            present = await self._client.get("pods", entry.name, entry.namespace)
            if present["metadata"]["uid"] == uid:
                raise  # the queue tries again
            log.debug("Another pod has the name now", pod=entry.name)


def contradicted(present: Object, status: Object) -> bool:
    """Whether one of our conditions says something else on the server."""
    listed = present.get("conditions") or ()
    there = {one["type"]: one["status"] for one in listed}
    return any(
        there.get(one["type"], one["status"]) != one["status"] for one in status["conditions"]
    )


def changes(old: Object, new: Object) -> Object:
    """The merge patch from one status to another (RFC 7396); fields that are gone become null."""
    patch = {key: value for key, value in new.items() if old.get(key) != value}
    ours = (
        "reason",
        "message",
        "podIP",
        "podIPs",
        "ephemeralContainerStatuses",
        "initContainerStatuses",
    )
    return patch | {key: None for key in ours if key in old and key not in new}
