"""What one write of a Service takes and gives back: cluster addresses, node ports, the health-check port.

Everything taken is recorded in a `Taken` list of undo steps: `rollback` runs them when the write fails, `commit`
frees what the old object held and the new one does not.  A dry run undoes at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from todoku.aio import log as logs
from todoku.api.errors import FieldError, InternalError, Invalid, Path, duplicate, invalid
from todoku.api.meta import Object
from todoku.apiserver.allocators import addresses as addressing
from todoku.apiserver.allocators import families, ports
from todoku.apiserver.allocators.addresses import Addresses
from todoku.apiserver.allocators.ports import Ports
from todoku.apiserver.config import Allocation

log = logs.get(__name__)

_SPEC = Path("spec")


class ServiceAddresses:
    """The `ServiceAllocator` of the server; see `config.ServiceAllocator`."""

    def __init__(self, addresses: Addresses, node_ports: Ports) -> None:
        self._addresses = addresses
        self._ports = node_ports

    async def on_create(self, service: Object, *, dry_run: bool) -> Allocation:
        families.normalize(service, None)
        return await self._allocate(service, None, dry_run=dry_run)

    async def on_update(self, service: Object, old: Object, *, dry_run: bool) -> Allocation:
        families.keep_allocated(service, old)
        families.normalize(service, old)
        return await self._allocate(service, old, dry_run=dry_run)

    async def on_delete(self, service: Object) -> None:
        for address in addresses_of(service):
            await self._addresses.free(address)
        for port in node_ports_of(service):
            self._ports.free(port)

    async def _allocate(self, service: Object, old: Object | None, *, dry_run: bool) -> Allocation:
        held = _Held(self._addresses, self._ports, dry_run=dry_run)
        try:
            problems = families.settle(service, old, self._addresses.families)
            problems = problems or families.external_name_problems(service)
            problems = problems or await self._allocate_addresses(service, old, held)
            problems = problems or _allocate_ports(service, old, held)
            _refuse(service, problems)
            _allocate_health_port(service, old, held)
        except BaseException:
            await held.rollback()
            raise
        held.release_later(old, service)
        return held

    async def _allocate_addresses(
        self, service: Object, old: Object | None, held: _Held
    ) -> list[FieldError]:
        spec = service["spec"]
        if not families.needs_address(service) or families.is_headless(service):
            if families.is_headless(service):
                spec["clusterIP"], spec["clusterIPs"] = families.NONE, [families.NONE]
            return []
        kept = addresses_of(old) if old else []
        wanted = list(spec.get("clusterIPs") or ())
        result: list[str] = []
        for index, family in enumerate(spec["ipFamilies"]):
            given = wanted[index] if index < len(wanted) else ""
            if given and given in kept:
                result.append(given)
                continue
            try:
                result.append(await held.address(given, family, service))
            except (addressing.Taken, addressing.OutOfRange) as error:
                text = f"failed to allocate IP {given}: {error}"
                return [invalid(_SPEC / "clusterIPs", wanted, text)]
            except addressing.Full as error:
                raise InternalError.of(f"failed to allocate a serviceIP: {error}") from error
        spec["clusterIPs"], spec["clusterIP"] = result, result[0]
        return []


class _Held:
    """What one write has taken so far, and what it will free once it is durable."""

    def __init__(self, addresses: Addresses, node_ports: Ports, *, dry_run: bool) -> None:
        self._addresses = addresses
        self._ports = node_ports
        self._dry_run = dry_run
        self._undo: list[Callable[[], Awaitable[None]]] = []
        self._undo_ports: list[int] = []
        self._free_addresses: list[str] = []
        self._free_ports: list[int] = []

    async def address(self, given: str, family: str, service: Object) -> str:
        """Take one address; in a dry run only see whether it could be taken."""
        if self._dry_run:
            if given:
                self._addresses.check(given)
            return given or self._addresses.base(family)
        if given:
            await self._addresses.take(given, service)
            address = given
        else:
            address = await self._addresses.take_any(family, service)
        self._undo.append(lambda: self._addresses.free(address))
        return address

    def port(self, given: int) -> int:
        if given:
            self._ports.take(given)
        else:
            given = self._ports.take_any()
        self._undo_ports.append(given)
        return given

    def release_later(self, old: Object | None, new: Object) -> None:
        if old is None or self._dry_run:
            return
        kept_addresses, kept_ports = set(addresses_of(new)), set(node_ports_of(new))
        self._free_addresses = [one for one in addresses_of(old) if one not in kept_addresses]
        self._free_ports = [one for one in node_ports_of(old) if one not in kept_ports]

    async def commit(self) -> None:
        if self._dry_run:
            await self.rollback()
            return
        for port in self._free_ports:
            self._ports.free(port)
        for address in self._free_addresses:
            await self._addresses.free(address)

    async def rollback(self) -> None:
        for port in self._undo_ports:
            self._ports.free(port)
        self._undo_ports = []
        while self._undo:
            await self._undo.pop()()


def _allocate_ports(service: Object, old: Object | None, held: _Held) -> list[FieldError]:
    if not families.needs_ports(service):
        return []
    if old is not None and families.needs_ports(old):
        return _update_ports(service, old, held)
    return _create_ports(service, held)


def _create_ports(service: Object, held: _Held) -> list[FieldError]:
    """Entries with the same `port` number (TCP and UDP) share one node port, given or picked."""
    entries = service["spec"].get("ports") or []
    shared: dict[int, int] = {}
    for index, entry in enumerate(entries):
        asked, number = entry.get("nodePort", 0), entry.get("port", 0)
        known = shared.get(number, 0)
        if known and asked in (0, known):
            entry["nodePort"] = known
            continue
        if not known and not asked:
            asked = next(
                (
                    one["nodePort"]
                    for one in entries
                    if one.get("port") == number and one.get("nodePort")
                ),
                0,
            )
        if not asked and not families.allocates_ports(service):
            continue
        problem = _take(entry, asked, index, held)
        if problem:
            return [problem]
        shared.setdefault(number, entry["nodePort"])
    return []


def _update_ports(service: Object, old: Object, held: _Held) -> list[FieldError]:
    """Numbers the Service already has stay; a new entry gets one of its own."""
    mine = set(node_ports_of(old, health=False))
    seen: set[tuple[str, int]] = set()
    for index, entry in enumerate(service["spec"].get("ports") or ()):
        asked = entry.get("nodePort", 0)
        if not asked and not families.allocates_ports(service):
            continue
        if not asked or asked not in mine:
            problem = _take(entry, asked, index, held)
            if problem:
                return [problem]
            mine.add(entry["nodePort"])
        key = (entry.get("protocol", "TCP"), entry["nodePort"])
        if key in seen:
            return [duplicate(_SPEC / "ports" / index / "nodePort", entry["nodePort"])]
        seen.add(key)
    return []


def _take(entry: Object, asked: int, index: int, held: _Held) -> FieldError | None:
    try:
        entry["nodePort"] = held.port(asked)
    except (ports.PortTaken, ports.PortOutOfRange) as error:
        return invalid(_SPEC / "ports" / index / "nodePort", asked, str(error))
    except ports.PortsFull as error:
        raise InternalError.of(f"failed to allocate a nodePort: {error}") from error
    return None


def _allocate_health_port(service: Object, old: Object | None, held: _Held) -> None:
    if not families.needs_health_port(service):
        return
    spec = service["spec"]
    asked = spec.get("healthCheckNodePort", 0)
    if (
        old is not None
        and families.needs_health_port(old)
        and old["spec"].get("healthCheckNodePort")
    ):
        return  # immutable: validation compares it with the old one
    try:
        spec["healthCheckNodePort"] = held.port(asked)
    except (ports.PortTaken, ports.PortOutOfRange, ports.PortsFull) as error:
        what = f"requested HealthCheck NodePort {asked}" if asked else "a HealthCheck NodePort"
        raise InternalError.of(f"failed to allocate {what}: {error}") from error


def addresses_of(service: Object) -> list[str]:
    """The cluster addresses a stored Service holds."""
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return []
    many = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    return [one for one in many if one and one != families.NONE]


def node_ports_of(service: Object, *, health: bool = True) -> list[int]:
    """The numbers a stored Service holds in the pool of node ports."""
    spec = service["spec"]
    found = [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]
    if health and spec.get("healthCheckNodePort"):
        found.append(spec["healthCheckNodePort"])
    return found


def _refuse(service: Object, problems: Sequence[FieldError]) -> None:
    if problems:
        raise Invalid.of("Service", "", service["metadata"].get("name", ""), problems)
