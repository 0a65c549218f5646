"""The cluster as informers know it, in the shape that the zone reads."""

from collections.abc import Callable, Iterable

from todoku.api.meta import Key, Object
from todoku.client import InformerFactory

_BY_SERVICE, _BY_ADDRESS = "service", "address"


class InformedCluster:
    """Reads Services, EndpointSlices and namespaces from caches; `changed` is called on every change."""

    def __init__(self, informers: InformerFactory, changed: Callable[[], None]) -> None:
        self._services = informers.informer("services", indexers={_BY_ADDRESS: _service_addresses})
        self._slices = informers.informer(
            "endpointslices.discovery.k8s.io",
            indexers={_BY_SERVICE: _service_of, _BY_ADDRESS: _host_addresses},
        )
        self._namespaces = informers.informer("namespaces", metadata_only=True)
        for informer in (self._services, self._slices, self._namespaces):
            informer.subscribe(lambda _: changed())

    async def synced(self) -> None:
        for informer in (self._services, self._slices, self._namespaces):
            await informer.synced()

    def service(self, namespace: str, name: str) -> Object | None:
        return self._services.get(Key(namespace, name))

    def slices(self, namespace: str, name: str) -> Iterable[Object]:
        return self._slices.by_index(_BY_SERVICE, f"{namespace}/{name}")

    def namespace(self, name: str) -> bool:
        return self._namespaces.get(Key("", name)) is not None

    def services_at(self, address: str) -> Iterable[Object]:
        return self._services.by_index(_BY_ADDRESS, address)

    def slices_at(self, address: str) -> Iterable[Object]:
        return self._slices.by_index(_BY_ADDRESS, address)


def _service_addresses(service: Object) -> list[str]:
    spec = service["spec"]
    return [a for a in spec.get("clusterIPs") or [spec.get("clusterIP")] if a and a != "None"]


def _service_of(piece: Object) -> list[str]:
    metadata = piece["metadata"]
    name = (metadata.get("labels") or {}).get("kubernetes.io/service-name")
    return [f"{metadata['namespace']}/{name}"] if name else []


def _host_addresses(piece: Object) -> list[str]:
    """Addresses of endpoints with a host name, which have reverse names."""
    return [
        address
        for item in piece.get("endpoints") or ()
        if item.get("hostname")
        for address in item.get("addresses") or ()
    ]
