"""In-place resize: which cpu and memory a pod has been given here, and what changing them takes.  Pure but for the ledger.

A pod's spec says what is wanted; `PodRecord.allocated` what this node has granted; `Container.resources` what the
container's control group was told.  Source: KEP-1287.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from todoku.api.meta import Object
from todoku.api.quantities import ZERO, Quantity, parse
from todoku.api.quota import pod_amounts
from todoku.kubelet.records import INIT, REGULAR, specs

Granted: TypeAlias = dict[str, Object]
POD = ""  # the key of the pod's own resources beside those of its containers
_NAMES = ("cpu", "memory")


@dataclass(frozen=True, slots=True)
class Pending:
    """Why a resize is not granted: `Deferred` may be later, `Infeasible` never on this node."""

    reason: str
    message: str


def resources_of(pod: Object) -> Granted:
    """What the spec asks for, by container name."""
    found = {
        spec["name"]: spec.get("resources") or {}
        for kind in (REGULAR, INIT)
        for spec in specs(pod, kind)
    }
    if pod["spec"].get("resources"):
        found[POD] = pod["spec"]["resources"]
    return found


def as_granted(pod: Object, granted: Mapping[str, Object]) -> Object:
    """The pod with the resources it was granted; the same object when it wants no others."""
    wanted = resources_of(pod)
    if all(granted.get(name, one) == one for name, one in wanted.items()):
        return pod
    spec = dict(pod["spec"])
    for field in ("containers", "initContainers"):
        if field in spec:
            spec[field] = [
                {**one, "resources": granted.get(one["name"], one.get("resources") or {})}
                for one in spec[field]
            ]
    if POD in granted:
        spec["resources"] = granted[POD]
    return {**pod, "spec": spec}


def requests(pod: Object) -> dict[str, Quantity]:
    amounts = pod_amounts(pod["spec"], "requests")
    return {name: amounts.get(name, ZERO) for name in _NAMES}


def pending(
    wanted: Mapping[str, Quantity], used: Mapping[str, Quantity], capacity: Mapping[str, str]
) -> Pending | None:
    """Whether these requests fit beside what others use; None if they do."""
    for name in _NAMES:
        if name in capacity and wanted[name] > parse(capacity[name]):
            text = f"{name}, requested: {_number(name, wanted[name])}, capacity: {_number(name, parse(capacity[name]))}"
            return Pending("Infeasible", f"Node didn't have enough capacity: {text}")
    for name in _NAMES:
        if name in capacity and wanted[name] + used[name] > parse(capacity[name]):
            text = (
                f"{name}, requested: {_number(name, wanted[name])}, used: {_number(name, used[name])}, "
                f"capacity: {_number(name, parse(capacity[name]))}"
            )
            return Pending("Deferred", f"Node didn't have enough resource: {text}")
    return None


def _number(name: str, amount: Quantity) -> int:
    return amount.milli() if name == "cpu" else -(-amount.milli() // 1000)


def needs_restart(spec: Object, before: Object) -> bool:
    """Whether a change from `before` to the spec's resources asks for a new container (resizePolicy)."""
    policies = {one["resourceName"]: one["restartPolicy"] for one in spec.get("resizePolicy") or ()}
    after = spec.get("resources") or {}
    return any(
        policies.get(name) == "RestartContainer"
        and any(
            (after.get(part) or {}).get(name) != (before.get(part) or {}).get(name)
            for part in ("requests", "limits")
        )
        for name in _NAMES
    )


class Ledger:
    """What every pod of this node has been granted, and who waits for some of it to come back."""

    def __init__(self) -> None:
        self._granted: dict[str, Mapping[str, Quantity]] = {}
        self._waiting: dict[str, Callable[[], None]] = {}

    def grant(self, uid: str, amounts: Mapping[str, Quantity]) -> None:
        before = self._granted.get(uid)
        self._granted[uid] = amounts
        self._waiting.pop(uid, None)
        if before is not None and any(amounts[name] < before[name] for name in _NAMES):
            self._wake()

    def release(self, uid: str) -> None:
        self._waiting.pop(uid, None)
        if self._granted.pop(uid, None) is not None:
            self._wake()

    def wait(self, uid: str, wake: Callable[[], None]) -> None:
        """Have `wake` called when something was given back."""
        self._waiting[uid] = wake

    def beside(self, uid: str) -> dict[str, Quantity]:
        """What all pods but this one have."""
        total = dict.fromkeys(_NAMES, ZERO)
        for other, amounts in self._granted.items():
            if other != uid:
                total = {name: total[name] + amounts[name] for name in _NAMES}
        return total

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for wake in waiting.values():
            wake()
