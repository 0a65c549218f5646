"""What every admission plugin shares: doing nothing by default, and asking what kind of write it sees."""

from __future__ import annotations

from todoku.api.errors import Forbidden
from todoku.api.meta import Object
from todoku.apiserver.config import Attributes


class Plugin:
    """An `AdmissionPlugin` that admits everything unchanged."""

    name = ""

    async def mutate(self, attributes: Attributes) -> None:
        return None

    async def validate(self, attributes: Attributes) -> None:
        return None

    async def undo(self, attributes: Attributes) -> None:
        return None


def creates(attributes: Attributes, resource: str) -> bool:
    """Whether this creates an object of `resource` (its dotted name)."""
    return attributes.operation == "CREATE" and is_main(attributes, resource)


def updates(attributes: Attributes, resource: str) -> bool:
    return attributes.operation == "UPDATE" and is_main(attributes, resource)


def is_main(attributes: Attributes, resource: str) -> bool:
    """Whether this is about objects of `resource` themselves, not a subresource."""
    return not attributes.subresource and attributes.resource.name == resource


def new_object(attributes: Attributes) -> Object:
    """The object being written; only for operations that have one."""
    assert attributes.object is not None
    return attributes.object


def new_spec(attributes: Attributes) -> Object:
    """The spec of the object being written; an empty one if it has none (validation will say so)."""
    spec = new_object(attributes).get("spec")
    return spec if isinstance(spec, dict) else {}


def refusal(attributes: Attributes, why: str) -> Forbidden:
    """`pods "web" is forbidden: …`."""
    return Forbidden.of(attributes.resource.name, attributes.name, why)


def is_mirror_pod(pod: Object) -> bool:
    """A static pod's image in the API, made by a node."""
    return "kubernetes.io/config.mirror" in (pod["metadata"].get("annotations") or {})


def default_of(objects: list[Object], annotation: str) -> Object | None:
    """The default among storage or ingress classes: of several the newest, then the first by name."""
    marked = [
        one
        for one in objects
        if (one["metadata"].get("annotations") or {}).get(annotation) == "true"
    ]
    if not marked:
        return None
    newest = max(str(one["metadata"].get("creationTimestamp", "")) for one in marked)
    same = [one for one in marked if str(one["metadata"].get("creationTimestamp", "")) == newest]
    return min(same, key=lambda one: str(one["metadata"]["name"]))
