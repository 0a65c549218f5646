"""What controllers need to know of pods, and how they make them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from todoku.api import times
from todoku.api.meta import Object, copy
from todoku.client import Informer
from todoku.controllers import conditions
from todoku.controllers.controller import deleting, owner_reference

T = TypeVar("T")


def index(informer: Informer) -> None:
    """The indexes `namespace` and `node` that controllers share."""
    informer.add_index("namespace", lambda pod: [pod["metadata"].get("namespace", "")])
    informer.add_index("node", lambda pod: [pod["spec"].get("nodeName") or ""])


def phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase", ""))


def is_terminal(pod: Object) -> bool:
    return phase(pod) in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Neither finished nor being deleted."""
    return not is_terminal(pod) and not deleting(pod)


def is_terminating(pod: Object) -> bool:
    """Being deleted, and not finished yet."""
    return not is_terminal(pod) and deleting(pod)


def is_ready(pod: Object) -> bool:
    return conditions.is_true(pod, "Ready")


def ready_since(pod: Object) -> float:
    """When the Ready condition last changed, in seconds; 0 if unknown."""
    found = conditions.find((pod.get("status") or {}).get("conditions"), "Ready")
    stamp = (found or {}).get("lastTransitionTime")
    return times.parse(stamp) if stamp else 0.0


def is_available(pod: Object, min_ready_seconds: int, now: float) -> bool:
    """Ready for at least `min_ready_seconds`."""
    if not is_ready(pod):
        return False
    return min_ready_seconds == 0 or ready_since(pod) + min_ready_seconds <= now


def available_in(pod: Object, min_ready_seconds: int, now: float) -> float | None:
    """Seconds until a ready pod becomes available; None if it is not ready, or is available."""
    if not is_ready(pod) or is_available(pod, min_ready_seconds, now):
        return None
    return ready_since(pod) + min_ready_seconds - now


def restarts(pod: Object) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return max((one.get("restartCount", 0) for one in statuses), default=0)


def from_template(template: Object, owner: Object, *, name: str = "", prefix: str = "") -> Object:
    """A pod from a PodTemplateSpec, controlled by `owner`, named or to be named from `prefix`."""
    source = template.get("metadata") or {}
    metadata: Object = {"namespace": owner["metadata"]["namespace"]}
    metadata |= {"name": name} if name else {"generateName": pod_prefix(prefix)}
    for field in ("labels", "annotations", "finalizers"):
        if source.get(field):
            metadata[field] = copy(source[field])
    metadata["ownerReferences"] = [owner_reference(owner)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": copy(template.get("spec") or {}),
    }


def pod_prefix(owner_name: str) -> str:
    """`web-` unless that cannot begin a pod's name."""
    return f"{owner_name}-"


def deletion_rank(pod: Object, *, beside: int, now: float) -> tuple[float, ...]:
    """Sorts pods by how little their loss costs; the first goes first (ActivePodsWithRanks).

    Unassigned before assigned, pending before unknown before running, not ready before ready, lower deletion
    cost first, more siblings on its node (`beside`) first, ready for less time (by powers of two) first, more
    restarts first, younger first.
    """
    meta, status = pod["metadata"], pod.get("status") or {}
    order = {"Pending": 0, "Unknown": 1, "Running": 2}
    ready = is_ready(pod)
    return (
        1 if (pod.get("spec") or {}).get("nodeName") else 0,
        order.get(status.get("phase", ""), 0),
        1 if ready else 0,
        deletion_cost(pod),
        -beside,
        _magnitude(now - ready_since(pod)) if ready and ready_since(pod) else 0,
        -restarts(pod),
        _magnitude(now - times.parse(meta["creationTimestamp"]))
        if "creationTimestamp" in meta
        else 0,
    )


def deletion_cost(pod: Object) -> int:
    notes = pod["metadata"].get("annotations") or {}
    text = notes.get("controller.kubernetes.io/pod-deletion-cost", "0")
    return int(text) if text.lstrip("-").isdigit() else 0


def _magnitude(seconds: float) -> int:
    return int(max(seconds, 0)).bit_length()


async def slow_start(
    count: int, act: Callable[[int], Awaitable[T]], *, first: int = 1
) -> tuple[list[T], Exception | None]:
    """Do `act(0) … act(count-1)` in batches of 1, 2, 4, …; stops after a batch in which one failed.

    So a thousand doomed creations cost one refusal.  Returns the results and the first failure.
    """
    done: list[T] = []
    position, batch = 0, first
    while position < count:
        size = min(batch, count - position)
        numbers = range(position, position + size)
        results = await asyncio.gather(*(act(n) for n in numbers), return_exceptions=True)
        failures = [one for one in results if isinstance(one, BaseException)]
        done += [one for one in results if not isinstance(one, BaseException)]
        for failure in failures:
            if not isinstance(failure, Exception):
                raise failure
            return done, failure
        position += size
        batch *= 2
    return done, None


async def all_of(acts: Sequence[Awaitable[object]]) -> None:
    """Do all at once; raises the first failure after all have ended."""
    results = await asyncio.gather(*acts, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
