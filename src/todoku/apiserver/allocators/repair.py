"""Brings the allocators and the Services back in line at start; what cannot be repaired becomes a Warning event."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from todoku.aio import log as logs
from todoku.api.errors import ApiError
from todoku.api.meta import Object
from todoku.api.times import text
from todoku.apiserver.allocators import addresses as addressing
from todoku.apiserver.allocators.addresses import ADDRESSES, MANAGED_LABEL, MANAGER, Addresses
from todoku.apiserver.allocators.ports import PortOutOfRange, Ports, PortTaken
from todoku.apiserver.allocators.services import addresses_of, node_ports_of
from todoku.apiserver.config import Objects

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement; `reason` is the event's."""

    service: Object
    reason: str
    message: str


async def repair(
    objects: Objects, addresses: Addresses, node_ports: Ports, clock: Callable[[], float]
) -> list[Finding]:
    """Rebuild the port pool, write missing IPAddress objects, drop those of Services that are gone."""
    services = sorted(objects.list("services"), key=_age)
    findings = _rebuild_ports(services, node_ports)
    findings += await _restore_addresses(objects, addresses, services)
    await _drop_orphans(objects, services)
    for finding in findings:
        await _tell(objects, finding, clock())
    return findings


def _rebuild_ports(services: list[Object], node_ports: Ports) -> list[Finding]:
    node_ports.reset(())
    findings = []
    for service in services:
        for port in dict.fromkeys(node_ports_of(service)):
            try:
                node_ports.take(port)
            except PortTaken:
                findings.append(
                    Finding(
                        service,
                        "PortAlreadyAllocated",
                        f"Port {port} was assigned to multiple services; please recreate service",
                    )
                )
            except PortOutOfRange:
                findings.append(
                    Finding(
                        service,
                        "PortOutOfRange",
                        f"Port {port} is not within the port range; please recreate service",
                    )
                )
    return findings


async def _restore_addresses(
    objects: Objects, addresses: Addresses, services: list[Object]
) -> list[Finding]:
    findings = []
    for service in services:
        metadata = service["metadata"]
        for address in addresses_of(service):
            owner = addresses.owner(address)
            if owner == (metadata["namespace"], metadata["name"]):
                continue
            where = f"Cluster IP [{address}]"
            if owner is not None:
                findings.append(
                    Finding(
                        service,
                        "ClusterIPAlreadyAllocated",
                        f"{where} was assigned to multiple services; please recreate service",
                    )
                )
                continue
            try:
                await addresses.take(address, service)
                reason, message = "ClusterIPNotAllocated", f"{where} is not allocated; repairing"
            except (addressing.OutOfRange, addressing.Taken):
                reason = "ClusterIPOutOfRange"
                message = (
                    f"{where} is not within any configured Service CIDR; please recreate service"
                )
            findings.append(Finding(service, reason, message))
    return findings


async def _drop_orphans(objects: Objects, services: list[Object]) -> None:
    """An address whose Service died with the server before it could be given back."""
    held = {
        (one["metadata"]["namespace"], one["metadata"]["name"], address)
        for one in services
        for address in addresses_of(one)
    }
    for found in objects.list(ADDRESSES):
        metadata, reference = found["metadata"], found.get("spec", {}).get("parentRef") or {}
        if (metadata.get("labels") or {}).get(MANAGED_LABEL) != MANAGER:
            continue
        key = (reference.get("namespace", ""), reference.get("name", ""), metadata["name"])
        if key not in held:
            log.info("IPAddress without its Service removed", address=metadata["name"])
            await objects.delete(ADDRESSES, metadata["name"])


async def _tell(objects: Objects, finding: Finding, now: float) -> None:
    metadata = finding.service["metadata"]
    log.warning(finding.reason, service=f"{metadata['namespace']}/{metadata['name']}")
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}",
            "namespace": metadata["namespace"],
        },
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Service",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata.get("uid", ""),
        },
        "reason": finding.reason,
        "message": finding.message,
        "type": "Warning",
        "count": 1,
        "source": {"component": "ipallocator-repair-controller"},
        "firstTimestamp": text(now),
        "lastTimestamp": text(now),
    }
    try:
        await objects.create("events", event)
    except ApiError as error:
        log.warning("Event not written", reason=finding.reason, error=error)


def _age(service: Object) -> tuple[str, str, str]:
    metadata = service["metadata"]
    return str(metadata.get("creationTimestamp", "")), metadata["namespace"], metadata["name"]
