"""Objects of any kind as their strategies make them, and what validation says of them."""

from __future__ import annotations

from todoku.api.meta import Object, copy
from todoku.api.resource import Resource
from todoku.api.resources import registry


def known(name: str, version: str | None = None) -> Resource:
    resource = registry().find(name, version)
    assert resource is not None, name
    return resource


def made_of(
    resource: Resource, fields: Object, metadata: Object | None = None, status: Object | None = None
) -> Object:
    """An object with these top-level fields after defaulting, as a create prepares it."""
    found: Object = {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": {"name": "web", "namespace": "default", "uid": "u1", **(metadata or {})},
        **copy(fields),
    }
    resource.strategy.default(found)
    resource.strategy.prepare_create(found)
    if status is not None:
        found["status"] = status
    return found


def creation_problems(
    resource: Resource, fields: Object, metadata: Object | None = None
) -> list[str]:
    found = made_of(resource, fields, metadata)
    return [str(one) for one in resource.strategy.validate(found, None)]


def change_problems(
    resource: Resource, fields: Object, changed: Object, status: Object | None = None
) -> list[str]:
    """The problems of replacing top-level fields of a stored object."""
    old = made_of(resource, fields, status=status)
    new = copy(old) | copy(changed)
    resource.strategy.default(new)
    resource.strategy.prepare_update(new, old)
    return [str(one) for one in resource.strategy.validate(new, old)]


def status_problems(resource: Resource, fields: Object, before: Object, after: Object) -> list[str]:
    old = made_of(resource, fields, status=before)
    return [str(one) for one in resource.strategy.validate_status(old | {"status": after}, old)]


def made(name: str, spec: Object, /, **metadata: object) -> Object:
    """An object with this spec."""
    return made_of(known(name), {"spec": spec}, dict(metadata))


def created(name: str, spec: Object, /, **metadata: object) -> list[str]:
    return creation_problems(known(name), {"spec": spec}, dict(metadata))


def updated(name: str, spec: Object, changed: Object, status: Object | None = None) -> list[str]:
    """The problems of replacing fields of a stored spec."""
    resource = known(name)
    stored = made_of(resource, {"spec": spec})["spec"]
    return change_problems(resource, {"spec": spec}, {"spec": stored | changed}, status)
