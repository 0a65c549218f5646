"""What the subresources that take their parent's own kind may change.  Pure: each restores in `new` all the rest.

Semantics: the strategies of k8s.io/kubernetes pkg/registry for pods/ephemeralcontainers, pods/resize,
certificatesigningrequests/approval and namespaces/finalize.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from todoku.api import errors
from todoku.api.errors import FieldError, Path
from todoku.api.meta import Object, copy
from todoku.api.resources import certificates
from todoku.api.resources.generic import keep_metadata
from todoku.api.resources.namespace import finalize_problems
from todoku.api.resources.pod_subresources import (
    ephemeral_problems,
    keep_all_but_resources,
    resize_problems,
)

Prepare = Callable[[Object, Object], None]


def _keep_all_but(new: Object, old: Object, *paths: tuple[str, ...]) -> None:
    """Make `new` a copy of `old` but for the values at `paths` (and what metadata the server restores)."""
    kept = copy(old)
    for path in paths:
        value, source, target = None, new, kept
        for part in path[:-1]:
            source = source.get(part) or {}
            target = target.setdefault(part, {})
        value = source.get(path[-1])
        if value is None:
            target.pop(path[-1], None)
        else:
            target[path[-1]] = value
    metadata = new["metadata"]
    new.clear()
    new.update(kept)
    new["metadata"] = metadata


def finalize(new: Object, old: Object) -> None:
    """namespaces/finalize: spec (its finalizers), never status."""
    _keep_all_but(new, old, ("spec",))


def approval(new: Object, old: Object) -> None:
    """certificatesigningrequests/approval: the conditions."""
    _keep_all_but(new, old, ("status", "conditions"))


def ephemeral_containers(new: Object, old: Object) -> None:
    _keep_all_but(new, old, ("spec", "ephemeralContainers"))
    keep_metadata(new, old)


PREPARE: Mapping[str, Prepare] = {
    "namespaces/finalize": finalize,
    "certificatesigningrequests.certificates.k8s.io/approval": approval,
    "pods/ephemeralcontainers": ephemeral_containers,
    "pods/resize": keep_all_but_resources,
}

Problems = Callable[[Object, Object | None], list[FieldError]]


def _of_change(problems: Callable[[Object, Object], list[FieldError]]) -> Problems:
    return lambda new, old: [] if old is None else problems(new, old)


# Where an update of the parent would be judged differently.
PROBLEMS: Mapping[str, Problems] = {
    "namespaces/finalize": _of_change(finalize_problems),
    "pods/ephemeralcontainers": _of_change(ephemeral_problems),
    "pods/resize": _of_change(resize_problems),
    "certificatesigningrequests.certificates.k8s.io/approval": certificates.validate_approval,
}


def bind(pod: Object, binding: Object, now: str) -> Object:
    """The pod as bound to the Binding's target.  Raises Conflict, Invalid."""
    name = pod["metadata"]["name"]
    target = binding.get("target") or {}
    problems: list[FieldError] = []
    if target.get("kind") not in (None, "", "Node"):
        problems.append(
            errors.not_supported(Path("target") / "kind", target["kind"], ("Node", "<empty>"))
        )
    if not target.get("name"):
        problems.append(errors.required(Path("target") / "name"))
    if problems:
        raise errors.Invalid.of("Binding", "", name, problems)
    spec = pod.get("spec", {})
    if pod["metadata"].get("deletionTimestamp"):
        raise _unbound(name, f"pod {name} is being deleted, cannot be assigned to a host")
    if spec.get("nodeName"):
        raise _unbound(name, f'pod {name} is already assigned to node "{spec["nodeName"]}"')
    if spec.get("schedulingGates"):
        raise _unbound(name, f"pod {name} has non-empty .spec.schedulingGates")
    new: Object = copy(pod)
    new["spec"]["nodeName"] = target["name"]
    annotations = binding.get("metadata", {}).get("annotations")
    if annotations:
        new["metadata"]["annotations"] = new["metadata"].get("annotations", {}) | annotations
    labels = binding.get("metadata", {}).get("labels")
    if labels:
        new["metadata"]["labels"] = new["metadata"].get("labels", {}) | labels
    _set_scheduled(new, now)
    return new


def _set_scheduled(pod: Object, now: str) -> None:
    condition = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now}
    if generation := pod["metadata"].get("generation"):
        condition["observedGeneration"] = generation
    status = pod.setdefault("status", {})
    others = [one for one in status.get("conditions", ()) if one.get("type") != "PodScheduled"]
    status["conditions"] = [*others, condition]


def _unbound(name: str, why: str) -> errors.ApiError:
    return errors.Conflict.of("pods/binding", name, why)
