"""ResourceQuota: every write is charged at once, so that a limit holds between two recounts of the controller.

The charge is a compare-and-set write of the quotas' status; `undo` takes it back when the write fails after all.
Between the charge and the end of the write the quota is *open*: what it was charged for is not there to be counted, so
whoever writes other amounts then counted too little, and must count again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from weakref import WeakValueDictionary

from todoku.aio import log as logs
from todoku.api import errors
from todoku.api import quota as accounts
from todoku.api.meta import Object, copy
from todoku.api.quantities import Quantity, parse
from todoku.api.quota import Usage
from todoku.apiserver.admission.base import Plugin, new_object, refusal
from todoku.apiserver.config import Attributes, Objects

log = logs.get(__name__)

QUOTAS = "resourcequotas"
_TRIES = 10


class ResourceQuota(Plugin):
    name = "ResourceQuota"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        # By namespace, for as long as one is held or waited for: namespaces come and go.
        self._locks = WeakValueDictionary[str, asyncio.Lock]()
        self._open: Counter[tuple[str, str]] = Counter()  # writes under way by charged quota

    async def validate(self, attributes: Attributes) -> None:
        if attributes.resource.name == QUOTAS and attributes.subresource == "status":
            self._check_counted(attributes)
        if not _concerns(attributes) or not self._objects.list(QUOTAS, attributes.namespace):
            return
        # one charge at a time per namespace: parallel creates would only conflict
        lock = self._locks.setdefault(attributes.namespace, asyncio.Lock())
        async with lock:
            charges = _plan(self._objects.list(QUOTAS, attributes.namespace), attributes)
            if attributes.dry_run:
                return
            done: list[tuple[str, Usage]] = []
            try:
                for name, delta in charges:
                    self._hold(attributes, name)
                    await self._charge(attributes, name, delta)
                    done.append((name, delta))
            except BaseException:
                await self._refund(attributes.namespace, done)
                raise
        attributes.kept[self.name] = done

    async def undo(self, attributes: Attributes) -> None:
        await self._refund(attributes.namespace, attributes.kept.pop(self.name, ()))

    def _hold(self, attributes: Attributes, name: str) -> None:
        quota = (attributes.namespace, name)
        self._open[quota] += 1
        attributes.settled.append(partial(self._release, quota))

    def _release(self, quota: tuple[str, str]) -> None:
        self._open[quota] -= 1
        if not self._open[quota]:
            del self._open[quota]

    def _check_counted(self, attributes: Attributes) -> None:
        """Refuse other amounts than are known while some of what was charged cannot be counted."""
        if (attributes.namespace, attributes.name) not in self._open:
            return
        if _used(attributes.object) != _used(attributes.old):
            text = "the object has been modified; please apply your changes to the latest version and try again"
            raise errors.Conflict.of(QUOTAS, attributes.name, text)

    async def _charge(self, attributes: Attributes, name: str, delta: Usage) -> None:
        for _ in range(_TRIES):
            quota = self._objects.get(QUOTAS, name, attributes.namespace)
            if quota is None:
                return
            _check(attributes, quota, delta)
            try:
                await self._objects.update(
                    QUOTAS, _with_usage(quota, delta, 1), subresource="status"
                )
            except errors.Conflict:
                continue
            except errors.NotFound:
                return
            return
        raise errors.Conflict.of(QUOTAS, name, "the object has been modified; please try again")

    async def _refund(self, namespace: str, done: Sequence[tuple[str, Usage]]) -> None:
        for name, delta in done:
            for _ in range(_TRIES):
                quota = self._objects.get(QUOTAS, name, namespace)
                if quota is None:
                    break
                try:
                    given_back = _with_usage(quota, delta, -1)
                    await self._objects.update(QUOTAS, given_back, subresource="status")
                except errors.Conflict:
                    continue
                except errors.ApiError as error:  # the controller's recount corrects it
                    log.warning(
                        "Quota charge not taken back", quota=f"{namespace}/{name}", error=error
                    )
                break


def _used(quota: Object | None) -> object:
    return ((quota or {}).get("status") or {}).get("used")


def _concerns(attributes: Attributes) -> bool:
    """Creates and updates of namespaced objects; of subresources only a pod's resize."""
    if attributes.operation not in ("CREATE", "UPDATE") or not attributes.resource.namespaced:
        return False
    name = attributes.resource.name
    if attributes.subresource:
        return name == "pods" and attributes.subresource == "resize"
    return name not in accounts.UNCOUNTED


def _plan(quotas: Sequence[Object], attributes: Attributes) -> list[tuple[str, Usage]]:
    """The quotas to charge, each with how much; raises Forbidden when one of them is exceeded."""
    name, new, old = attributes.resource.name, new_object(attributes), attributes.old
    after = accounts.usage(name, new)
    before = accounts.usage(name, old) if old is not None else {}
    charges = []
    for quota in sorted(quotas, key=lambda one: str(one["metadata"]["name"])):
        hard = (quota.get("spec") or {}).get("hard") or {}
        if not accounts.matches(quota, name, new):
            continue
        if name == "pods" and attributes.operation == "CREATE":
            _check_stated(attributes, quota, new)
        delta = _difference(accounts.covered(hard, after), accounts.covered(hard, before))
        if not delta:
            continue
        _check(attributes, quota, delta)
        charges.append((str(quota["metadata"]["name"]), delta))
    return charges


def _difference(after: Usage, before: Usage) -> Usage:
    zero = parse("0")
    grown = {name: amount - before.get(name, zero) for name, amount in after.items()}
    return {name: amount for name, amount in grown.items() if amount > zero}


def _check_stated(attributes: Attributes, quota: Object, pod: Object) -> None:
    missing = accounts.missing_of_pod((quota.get("spec") or {}).get("hard") or {}, pod)
    if not missing:
        return
    texts = [f"{name} for: {','.join(names)}" for name, names in missing.items()]
    name = quota["metadata"]["name"]
    raise refusal(attributes, f"failed quota: {name}: must specify {'; '.join(texts)}")


def _check(attributes: Attributes, quota: Object, delta: Usage) -> None:
    name, status = quota["metadata"]["name"], quota.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    unknown = sorted(one for one in delta if one not in hard or one not in used)
    if unknown:
        text = f"status unknown for quota: {name}, resources: {','.join(unknown)}"
        raise refusal(attributes, text)
    over = sorted(
        one for one, amount in delta.items() if parse(used[one]) + amount > parse(hard[one])
    )
    if over:
        raise refusal(
            attributes,
            f"exceeded quota: {name}, requested: {_listed(over, delta)}, "
            f"used: {_listed(over, used)}, limited: {_listed(over, hard)}",
        )


def _listed(names: Sequence[str], amounts: Mapping[str, object]) -> str:
    return ",".join(f"{name}={amounts[name]}" for name in names)


def _with_usage(quota: Object, delta: Usage, sign: int) -> Object:
    changed = copy(quota)
    used = changed.setdefault("status", {}).setdefault("used", {})
    for name, amount in delta.items():
        now = parse(used.get(name, "0"))
        total: Quantity = now + amount if sign > 0 else now - amount
        used[name] = str(total if total > parse("0") else parse("0"))
    assert isinstance(changed, dict)
    return changed
