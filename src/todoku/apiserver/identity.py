"""This server's Lease: how clients see which API servers there are (KEP-1965, API server identity)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import uuid
from collections.abc import Callable

from todoku.aio import log as logs
from todoku.api import errors, times
from todoku.api.meta import Object, copy
from todoku.apiserver.config import Objects

log = logs.get(__name__)

_LEASES = "leases.coordination.k8s.io"
_NAMESPACE = "kube-system"
_LEASE_SECONDS = 3600
_RENEW_SECONDS = 10.0


def server_id(hostname: str) -> str:
    digest = hashlib.sha256(hostname.encode()).digest()[:16]
    return "apiserver-" + base64.b32encode(digest).decode().rstrip("=").lower()


class IdentityLease:
    """Written when the server starts and renewed until it stops."""

    def __init__(self, objects: Objects, hostname: str, clock: Callable[[], float]) -> None:
        self._objects = objects
        self._hostname = hostname
        self._clock = clock
        self._name = server_id(hostname)
        self._holder = f"{self._name}_{uuid.uuid4()}"
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._write()
        self._task = asyncio.create_task(self._renew(), name="identity-lease")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            try:
                await self._write()
            except errors.ApiError as error:
                log.warning("Identity lease not renewed", why=error.message)

    async def _write(self) -> None:
        spec = {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": _LEASE_SECONDS,
            "renewTime": times.micro_text(self._clock()),
        }
        lease = self._objects.get(_LEASES, self._name, _NAMESPACE)
        if lease is None:
            await self._objects.create(_LEASES, self._new() | {"spec": spec})
        else:
            await self._objects.update(_LEASES, copy(lease) | {"spec": spec})

    def _new(self) -> Object:
        labels = {
            "apiserver.kubernetes.io/identity": "kube-apiserver",
            "kubernetes.io/hostname": self._hostname,
        }
        metadata = {"name": self._name, "namespace": _NAMESPACE, "labels": labels}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
