"""NamespaceLifecycle: nothing is written into a namespace that is missing or going away."""

from __future__ import annotations

from todoku.api.errors import NotFound
from todoku.api.meta import Object
from todoku.apiserver.admission.base import Plugin, refusal
from todoku.apiserver.config import Attributes, Objects

_REVIEWS = "localsubjectaccessreviews.authorization.k8s.io"
_IMMORTAL = frozenset({"default", "kube-system", "kube-public"})


class NamespaceLifecycle(Plugin):
    name = "NamespaceLifecycle"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def mutate(self, attributes: Attributes) -> None:
        if attributes.resource.name == "namespaces":
            if attributes.operation == "DELETE" and attributes.name in _IMMORTAL:
                raise refusal(attributes, "this namespace may not be deleted")
            return
        if attributes.resource.name == _REVIEWS:
            return  # what somebody may do can be asked of a namespace that is not there
        if not attributes.resource.namespaced or attributes.operation not in ("CREATE", "UPDATE"):
            return
        namespace = self._objects.get("namespaces", attributes.namespace)
        if namespace is None:
            raise NotFound.of("namespaces", attributes.namespace)
        if attributes.operation != "CREATE" or not _terminating(namespace):
            return
        error = refusal(
            attributes,
            f"unable to create new content in namespace {attributes.namespace} "
            "because it is being terminated",
        )
        # clients wait for this cause
        cause = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {attributes.namespace} is being terminated",
            "field": "metadata.namespace",
        }
        error.details = error.details | {"causes": [cause]}
        raise error


def _terminating(namespace: Object) -> bool:
    phase = (namespace.get("status") or {}).get("phase")
    return bool(namespace["metadata"].get("deletionTimestamp")) or phase == "Terminating"
