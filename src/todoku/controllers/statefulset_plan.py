"""What a StatefulSet does next: which pods to create, replace or delete, in order.  Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from todoku.api.meta import Object, copy
from todoku.controllers import pods, revisions
from todoku.controllers.controller import deleting, owner_reference
from todoku.controllers.rollout import scaled_value

POD_NAME, POD_INDEX = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"
_ORDINAL = re.compile(r"(.*)-([0-9]+)")


@dataclass(slots=True)
class Plan:
    """`create` are (ordinal, revision hash), `recreate` pods that ended and go first, `delete` pods that go."""

    create: list[tuple[int, str]] = field(default_factory=list)
    recreate: list[Object] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)


def ordinal(pod: Object, stateful_set: Object) -> int:
    """The pod's number, or -1 if its name is not of the set."""
    match = _ORDINAL.fullmatch(pod["metadata"]["name"])
    own = match and match.group(1) == stateful_set["metadata"]["name"]
    return int(match.group(2)) if match and own else -1


def first_ordinal(stateful_set: Object) -> int:
    return int((stateful_set["spec"].get("ordinals") or {}).get("start", 0))


def ordinals(stateful_set: Object) -> range:
    start = first_ordinal(stateful_set)
    return range(start, start + int(stateful_set["spec"].get("replicas", 1)))


def revision_of(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(revisions.HASH, ""))


def healthy(pod: Object | None, stateful_set: Object, now: float) -> bool:
    """Running, ready, for long enough, and not on its way out."""
    if pod is None or deleting(pod) or pods.phase(pod) != "Running":
        return False
    return pods.is_available(pod, stateful_set["spec"].get("minReadySeconds", 0), now)


def partition(stateful_set: Object) -> int:
    strategy = stateful_set["spec"].get("updateStrategy") or {}
    return int((strategy.get("rollingUpdate") or {}).get("partition") or 0)


def plan(
    stateful_set: Object, owned: Sequence[Object], *, current: str, update: str, now: float
) -> Plan:
    """One step (StatefulSetControl): fill gaps upwards, remove surplus downwards, then update downwards.

    With OrderedReady one pod at a time, and only when all before it are healthy.
    """
    decided = Plan()
    by_ordinal = {ordinal(pod, stateful_set): pod for pod in owned}
    one_by_one = stateful_set["spec"].get("podManagementPolicy") != "Parallel"
    wanted = ordinals(stateful_set)
    for number in wanted:
        pod = by_ordinal.get(number)
        if pod is None:
            decided.create.append((number, _revision_for(stateful_set, number, current, update)))
        elif pods.is_terminal(pod) and not deleting(pod):
            decided.recreate.append(pod)
        if one_by_one and not healthy(pod, stateful_set, now):
            return decided
    surplus = [number for number in sorted(by_ordinal, reverse=True) if number not in wanted]
    if one_by_one and surplus:
        pod = by_ordinal[surplus[0]]
        ill = [number for number in surplus if not healthy(by_ordinal[number], stateful_set, now)]
        waits = surplus[0] in ill and surplus[0] != ill[-1]  # for those before it to be healthy
        if not deleting(pod) and not waits:
            decided.delete.append(pod)
        return decided
    decided.delete += [by_ordinal[n] for n in surplus if not deleting(by_ordinal[n])]
    if decided.create or decided.recreate or decided.delete:
        return decided
    decided.delete = _updates(stateful_set, by_ordinal, update, now)
    return decided


