"""An in-memory `Objects` for tests of the parts that decide about requests."""

import uuid
from collections.abc import Callable, Sequence

from todoku.api import errors
from todoku.api.meta import Object, copy


class FakeObjects:
    """Objects by resource, namespace and name; writes behave as the API's: conflicts, finalizer-less deletes."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[tuple[str, str], Object]] = {}
        self._generations: dict[str, int] = {}
        self._handlers: dict[str, list[Callable[[Object | None, Object | None], None]]] = {}
        self._revision = 0

    def add(self, resource: str, obj: Object) -> Object:
        """Put an object in, filling uid; replaces one of the same name."""
        obj = copy(obj)
        metadata = obj.setdefault("metadata", {})
        metadata.setdefault("uid", str(uuid.uuid4()))
        self._revision += 1
        metadata["resourceVersion"] = str(self._revision)
        key = (metadata.get("namespace", ""), metadata["name"])
        kept = self._kept.setdefault(resource, {})
        self._tell(resource, kept.get(key), obj)
        kept[key] = obj
        return obj

    def _tell(self, resource: str, old: Object | None, new: Object | None) -> None:
        self._generations[resource] = self._generations.get(resource, 0) + 1
        for handler in self._handlers.get(resource, ()):
            handler(old, new)

    def get(self, resource: str, name: str, namespace: str = "") -> Object | None:
        return self._kept.get(resource, {}).get((namespace, name))

    def list(self, resource: str, namespace: str | None = None) -> Sequence[Object]:
        kept = self._kept.get(resource, {}).items()
        return [obj for (where, _), obj in kept if namespace is None or where == namespace]

    def generation(self, resource: str) -> int:
        return self._generations.get(resource, 0)

    def subscribe(self, resource, handler):
        handlers = self._handlers.setdefault(resource, [])
        handlers.append(handler)
        return lambda: handlers.remove(handler)

    async def create(self, resource: str, obj: Object, *, dry_run: bool = False) -> Object:
        metadata = obj["metadata"]
        if self.get(resource, metadata["name"], metadata.get("namespace", "")):
            raise errors.AlreadyExists.of(resource, metadata["name"])
        return copy(obj) if dry_run else self.add(resource, obj)

    async def update(self, resource: str, obj: Object, *, subresource: str = "") -> Object:
        metadata = obj["metadata"]
        old = self.get(resource, metadata["name"], metadata.get("namespace", ""))
        if old is None:
            raise errors.NotFound.of(resource, metadata["name"])
        wanted = metadata.get("resourceVersion")
        if wanted and wanted != old["metadata"]["resourceVersion"]:
            raise errors.Conflict.of(resource, metadata["name"], "the object has been modified")
        return self.add(resource, obj)

    async def delete(self, resource: str, name: str, namespace: str = "") -> None:
        old = self._kept.get(resource, {}).pop((namespace, name), None)
        if old is None:
            raise errors.NotFound.of(resource, name)
        self._tell(resource, old, None)
