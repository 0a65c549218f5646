"""Liveness, readiness and startup probes: when to look (pure) and how (at the edge).

Semantics: upstream's prober/worker.go.  Liveness and readiness wait for the startup probe.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import aiohttp

from todoku.api.meta import Object
from todoku.kubelet.grpchealth import check as grpc_check

LIVENESS, READINESS, STARTUP = "liveness", "readiness", "startup"
_FIELDS = {LIVENESS: "livenessProbe", READINESS: "readinessProbe", STARTUP: "startupProbe"}
_BODY_LIMIT = 10 * 1024

Exec = Callable[[list[str], float], Awaitable[tuple[int, str]]]


class Verdict(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A probe's numbers, in seconds and counts."""

    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3

    @classmethod
    def of(cls, probe: Object) -> Schedule:
        return cls(
            initial_delay=probe.get("initialDelaySeconds") or 0,
            period=probe.get("periodSeconds") or 10,
            timeout=probe.get("timeoutSeconds") or 1,
            success_threshold=probe.get("successThreshold") or 1,
            failure_threshold=probe.get("failureThreshold") or 3,
        )


@dataclass(slots=True)
class Tally:
    """Counts equal verdicts in a row; a change of mind needs as many as the threshold says."""

    schedule: Schedule
    settled: Verdict
    last: Verdict | None = None
    run: int = 0

    def add(self, verdict: Verdict) -> bool:
        """Take one verdict; True if the settled one changed (or, on failure, was reached again)."""
        self.run = self.run + 1 if verdict is self.last else 1
        self.last = verdict
        good = verdict is Verdict.SUCCESS
        threshold = self.schedule.success_threshold if good else self.schedule.failure_threshold
        if self.run < threshold:
            return False
        changed = self.settled is not verdict
        self.settled = verdict
        return changed


def probe_of(spec: Object, kind: str) -> Object | None:
    found: Object | None = spec.get(_FIELDS[kind])
    return found


def kinds(spec: Object) -> list[str]:
    """The probes that a container has."""
    return [kind for kind in _FIELDS if spec.get(_FIELDS[kind])]


@dataclass(frozen=True, slots=True)
class Target:
    """Where probes go: the pod's address, the container's named ports and a way to run commands in it."""

    host: str
    ports: Mapping[str, int]
    run: Exec

    def port(self, given: int | str) -> int:
        """Raises ValueError for a name that no port has."""
        if isinstance(given, int):
            return given
        if given in self.ports:
            return self.ports[given]
        if given.isdecimal():
            return int(given)
        raise ValueError(f"couldn't find port: {given}")


def named_ports(spec: Object) -> dict[str, int]:
    return {
        port["name"]: port["containerPort"] for port in spec.get("ports") or () if port.get("name")
    }


async def look(probe: Object, target: Target) -> tuple[Verdict, str]:
    """Probe once; the verdict and what the event says about a failure.  Never raises but CancelledError."""
    timeout = Schedule.of(probe).timeout
    try:
        if probe.get("exec"):
            return await _exec(probe["exec"].get("command") or [], target, timeout)
        async with asyncio.timeout(timeout):
            if probe.get("httpGet"):
                return await _http(probe["httpGet"], target, timeout)
            if probe.get("tcpSocket"):
                return await _tcp(probe["tcpSocket"], target)
            if probe.get("grpc"):
                grpc = probe["grpc"]
                serving, text = await grpc_check(
                    target.host, grpc["port"], grpc.get("service") or ""
                )
                return (Verdict.SUCCESS if serving else Verdict.FAILURE), text
        return Verdict.SUCCESS, ""
    except TimeoutError:
        return Verdict.FAILURE, f"{_where(probe, target)}: context deadline exceeded"
    except (OSError, aiohttp.ClientError) as error:
        return Verdict.FAILURE, f"{_where(probe, target)}: {_reason(error)}"
    except ValueError as error:
        return Verdict.UNKNOWN, str(error)


async def _exec(command: list[str], target: Target, timeout: float) -> tuple[Verdict, str]:
    try:
        status, output = await target.run(command, timeout)
    except TimeoutError:
        text = f'command "{" ".join(command)}" timed out'
        return Verdict.FAILURE, text
    return (Verdict.SUCCESS if status == 0 else Verdict.FAILURE), output


async def _http(get: Object, target: Target, timeout: float) -> tuple[Verdict, str]:
    url, headers = http_request(get, target)
    limits = aiohttp.ClientTimeout(total=timeout)
    connector = aiohttp.TCPConnector(ssl=False, force_close=True)
    # A fresh connection per probe, as upstream: a kept one could hide that nobody listens any more.
    async with (
        aiohttp.ClientSession(
            connector=connector, timeout=limits, auto_decompress=False
        ) as session,
        session.get(url, headers=headers, allow_redirects=True, max_redirects=10) as response,
    ):
        with contextlib.suppress(aiohttp.ClientPayloadError):
            await response.content.read(_BODY_LIMIT)
        if 200 <= response.status < 400:
            return Verdict.SUCCESS, ""
        return Verdict.FAILURE, f"HTTP probe failed with statuscode: {response.status}"


def http_request(get: Object, target: Target) -> tuple[str, dict[str, str]]:
    """The URL and headers of an httpGet action."""
    scheme = (get.get("scheme") or "HTTP").lower()
    host = get.get("host") or target.host
    port = target.port(get["port"])
    path = get.get("path") or "/"
    path = path if path.startswith("/") else f"/{path}"
    headers = {"User-Agent": "kube-probe/1.36", "Accept": "*/*"}
    for header in get.get("httpHeaders") or ():
        headers[header["name"]] = header.get("value") or ""
    bracketed = f"[{host}]" if ":" in host else host
    return f"{scheme}://{bracketed}:{port}{path}", headers


async def _tcp(action: Object, target: Target) -> tuple[Verdict, str]:
    host = action.get("host") or target.host
    _, writer = await asyncio.open_connection(host, target.port(action["port"]))
    writer.close()
    return Verdict.SUCCESS, ""


def _where(probe: Object, target: Target) -> str:
    """As Go's net/http and net name what they tried."""
    if probe.get("httpGet"):
        with contextlib.suppress(ValueError):
            return f'Get "{http_request(probe["httpGet"], target)[0]}"'
    if probe.get("tcpSocket"):
        with contextlib.suppress(ValueError):
            return f"dial tcp {target.host}:{target.port(probe['tcpSocket']['port'])}"
    return "probe"


def _reason(error: Exception) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ConnectionRefusedError):
        return "connect: connection refused"
    if isinstance(cause, OSError) and cause.strerror:
        return f"connect: {cause.strerror.lower()}"
    return str(error) or type(error).__name__
