"""`reach` on a cluster that is not a lab: a Job per source, and this machine as the vantage outside.

    nodes ──► topology ──► World ──► sources: pod@NODE, node/NODE (hostNetwork), local
                                         │
              Job per source ──► log ──► attempts ──► cells      (jobs.py makes and reads, this module acts)

Nothing tells who answered: `backends` and `clientSeen` stay empty.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from todoku.aio import log as logs
from todoku.api.errors import ApiError, NotFound
from todoku.api.meta import Object
from todoku.client import Client, Unreachable
from todoku.reach import jobs, matrix
from todoku.reach.matrix import Wanted
from todoku.reach.observe import observe
from todoku.reach.outcome import Outcome
from todoku.reach.predict import predict
from todoku.reach.probe import Attempt, Tuple5
from todoku.reach.report import Cell
from todoku.reach.targets import Address, Source
from todoku.reach.witness import Answer
from todoku.reach.world import GatewayPolicy, Machine, World

log = logs.get(__name__)

LOCAL = "local"
_START_SECONDS = 60.0
_POLL_SECONDS = 0.2
_STUCK = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError",
     "CreateContainerError", "RunContainerError", "ErrImageNeverPull"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ForeignTopology:
    """What the API tells of the machines; satisfies `reach.observe.Topology`."""

    machines: Sequence[Machine]
    gateway: GatewayPolicy = "unknown"
    pod_cidr: str = ""
    service_cidrs: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Local:
    """This machine as a vantage: its own network, its own name servers."""

    name: str = LOCAL
    netns: str = ""
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()

    @classmethod
    def here(cls, path: Path = Path("/etc/resolv.conf")) -> Local:
        lines = path.read_text().splitlines() if path.exists() else []
        words = [line.split() for line in lines]
        servers = tuple(one[1] for one in words if len(one) > 1 and one[0] == "nameserver")
        search = [one[1:] for one in words if one and one[0] == "search"]
        return cls(nameservers=servers, search=tuple(search[-1]) if search else ())


def topology(nodes: Sequence[Object]) -> ForeignTopology:
    """Nodes with their InternalIP; a node that is not Ready counts as off.  This machine comes last."""
    machines = [
        Machine(node["metadata"]["name"], "node", address, _is_ready(node))
        for node in nodes
        if (address := _address_of(node))
    ]
    own = _own_address([one.address for one in machines])
    return ForeignTopology([*machines, Machine(LOCAL, "outside", own)])


def _address_of(node: Object) -> str:
    listed = (node.get("status") or {}).get("addresses") or ()
    return next((str(one["address"]) for one in listed if one.get("type") == "InternalIP"), "")


def _is_ready(node: Object) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _own_address(nodes: Sequence[str]) -> str:
    """The address by which this machine would talk to a node; connecting a UDP socket sends nothing."""
    for address in nodes:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            try:
                sock.connect((address, 9))
                return str(sock.getsockname()[0])
            except OSError:
                continue
    return "127.0.0.1"


async def look(client: Client) -> World:
    """One snapshot.  Raises Forbidden if what every run needs may not be read."""
    for needed in ("services", "pods", "endpointslices.discovery.k8s.io"):
        await client.list(needed)
    nodes = (await client.list("nodes")).items
    return await observe(client, topology(nodes))


def sources(world: World, *, nodes: bool) -> list[Source]:
    """A pod on each node, the nodes' own network if `nodes`, and this machine."""
    found = [Source(f"pod@{one.short}", "pod", one.name, "") for one in world.node_machines()]
    if nodes:
        found += [Source(one.short, "node", one.name, one.address) for one in world.node_machines()]
    local = world.by_name[LOCAL]
    return [*found, Source(LOCAL, "outside", LOCAL, local.address)]


@dataclass(slots=True)
class _Answers:
    """What one source's Job said: attempts by the address's index, or why there are none."""

    attempts: Mapping[int, Sequence[Attempt]] = field(default_factory=dict)
    unprobed: str = ""
    pod_ip: str = ""


