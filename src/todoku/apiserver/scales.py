"""/scale: an autoscaling/v1 Scale made from, and written back to, a workload or a custom resource.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from todoku.api import errors, selectors
from todoku.api.meta import Object, copy
from todoku.api.patches import through
from todoku.api.resource import Column
from todoku.api.tables import created

_MAX_REPLICAS = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where the numbers are; a custom resource may keep its selector as text at `selector`."""

    spec_replicas: Sequence[str] = ("spec", "replicas")
    status_replicas: Sequence[str] = ("status", "replicas")
    selector: Sequence[str] = ("spec", "selector")
    default_replicas: int = 0


WORKLOAD = Paths()


def paths_of(scale: Object) -> Paths:
    """From a CRD version's `subresources.scale` (JSON paths `.spec.replicas`)."""
    return Paths(
        spec_replicas=_parts(scale["specReplicasPath"]),
        status_replicas=_parts(scale["statusReplicasPath"]),
        selector=_parts(scale.get("labelSelectorPath", "")),
    )


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split(".") if part)


def _at(obj: Any, path: Sequence[str]) -> Any:
    for part in path:
        if not isinstance(obj, dict):
            return None
        obj = obj.get(part)
    return obj


def read(obj: Object, paths: Paths) -> Object:
    """The Scale of an object."""
    meta = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Object = {"replicas": _number(_at(obj, paths.status_replicas))}
    selector = _selector(_at(obj, paths.selector) if paths.selector else None)
    if selector:
        status["selector"] = selector
    replicas = _number(_at(obj, paths.spec_replicas), paths.default_replicas)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: meta[key] for key in kept if key in meta},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


COLUMNS = (
    Column(name="Name", documents="meta.v1.ObjectMeta.name"),
    Column(name="Desired", type="integer", documents="autoscaling.v1.ScaleSpec.replicas"),
    Column(name="Available", type="integer", documents="autoscaling.v1.ScaleStatus.replicas"),
    Column(name="Age", documents="meta.v1.ObjectMeta.creationTimestamp"),
)


def row(scale: Object) -> list[object]:
    wanted, there = scale["spec"].get("replicas", 0), scale["status"]["replicas"]
    return [scale["metadata"]["name"], wanted, there, created(scale)]


def _number(value: Any, default: int = 0) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _selector(value: Any) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return ""
    if "matchLabels" in value or "matchExpressions" in value:
        return str(selectors.from_selector(value))
    return str(selectors.from_map(value))  # a ReplicationController's


_REPLICAS = ("f:spec", "f:replicas")


def apply(old: Object, paths: Paths, applied: Callable[[Object], Object]) -> Object:
    """A copy of `old` after a Scale was applied to it; `applied` makes the Scale of the one that it is given."""
    field = tuple(f"f:{part}" for part in paths.spec_replicas)
    owners = old["metadata"].get("managedFields") or []
    scale = read(old, paths)
    scale["metadata"]["managedFields"] = through.shown(
        owners, field, as_=_REPLICAS, api_version=scale["apiVersion"]
    )
    result = applied(scale)
    new = write(old, result, paths)
    new["metadata"]["managedFields"] = through.merged(
        owners,
        result["metadata"].get("managedFields") or [],
        field,
        api_version=old["apiVersion"],
    )
    return new


def write(obj: Object, scale: Object, paths: Paths) -> Object:
    """A copy of `obj` with the Scale's wish.  Raises Invalid, BadRequest."""
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise errors.BadRequest("Scale.spec.replicas: must be an integer")
    if not 0 <= replicas <= _MAX_REPLICAS:
        path = errors.Path("spec") / "replicas"
        problem = errors.invalid(path, replicas, "must be greater than or equal to 0")
        raise errors.Invalid.of("Scale", "autoscaling", obj["metadata"]["name"], [problem])
    new: Object = copy(obj)
    parent = new
    for part in paths.spec_replicas[:-1]:
        parent = parent.setdefault(part, {})
    parent[paths.spec_replicas[-1]] = replicas
    wanted = scale.get("metadata") or {}
    for key in ("resourceVersion", "uid"):
        if wanted.get(key):
            new["metadata"][key] = wanted[key]
        elif key == "resourceVersion":
            new["metadata"].pop(key, None)
    return new