def _revision_for(stateful_set: Object, number: int, current: str, update: str) -> str:
    """A pod below the partition keeps the current revision; one not yet reached by an update does, too."""
    strategy = stateful_set["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete" or current == update:
        return update if strategy.get("type") != "OnDelete" else current
    start = first_ordinal(stateful_set)
    if (strategy.get("rollingUpdate") or {}).get("partition") is None:
        kept = int((stateful_set.get("status") or {}).get("currentReplicas", 0))
        return current if number < start + kept else update
    return current if number < start + partition(stateful_set) else update


def _updates(
    stateful_set: Object, by_ordinal: dict[int, Object], update: str, now: float
) -> list[Object]:
    """Outdated pods to delete now: from the highest down to the partition, few at a time."""
    strategy = stateful_set["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return []
    wanted = ordinals(stateful_set)
    value = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1)
    allowed = max(scaled_value(value, len(wanted), round_up=False), 1)
    unavailable = sum(not healthy(by_ordinal.get(n), stateful_set, now) for n in wanted)
    found: list[Object] = []
    for number in reversed(wanted):
        if number < first_ordinal(stateful_set) + partition(stateful_set):
            break
        pod = by_ordinal[number]
        if revision_of(pod) != update and not deleting(pod):
            ill = not healthy(pod, stateful_set, now)
            if unavailable >= allowed and not ill:
                break
            found.append(pod)
            unavailable += not ill
            if len(found) >= allowed:
                break
        elif not healthy(pod, stateful_set, now) and unavailable >= allowed:
            break
    return found


def make_pod(stateful_set: Object, template: Object, number: int, digest: str) -> Object:
    """The pod of one ordinal, with its identity and its claims."""
    meta = stateful_set["metadata"]
    name = f"{meta['name']}-{number}"
    pod = pods.from_template(template, stateful_set, name=name)
    labels = pod["metadata"].setdefault("labels", {})
    labels |= {POD_NAME: name, POD_INDEX: str(number), revisions.HASH: digest}
    spec = pod["spec"]
    spec["hostname"] = name
    if stateful_set["spec"].get("serviceName"):
        spec["subdomain"] = stateful_set["spec"]["serviceName"]
    mine = [
        {
            "name": one["metadata"]["name"],
            "persistentVolumeClaim": {"claimName": f"{one['metadata']['name']}-{name}"},
        }
        for one in stateful_set["spec"].get("volumeClaimTemplates") or ()
    ]
    names = {one["name"] for one in mine}
    others = [one for one in spec.get("volumes") or () if one["name"] not in names]
    if mine or others:
        spec["volumes"] = mine + others
    return pod


def make_claims(stateful_set: Object, number: int) -> list[Object]:
    """The claims of one ordinal's pod; they outlive it."""
    meta = stateful_set["metadata"]
    found = []
    policy = (stateful_set["spec"].get("persistentVolumeClaimRetentionPolicy") or {}).get(
        "whenDeleted"
    )
    for one in stateful_set["spec"].get("volumeClaimTemplates") or ():
        claim: Object = copy(one)
        labels = (stateful_set["spec"]["selector"].get("matchLabels")) or {}
        claim |= {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        claim.pop("status", None)
        claim["metadata"] = (claim.get("metadata") or {}) | {
            "name": f"{one['metadata']['name']}-{meta['name']}-{number}",
            "namespace": meta["namespace"],
            "labels": (one["metadata"].get("labels") or {}) | labels,
        }
        if policy == "Delete":
            reference = owner_reference(stateful_set)
            claim["metadata"]["ownerReferences"] = [reference | {"controller": True}]
        found.append(claim)
    return found


def status(
    stateful_set: Object,
    owned: Sequence[Object],
    *,
    current: str,
    update: str,
    name_of: dict[str, str],
    now: float,
) -> Object:
    """The status; when an update is complete, its revision becomes the current one."""
    alive = [pod for pod in owned if ordinal(pod, stateful_set) >= 0 and pods.phase(pod)]
    ready = [p for p in alive if pods.phase(p) == "Running" and pods.is_ready(p)]
    min_ready = stateful_set["spec"].get("minReadySeconds", 0)
    staying = [p for p in alive if not deleting(p)]
    found: Object = {
        "observedGeneration": stateful_set["metadata"].get("generation", 0),
        "replicas": len(alive),
        "readyReplicas": len(ready),
        "availableReplicas": sum(pods.is_available(p, min_ready, now) for p in ready),
        "currentReplicas": sum(revision_of(p) == current for p in staying),
        "updatedReplicas": sum(revision_of(p) == update for p in staying),
        "currentRevision": name_of.get(current, ""),
        "updateRevision": name_of.get(update, ""),
        "collisionCount": (stateful_set.get("status") or {}).get("collisionCount", 0),
    }
    total = int(stateful_set["spec"].get("replicas", 1))
    done = found["updatedReplicas"] == found["replicas"] == found["readyReplicas"] == total
    if done and (stateful_set["spec"].get("updateStrategy") or {}).get("type") != "OnDelete":
        found["currentReplicas"] = found["updatedReplicas"]
        found["currentRevision"] = found["updateRevision"]
    kept = (
        "replicas",
        "observedGeneration",
        "collisionCount",
        "currentRevision",
        "updateRevision",
        "availableReplicas",
    )
    shown = {k: v for k, v in found.items() if v or k in kept}
    conditions = (stateful_set.get("status") or {}).get("conditions")
    return shown | ({"conditions": conditions} if conditions else {})