class Asker:
    """Asks from Jobs and from this machine; `close` deletes what is left."""

    def __init__(self, client: Client, order: jobs.Order) -> None:
        self._client, self._order = client, order
        self._made: set[str] = set()
        self._number = 0

    async def ask(self, world: World, wanted: Sequence[Wanted]) -> list[Cell]:
        """All cells, every source at once."""
        local = [one for one in wanted if one.source.name == LOCAL]
        by_source: dict[Source, list[Wanted]] = {}
        for one in wanted:
            if one.source.name != LOCAL:
                by_source.setdefault(one.source, []).append(one)
        async with asyncio.TaskGroup() as tasks:
            here = tasks.create_task(_ask_locally(world, local), name="reach-local")
            there = [
                tasks.create_task(self._from(world, source, asked), name=f"reach-{source.name}")
                for source, asked in by_source.items()
            ]
        cells = [*here.result(), *(cell for task in there for cell in task.result())]
        known = {(cell.source, cell.address): cell for cell in cells}
        return [known[one.source, one.address] for one in wanted]

    async def _from(self, world: World, source: Source, wanted: Sequence[Wanted]) -> list[Cell]:
        addresses = [one.address for one in wanted]
        if not world.powered(source.machine):
            said = _Answers(unprobed=f"node {source.machine} is not Ready")
        else:
            effort = [one.effort for one in wanted]
            order = replace(
                self._order,
                requests=max(one.requests for one in effort),
                timeout_seconds=max(1, round(max(one.timeout_seconds for one in effort))),
            )
            self._number += 1
            said = await self._run(jobs.job(order, source, addresses, number=self._number), order)
        asked = replace(source, address=said.pod_ip) if said.pod_ip else source
        return [
            _cell(world, source, asked, address, i, said) for i, address in enumerate(addresses)
        ]

    async def _run(self, job: Object, order: jobs.Order) -> _Answers:
        """Create the Job, wait for its pod, read its log, delete it."""
        name = job["metadata"]["name"]
        try:
            self._made.add(name)
            await self._client.create("jobs.batch", job)
            limit = _START_SECONDS + job["spec"]["activeDeadlineSeconds"]
            return await self._answers(job, time.monotonic() + limit, order)
        except ApiError as error:
            return _Answers(unprobed=f"its Job was refused: {error}")
        finally:
            await self._delete(name)

    async def _answers(self, job: Object, deadline: float, order: jobs.Order) -> _Answers:
        labels = ",".join(f"{key}={value}" for key, value in job["metadata"]["labels"].items())
        started = time.monotonic()
        why = "its pod was not created; `kubectl get events` tells why"
        while time.monotonic() < deadline:
            pods = (await self._client.list("pods", order.namespace, labels=labels)).items
            for pod in _of_job(pods, job):
                phase = (pod.get("status") or {}).get("phase", "Pending")
                ip = (pod.get("status") or {}).get("podIP", "")
                if phase in ("Succeeded", "Failed"):
                    log_text = await self._log(pod)
                    if not jobs.finished(log_text):
                        return _Answers(unprobed=f"its pod {phase}: {_last_line(log_text)}")
                    return _Answers(jobs.answers(log_text), pod_ip=ip)
                why = _waiting(pod) or f"its pod is {phase}"
                if why.split(":")[0] in _STUCK:
                    return _Answers(unprobed=why)
                if phase == "Running":
                    started = time.monotonic()
            if time.monotonic() - started > _START_SECONDS:
                break
            await asyncio.sleep(_POLL_SECONDS)
        return _Answers(unprobed=why)

    async def _log(self, pod: Object) -> str:
        metadata = pod["metadata"]
        target = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/log"
        async with self._client.raw("GET", target) as response:
            body = await response.read()
        return body.decode("utf-8", "replace")

    async def _delete(self, name: str) -> None:
        try:
            await self._client.delete(
                "jobs.batch", name, self._order.namespace,
                propagation="Background", grace_period_seconds=0,
            )  # fmt: skip
        except NotFound:
            pass
        except (ApiError, Unreachable, OSError) as error:
            log.warning("Job not deleted; it deletes itself", job=name, error=error)
            return
        self._made.discard(name)


def _of_job(pods: Iterable[Object], job: Object) -> list[Object]:
    name = job["metadata"]["name"]
    return [
        pod
        for pod in pods
        if any(one.get("name") == name for one in pod["metadata"].get("ownerReferences") or ())
    ]


def _waiting(pod: Object) -> str:
    """Why a pod's container does not run: `ErrImagePull: …`."""
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        waiting = (status.get("state") or {}).get("waiting")
        if waiting:
            return f"{waiting.get('reason', 'waiting')}: {waiting.get('message', '')}"
    return ""


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _cell(
    world: World, source: Source, asked: Source, address: Address, index: int, said: _Answers
) -> Cell:
    prediction = predict(world, asked, address)
    if address.missing is not None:
        return Cell(source, address, prediction)
    attempts = [one for one in said.attempts.get(index, ()) if one.outcome is not Outcome.UNKNOWN]
    unprobed = said.unprobed
    if not attempts and not unprobed:
        udp = address.protocol == "UDP"
        unprobed = "the image has no tool that asks over UDP" if udp else "its Job gave no answer"
    return Cell(source, address, prediction, attempts, unprobed="" if attempts else unprobed)


class _Nobody:
    """No conntrack to look into."""

    async def look(self, attempts: Sequence[Tuple5]) -> Mapping[Tuple5, Answer]:
        return {}


async def _ask_locally(world: World, wanted: Sequence[Wanted]) -> list[Cell]:
    if not wanted:
        return []
    return await matrix.ask(world, wanted, vantages={LOCAL: Local.here()}, witnesses=_Nobody())


async def missing_access(client: Client, namespace: str) -> list[tuple[str, str, str, str]]:
    """What a run needs and we may not do, by SelfSubjectAccessReview."""
    needed = jobs.needed_access(namespace)
    allowed = await asyncio.gather(*(_may(client, one) for one in needed))
    return [one for one, may in zip(needed, allowed, strict=True) if not may]


async def _may(client: Client, access: tuple[str, str, str, str]) -> bool:
    verb, group, resource, namespace = access
    resource, _, subresource = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": resource, "subresource": subresource}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "metadata": {},
        "spec": {"resourceAttributes": {**attributes, "namespace": namespace}},
    }
    answer = await client.create("selfsubjectaccessreviews.authorization.k8s.io", review)
    return bool((answer.get("status") or {}).get("allowed"))


async def cleanup(client: Client, namespace: str | None) -> list[str]:
    """Delete the Jobs that runs left, in one namespace or all; their names."""
    found = (await client.list("jobs.batch", namespace, labels=jobs.RUN_LABEL)).items
    for job in found:
        metadata = job["metadata"]
        await client.delete(
            "jobs.batch", metadata["name"], metadata["namespace"], propagation="Background"
        )
    return [f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in found]
