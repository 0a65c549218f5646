"""What every controller that makes pods of its own does alike: create, delete, wait for both, and write its status."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

from todoku.api import errors
from todoku.api.meta import Key, Object, key_of
from todoku.client import WatchEvent
from todoku.controllers import pods
from todoku.controllers.controller import Controller, deleting, owner_uid

_SOON_SECONDS = 0.05


class PodOwner(Controller):
    """A controller whose objects own pods.  A subclass's `_pod_changed` hears of every pod."""

    def setup(self) -> None:
        self.pods = self.watch("pods", self._pod_changed)
        pods.index(self.pods)

    @abstractmethod
    def _pod_changed(self, event: WatchEvent) -> None:
        """Queue the owners that a pod's change concerns; each kind adopts in its own way."""

    def mine(self, owner: Object) -> list[Object]:
        """The pods that an object controls, as last seen."""
        here = self.pods.by_index("namespace", owner["metadata"]["namespace"])
        return [pod for pod in here if owner_uid(pod) == owner["metadata"]["uid"]]

    async def create_pods(
        self, owner: Object, count: int, pod: Callable[[int], Object]
    ) -> Exception | None:
        """Create `pod(0) … pod(count-1)` and wait until they are seen; the first refusal, if any."""

        async def one(number: int) -> Object:
            made = await self.client.create("pods", pod(number))
            text = f"Created pod: {made['metadata']['name']}"
            self.recorder.event(owner, "Normal", "SuccessfulCreate", text)
            return made

        made, failure = await pods.slow_start(count, one)
        if made:
            newest = max(int(one["metadata"]["resourceVersion"]) for one in made)
            await self.pods.reached(str(newest))
        if isinstance(failure, errors.Forbidden) and "being terminated" in str(failure):
            return None  # the namespace goes, and the owner with it
        if failure is not None:
            text = f"Error creating: {failure}"
            self.recorder.event(owner, "Warning", "FailedCreate", text)
        return failure

    async def delete_pod(self, owner: Object, pod: Object, *, said: str = "") -> None:
        """Delete one pod; one that is gone already is fine."""
        meta = pod["metadata"]
        try:
            await self.client.delete("pods", meta["name"], meta["namespace"], uid=meta["uid"])
        except (errors.NotFound, errors.Conflict):
            return
        text = said or f"Deleted pod: {meta['name']}"
        self.recorder.event(owner, "Normal", "SuccessfulDelete", text)

    async def until_gone(self, doomed: Sequence[Object]) -> None:
        """Wait until the cache knows that these pods are gone or going."""
        await self.pods.until(lambda: not any(self._lives(pod) for pod in doomed))

    def _lives(self, pod: Object) -> bool:
        now = self.pods.get(key_of(pod))
        same = now is not None and now["metadata"]["uid"] == pod["metadata"]["uid"]
        return same and now is not None and not deleting(now)

    async def settle_status(self, owner: Object, new: Object) -> None:
        """Write the status if it differs, and wait until the cache has it."""
        stored = await self.write_status(self.reconciles, owner, new)
        await self.cache.reached(stored["metadata"]["resourceVersion"])

    def look_again(self, key: Key, owner: Object, owned: Sequence[Object], now: float) -> None:
        """Ready pods become available by time alone: come back when the next one does."""
        min_ready = owner["spec"].get("minReadySeconds", 0)
        waits = [pods.available_in(pod, min_ready, now) for pod in owned] if min_ready else []
        due = [wait for wait in waits if wait is not None]
        if due:
            self.queue.add_after(key, max(min(due), _SOON_SECONDS))
