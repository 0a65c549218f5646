"""One holder of a role at a time: a Lease that the holder renews and others wait for.

Source: client-go tools/leaderelection (Lease lock); its periods are kube-controller-manager's defaults, but for the
renewal, which they do every 2 seconds.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from todoku.aio import Clock
from todoku.aio import log as logs
from todoku.api import errors, times
from todoku.api.meta import Object
from todoku.client.client import Client
from todoku.client.http import Unreachable
from todoku.client.recorder import EventRecorder

log = logs.get(__name__)

_LEASES = "leases.coordination.k8s.io"
_NAMESPACE = "kube-system"


class LostLease(RuntimeError):
    """Somebody else holds the role: whoever worked in it has to stop."""


@dataclass(frozen=True, slots=True)
class Periods:
    lease_seconds: int = 15
    renew_seconds: float = 5.0
    retry_seconds: float = 2.0


@dataclass(slots=True)
class _Seen:
    """What the Lease said, and when we saw it change: clocks of different holders are not compared."""

    spec: Object
    at: float


class Election:
    """`acquired` waits for the role; `hold` renews it until cancelled.  An identity that comes back goes on at once."""

    def __init__(
        self,
        client: Client,
        role: str,
        identity: str,
        *,
        clock: Clock,
        events: EventRecorder | None = None,
        periods: Periods | None = None,
    ) -> None:
        self._client = client
        self._role = role
        self._identity = identity
        self._clock = clock
        self._events = events
        self._periods = periods or Periods()
        self._seen = _Seen({}, float("-inf"))

    async def acquired(self) -> None:
        """Wait until the role is ours."""
        while not await self._try():
            await self._clock.sleep(self._periods.retry_seconds)
        log.info("Leading", role=self._role, identity=self._identity)
        if self._events is not None:
            metadata = {"name": self._role, "namespace": _NAMESPACE}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
            self._events.event(lease, "Normal", "LeaderElection", f"{self._identity} became leader")

    async def hold(self) -> None:
        """Raises LostLease when somebody else has the role; an API server that does not answer is waited for."""
        while True:
            await self._clock.sleep(self._periods.renew_seconds)
            if not await self._try() and self._seen.spec.get("holderIdentity") != self._identity:
                raise LostLease(f"{self._seen.spec.get('holderIdentity')} leads as {self._role}")

    async def _try(self) -> bool:
        try:
            async with asyncio.timeout(self._periods.lease_seconds):
                return await self._take()
        except (errors.ApiError, Unreachable, TimeoutError) as error:
            log.debug("Lease not taken", role=self._role, why=error)
            return False

    async def _take(self) -> bool:
        now = self._clock.now()
        try:
            lease = await self._client.get(_LEASES, self._role, _NAMESPACE)
        except errors.NotFound:
            spec = taken({}, self._identity, self._periods.lease_seconds, now)
            metadata = {"name": self._role, "namespace": _NAMESPACE}
            await self._client.create(_LEASES, {"metadata": metadata, "spec": spec})
            return True
        self._look(lease.get("spec") or {})
        if not self._free():
            return False
        spec = taken(self._seen.spec, self._identity, self._periods.lease_seconds, now)
        await self._client.update(_LEASES, {**lease, "spec": spec})
        self._look(spec)
        return True

    def _look(self, spec: Object) -> None:
        if spec != self._seen.spec:
            self._seen = _Seen(spec, self._clock.monotonic())

    def _free(self) -> bool:
        holder = self._seen.spec.get("holderIdentity")
        lasts = self._seen.spec.get("leaseDurationSeconds") or 0
        return holder in (None, "", self._identity) or (
            self._seen.at + lasts < self._clock.monotonic()
        )


def taken(before: Object, identity: str, lease_seconds: int, now: float) -> Object:
    """The spec of a Lease that `identity` takes or renews."""
    same = before.get("holderIdentity") == identity
    stamp = times.micro_text(now)
    changes = before.get("leaseTransitions") or 0
    return {
        **before,
        "holderIdentity": identity,
        "leaseDurationSeconds": lease_seconds,
        "acquireTime": before.get("acquireTime", stamp) if same else stamp,
        "renewTime": stamp,
        "leaseTransitions": changes + 1 if before and not same else changes,
    }
