"""`Objects`: the server's own reads and writes, for admission, authorization and the allocators."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from todoku.api.meta import GroupVersionKind, Object, copy
from todoku.api.resource import Resource
from todoku.api.schemas import Type
from todoku.apiserver import conversion, deletes, writes
from todoku.apiserver.catalog import Served
from todoku.apiserver.context import Context, Engine
from todoku.apiserver.encoding import Cached
from todoku.apiserver.request import SYSTEM_MASTERS, RequestInfo, User

APISERVER = User(name="system:apiserver", groups=(SYSTEM_MASTERS,))


class EngineObjects:
    """See `config.Objects`.  `engine` is set once the parts, which need this object, are composed."""

    def __init__(self) -> None:
        self._engine: Engine | None = None

    def bind(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def of(cls, engine: Engine) -> EngineObjects:
        objects = cls()
        objects.bind(engine)
        return objects

    @property
    def engine(self) -> Engine:
        assert self._engine is not None, "the server is not composed yet"
        return self._engine

    def _served(self, resource: str) -> Served:
        served = self.engine.catalog.by_name(resource)
        if served is None:
            raise KeyError(f"no resource {resource} is served")
        return served

    def get(self, resource: str, name: str, namespace: str = "") -> Object | None:
        served = self._served(resource)
        found = self.engine.collection(served).get(namespace, name)
        return _read(served, found) if found else None

    def list(self, resource: str, namespace: str | None = None) -> Sequence[Object]:
        served = self._served(resource)
        collection = self.engine.collection(served)
        keys = collection.select(namespace or "")
        return [_read(served, collection.items[key]) for key in keys]

    def served(self, kind: GroupVersionKind) -> Resource | None:
        found = self.engine.catalog.by_kind(kind)
        return found.resource if found else None

    def schema(self, resource: Resource) -> Type:
        found = self.engine.catalog.by_kind(resource.gvk)
        assert found is not None
        return found.type

    def equivalents(self, resource: Resource, subresource: str = "") -> Sequence[Resource]:
        return self.engine.catalog.equivalents(resource, subresource)

    async def converted(self, obj: Object, resource: Resource, wanted: Resource) -> Object:
        catalog = self.engine.catalog
        source, target = catalog.by_kind(resource.gvk), catalog.by_kind(wanted.gvk)
        assert source is not None
        assert target is not None
        if source.needs_conversion:
            converter = self.engine.components.converter
            return (await conversion.convert(converter, source, [obj], wanted.api_version))[0]
        return target.load(source.store(obj))

    def generation(self, resource: str) -> int:
        return self.engine.collection(self._served(resource)).changed

    def subscribe(
        self, resource: str, handler: Callable[[Object | None, Object | None], None]
    ) -> Callable[[], None]:
        handlers = self.engine.collection(self._served(resource)).handlers

        def on_change(old: Cached | None, new: Cached | None) -> None:
            handler(old.object() if old else None, new.object() if new else None)

        handlers.append(on_change)
        return lambda: handlers.remove(on_change)

    async def create(self, resource: str, obj: Object, *, dry_run: bool = False) -> Object:
        context = self._context(resource, "create", obj, dry_run=dry_run)
        fresh = _typed(context.served, copy(obj))
        written = await writes.create_object(self.engine, context, fresh)
        return await self._result(context.served, written.cached)

    async def update(self, resource: str, obj: Object, *, subresource: str = "") -> Object:
        context = self._context(resource, "update", obj, subresource=subresource)
        # What is written to a subresource is copied before it is changed; definitions are large.
        own = obj | {"metadata": dict(obj["metadata"])} if subresource else copy(obj)
        fresh = _typed(context.served, own)
        written = await writes.update_object(self.engine, context, fresh)
        return await self._result(context.served, written.cached)

    async def delete(self, resource: str, name: str, namespace: str = "") -> None:
        obj = {"metadata": {"name": name, "namespace": namespace}}
        context = self._context(resource, "delete", obj)
        await deletes.delete(self.engine, context, deletes.Options())
        await self.engine.cache.wait()

    async def _result(self, served: Served, cached: Cached) -> Object:
        await self.engine.cache.wait()  # the parts read what they wrote without waiting
        return served.view(cached)

    def _context(
        self,
        resource: str,
        verb: str,
        obj: Object,
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Context:
        served = self._served(resource)
        one, metadata = served.resource, obj["metadata"]
        info = RequestInfo(
            verb=verb,
            path="",
            group=one.group,
            version=one.version,
            resource=one.plural,
            subresource=subresource,
            namespace=metadata.get("namespace", ""),
            name="" if verb == "create" else metadata["name"],
        )
        return Context(
            user=APISERVER,
            info=info,
            served=served,
            internal=True,
            dry_run=dry_run,
            user_agent="kube-apiserver",
        )


def _read(served: Served, cached: Cached) -> Object:
    """In the stored version where only a webhook could say what it is in another."""
    return cached.object() if served.needs_conversion else served.view(cached)


def _typed(served: Served, obj: Object) -> Object:
    obj["kind"], obj["apiVersion"] = served.resource.kind, served.resource.api_version
    return obj
