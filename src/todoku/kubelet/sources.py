"""The ConfigMaps, Secrets and tokens that pods of this node refer to: each watched while a pod needs it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from todoku.aio import Clock
from todoku.aio import log as logs
from todoku.api import errors, times
from todoku.api.meta import Key, Object
from todoku.client import Client, Informer, InformerFactory, WatchEvent
from todoku.kubelet.payload import TokenWanted

log = logs.get(__name__)

Wake = Callable[[str], None]
_Reference = tuple[str, Key]  # resource, key


class Objects:
    """One watch per referenced object, shared by the pods that refer to it.

    A kubelet may read only what its pods refer to, so there is no watch over everything.  `wake(uid)` is
    called for every pod that refers to an object that changed.
    """

    def __init__(self, informers: InformerFactory, wake: Wake) -> None:
        self._informers = informers
        self._wake = wake
        self._watched: dict[_Reference, Informer] = {}
        self._users: dict[_Reference, set[str]] = {}
        self._needs: dict[str, set[_Reference]] = {}

    async def need(self, uid: str, references: Iterable[_Reference]) -> None:
        """Watch what a pod refers to, and wait until the cache knows whether it exists."""
        wanted = set(references)
        for gone in self._needs.get(uid, set()) - wanted:
            self._drop(uid, gone)
        self._needs[uid] = wanted
        for reference in wanted:
            self._users.setdefault(reference, set()).add(uid)
            if reference not in self._watched:
                self._watched[reference] = self._watch(reference)
        for reference in wanted:
            await self._watched[reference].synced()

    def get(self, resource: str, namespace: str, name: str) -> Object | None:
        """The object as last heard of; None if it does not exist (or nobody asked for it)."""
        key = Key(namespace, name)
        informer = self._watched.get((resource, key))
        return informer.get(key) if informer is not None else None

    def release(self, uid: str) -> None:
        """Forget a pod."""
        for reference in self._needs.pop(uid, set()):
            self._drop(uid, reference)

    def _watch(self, reference: _Reference) -> Informer:
        resource, key = reference
        informer = self._informers.informer(
            resource, namespace=key.namespace, fields=f"metadata.name={key.name}"
        )

        def told(_: WatchEvent) -> None:
            for uid in self._users.get(reference, ()):
                self._wake(uid)

        informer.subscribe(told)
        return informer

    def _drop(self, uid: str, reference: _Reference) -> None:
        users = self._users.get(reference, set())
        users.discard(uid)
        if not users:
            self._users.pop(reference, None)
            informer = self._watched.pop(reference, None)
            if informer is not None:
                self._informers.discard(informer)


@dataclass(slots=True)
class _Issued:
    token: str
    refresh_at: float


class Tokens:
    """Bound service account tokens, asked for again when four fifths of their time (or a day) have passed."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._issued: dict[tuple[str, TokenWanted], _Issued] = {}
        self._asking: dict[tuple[str, TokenWanted], asyncio.Lock] = {}

    async def get(self, pod: Object, wanted: Iterable[TokenWanted]) -> Mapping[TokenWanted, str]:
        """The tokens of a pod.  Raises ApiError when the server refuses one."""
        return {one: await self._token(pod, one) for one in wanted}

    def due(self, uid: str) -> bool:
        """Whether a token of the pod should be asked for again."""
        now = self._clock.now()
        return any(
            issued.refresh_at <= now for (owner, _), issued in self._issued.items() if owner == uid
        )

    def release(self, uid: str) -> None:
        for key in [key for key in self._issued if key[0] == uid]:
            del self._issued[key]
        for key in [key for key in self._asking if key[0] == uid]:
            del self._asking[key]

    async def _token(self, pod: Object, wanted: TokenWanted) -> str:
        key = (pod["metadata"]["uid"], wanted)
        async with self._asking.setdefault(key, asyncio.Lock()):
            known = self._issued.get(key)
            if known is not None and known.refresh_at > self._clock.now():
                return known.token
            try:
                self._issued[key] = issued = await self._request(pod, wanted)
            except errors.ApiError:
                if known is None:
                    raise
                log.warning("Token not refreshed, the old one stays", pod=pod["metadata"]["name"])
                return known.token
            return issued.token

    async def _request(self, pod: Object, wanted: TokenWanted) -> _Issued:
        metadata = pod["metadata"]
        account = pod["spec"].get("serviceAccountName") or "default"
        body: Object = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"name": account, "namespace": metadata["namespace"]},
            "spec": {
                "audiences": [wanted.audience] if wanted.audience else [],
                "expirationSeconds": wanted.expiration_seconds,
                "boundObjectRef": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                },
            },
        }
        asked = self._clock.now()
        answer = await self._client.create("serviceaccounts", body, subresource="token")
        status = answer["status"]
        lifetime = times.parse(status["expirationTimestamp"]) - asked
        # As upstream: at 80 % of the lifetime or after a day, whichever comes first, a little early.
        return _Issued(status["token"], asked + min(lifetime * 0.8, 86400.0) - random.random() * 10)
