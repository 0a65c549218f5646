"""VolumeBinding: claims must exist and be bound, or bindable to a volume that the node can reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from todoku.api import quantities
from todoku.api.meta import Object
from todoku.api.placement import selector_matches
from todoku.api.selectors import from_selector
from todoku.scheduler.framework import Node, NotSchedulable, Pod, Rejection, World


@dataclass(slots=True)
class _State:
    bound: list[Object] = field(default_factory=list)  # PersistentVolumes
    wanted: list[tuple[Object, Sequence[Object]]] = field(
        default_factory=list
    )  # claims, volumes that fit


class VolumeBinding:
    name = "VolumeBinding"

    def prepare(self, pod: Pod, world: World) -> _State | None:
        names = claim_names(pod)
        if not names:
            return None
        state = _State()
        for name in names:
            self._prepare_claim(pod, name, world, state)
        return state

    def _prepare_claim(self, pod: Pod, name: str, world: World, state: _State) -> None:
        claim = world.claims.get((pod.namespace, name))
        if claim is None:
            raise NotSchedulable(f'persistentvolumeclaim "{name}" not found', self.name)
        if claim["metadata"].get("deletionTimestamp"):
            raise NotSchedulable(f'persistentvolumeclaim "{name}" is being deleted', self.name)
        volume = world.volumes.get(claim["spec"].get("volumeName") or "")
        if volume is not None and (claim.get("status") or {}).get("phase") == "Bound":
            state.bound.append(volume)
            return
        if not waits_for_consumer(claim, world):
            raise NotSchedulable("pod has unbound immediate PersistentVolumeClaims", self.name)
        fitting = [one for one in world.volumes.values() if volume_fits(claim, one)]
        state.wanted.append((claim, fitting))

    def filter(self, pod: Pod, node: Node, state: _State) -> Rejection | None:
        if not all(reachable(volume, node) for volume in state.bound):
            reason = "node(s) didn't match PersistentVolume's node affinity"
            return Rejection((reason,), self.name, final=True)
        taken: set[str] = set()
        for _, fitting in state.wanted:
            free = [v for v in fitting if reachable(v, node) and v["metadata"]["name"] not in taken]
            if not free:
                reason = "node(s) didn't find available persistent volumes to bind"
                return Rejection((reason,), self.name, final=True)
            taken.add(min(free, key=_size)["metadata"]["name"])
        return None


def claim_names(pod: Pod) -> list[str]:
    """The claims that the pod's volumes name; those of ephemeral volumes are `POD-VOLUME`."""
    found = []
    for volume in pod.spec.get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            found.append(volume["persistentVolumeClaim"]["claimName"])
        elif volume.get("ephemeral"):
            found.append(f"{pod.name}-{volume['name']}")
    return found


def waits_for_consumer(claim: Object, world: World) -> bool:
    known = world.storage_classes.get(claim["spec"].get("storageClassName") or "")
    return known is not None and known.get("volumeBindingMode") == "WaitForFirstConsumer"


def volume_fits(claim: Object, volume: Object) -> bool:
    """Whether a volume that is free could be bound to the claim."""
    spec, wanted = volume["spec"], claim["spec"]
    reference = spec.get("claimRef")
    meta = claim["metadata"]
    if reference and (reference.get("namespace"), reference.get("name")) != (
        meta["namespace"],
        meta["name"],
    ):
        return False
    if (volume.get("status") or {}).get("phase") not in ("Available", None) and not reference:
        return False
    same_class = (spec.get("storageClassName") or "") == (wanted.get("storageClassName") or "")
    same_mode = (spec.get("volumeMode") or "Filesystem") == (
        wanted.get("volumeMode") or "Filesystem"
    )
    modes = set(wanted.get("accessModes") or ()) <= set(spec.get("accessModes") or ())
    asked = ((wanted.get("resources") or {}).get("requests") or {}).get("storage", 0)
    large = quantities.parse(asked).value <= _size(volume)
    chosen = wanted.get("selector")
    labelled = chosen is None or from_selector(chosen).matches(volume["metadata"].get("labels"))
    return bool(same_class and same_mode and modes and large and labelled)


def reachable(volume: Object, node: Node) -> bool:
    required = (volume["spec"].get("nodeAffinity") or {}).get("required")
    return required is None or selector_matches(required, node.object)


def _size(volume: Object) -> float:
    return float(quantities.parse((volume["spec"].get("capacity") or {}).get("storage", 0)).value)
