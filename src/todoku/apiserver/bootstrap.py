"""What a new cluster has from the first moment: namespaces, flow control, and what the parts bring."""

from __future__ import annotations

from collections.abc import Iterator

from todoku.api import errors
from todoku.api.meta import Object, gvk_of
from todoku.apiserver import group_services
from todoku.apiserver.context import Engine
from todoku.apiserver.flowcontrol.defaults import flow_control_objects
from todoku.apiserver.flowcontrol.upkeep import condition
from todoku.apiserver.objects import EngineObjects

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


async def ensure(engine: Engine) -> None:
    """Create what is missing; what is there stays as it is."""
    objects = EngineObjects.of(engine)
    services = list(group_services.built_in(engine.catalog, engine.clock()))
    for obj in (*_namespaces(), *engine.components.bootstrap, *_flow_control(engine), *services):
        served = engine.catalog.by_kind(gvk_of(obj))
        if served is None:
            raise ValueError(f"bootstrap object of an unknown kind: {gvk_of(obj)}")
        metadata = obj["metadata"]
        if objects.get(served.name, metadata["name"], metadata.get("namespace", "")) is None:
            try:
                await objects.create(served.name, obj)
            except errors.AlreadyExists:
                continue
            if "status" in obj:
                await objects.update(served.name, obj, subresource="status")


def _flow_control(engine: Engine) -> Iterator[Object]:
    for obj in flow_control_objects():
        if obj["kind"] == "FlowSchema":
            obj["status"] = {"conditions": [condition(obj, True, engine.clock())]}
        yield obj


def _namespaces() -> Iterator[Object]:
    for name in NAMESPACES:
        labels = {"kubernetes.io/metadata.name": name}
        metadata = {"name": name, "labels": labels}
        spec = {"finalizers": ["kubernetes"]}
        yield {"kind": "Namespace", "apiVersion": "v1", "metadata": metadata, "spec": spec}
