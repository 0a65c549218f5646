"""ComponentStatus: whether the scheduler, the controllers and the store live.  Nothing is stored.

Upstream asks their health ports, which nobody but their own node reaches; here the Lease by which each leads tells.
Source: k8s.io/kubernetes registry/core/componentstatus.
"""

from __future__ import annotations

from collections.abc import Mapping

from todoku.api import errors, times
from todoku.api.meta import Object
from todoku.apiserver.context import Context, Engine
from todoku.apiserver.encoding import Cached, dumps
from todoku.apiserver.predicates import Predicate
from todoku.apiserver.reads import Listing

RESOURCE = "componentstatuses"
_LEADERS = {
    "controller-manager": ("kube-controller-manager", 10257),
    "scheduler": ("kube-scheduler", 10259),
}
_STORE = "etcd-0"


def get(engine: Engine, context: Context) -> Cached:
    """Raises NotFound."""
    name = context.info.name
    if name not in (*_LEADERS, _STORE):
        raise errors.NotFound.of(RESOURCE, name)
    return _cached(name, _problem(engine, name))


def list_(engine: Engine, context: Context) -> Listing:
    info = context.info
    predicate = Predicate(context.served, info.label_selector, info.field_selector)
    all_ = [_cached(name, _problem(engine, name)) for name in (*_LEADERS, _STORE)]
    return Listing([one for one in all_ if predicate(one)], engine.cache.revision)


def _problem(engine: Engine, name: str) -> str:
    if name == _STORE:
        return ""  # the server does not run without
    role, port = _LEADERS[name]
    leases = engine.catalog.by_name("leases.coordination.k8s.io")
    lease = engine.collection(leases).get("kube-system", role) if leases else None
    if lease and is_held(lease.object().get("spec") or {}, engine.clock()):
        return ""
    return f'Get "https://127.0.0.1:{port}/healthz": dial tcp 127.0.0.1:{port}: connect: connection refused'


def is_held(spec: Mapping[str, object], now: float) -> bool:
    """Whether a Lease was renewed within its duration."""
    renewed = spec.get("renewTime")
    lasts = spec.get("leaseDurationSeconds")
    if not isinstance(renewed, str) or not isinstance(lasts, int):
        return False
    return times.parse(renewed) + lasts >= now


class _Unstored(Cached):
    """An object that is made for each answer: it has no resourceVersion, in lists neither."""

    __slots__ = ()

    def item(self) -> bytes:
        return b'{"metadata":{' + self.value[self.after :]


def _cached(name: str, problem: str) -> Cached:
    condition: Object = {"type": "Healthy", "status": "False" if problem else "True"}
    condition["message"] = problem or "ok"
    metadata = {"name": name}
    obj = {"kind": "ComponentStatus", "apiVersion": "v1", "metadata": metadata}
    return _Unstored(dumps({**obj, "conditions": [condition]}), 0, "", name)
