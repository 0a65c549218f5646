"""The Node object and its Lease: what this node is, and the sign that it lives."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import todoku
from todoku.aio import Clock
from todoku.aio import log as logs
from todoku.api import errors, times
from todoku.api.images import Image, ImageError, parse
from todoku.api.meta import Object, copy
from todoku.client import Client, EventRecorder, Unreachable
from todoku.kubelet.config import KubeletConfig
from todoku.kubelet.images import ImageService
from todoku.linux.containers import Tools

log = logs.get(__name__)

_LEASES = "kube-node-lease"


class NodeReporter:
    """Registers the node, keeps its status fresh, and renews its lease."""

    def __init__(
        self,
        config: KubeletConfig,
        client: Client,
        clock: Clock,
        tools: Tools,
        events: EventRecorder,
        images: ImageService,
    ) -> None:
        self._config = config
        self._images = images
        self._client = client
        self._clock = clock
        self._tools = tools
        self._events = events
        self.capacity = capacity(config)
        self.registered = asyncio.Event()
        self.problem = ""  # why the node is not Ready; "" when it is
        self._changed = asyncio.Event()
        self._uid = ""
        self._told: dict[str, str] = {}  # what the Events have said so far

    async def run(self) -> None:
        """Register, then report until cancelled."""
        await self._persist(self._register)
        self.registered.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew(), name="node-lease")
            tasks.create_task(self._report(), name="node-status")

    def report_soon(self, problem: str) -> None:
        """The node's readiness changed: `problem` is "" or why it is not Ready."""
        if problem != self.problem:
            self.problem = problem
            self._changed.set()

    async def shut_down(self) -> None:
        """Tell that the node stops in good order (best effort, within a second)."""
        self.problem = "node is shutting down"
        try:
            async with asyncio.timeout(1.0):
                await self._write_status()
        except (TimeoutError, errors.ApiError, Unreachable) as error:
            log.info("Shutdown not told", why=error)

    async def _persist(self, work: Any) -> None:
        while True:
            try:
                await work()
                return
            except (errors.ApiError, Unreachable) as error:
                log.info("API server not ready for the node", why=error)
                await self._clock.sleep(0.1)

    async def _register(self) -> None:
        config = self._config
        node = node_object(config, self.capacity, self._tools, self._clock.now())
        if not self._told:
            self._events.event(self._reference(), "Normal", "Starting", "Starting kubelet.")
        try:
            node = await self._client.create("nodes", node)
        except errors.AlreadyExists:
            present = await self._client.get("nodes", config.node_name)
            self._uid = present["metadata"]["uid"]
            labels = {**node["metadata"]["labels"]}
            await self._client.patch(
                "nodes", config.node_name, "", {"metadata": {"labels": labels}}
            )
            await self._write_status()
        else:
            self._uid = node["metadata"]["uid"]
            await self._write_status()
        await self._register_drivers()
        log.info("Node registered", node=config.node_name)

    async def _register_drivers(self) -> None:
        """The CSINode: which storage drivers the node has, none to begin with."""
        node = {"metadata": self._owned(), "spec": {"drivers": []}}
        try:
            await self._client.create("csinodes.storage.k8s.io", node)
        except errors.AlreadyExists:
            pass  # drivers that registered since are in it

    def _owned(self) -> Object:
        """The metadata of an object that has the node's name and goes with it."""
        name = self._config.node_name
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": self._uid}
        return {"name": name, "ownerReferences": [owner]}

    def _reference(self) -> Object:
        name = self._config.node_name
        return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": name}}

    async def _report(self) -> None:
        while True:
            self._changed.clear()
            try:
                async with asyncio.timeout(self._config.timings.node_status):
                    await self._changed.wait()
            except TimeoutError:
                pass
            try:
                await self._write_status()
            except errors.NotFound:
                # As upstream: a kubelet registers when it starts, so who deletes a node is rid of it.
                log.warning("The node was deleted", node=self._config.node_name)
            except (errors.ApiError, Unreachable) as error:
                log.info("Node status not written", why=error)

    async def _write_status(self) -> None:
        now = self._clock.now()
        node = await self._client.get("nodes", self._config.node_name)
        old = {one["type"]: one for one in (node.get("status") or {}).get("conditions", ())}
        status = node_status(self._config, self.capacity, self._tools)
        with contextlib.suppress(TimeoutError, ImageError):  # none: the last list stays
            async with asyncio.timeout(_IMAGES_SECONDS):
                status["images"] = image_list(await self._images.list())
        status["conditions"] = [
            _merge(one, old.get(one["type"]), now) for one in conditions(self.problem)
        ]
        foreign = [one for kind, one in old.items() if kind not in _CONDITIONS]
        status["conditions"] += foreign
        if copy(status) != {key: (node.get("status") or {}).get(key) for key in status}:
            body = {"status": status}
            await self._client.patch(
                "nodes", self._config.node_name, "", body, subresource="status"
            )
        self._tell(facts(status["conditions"], node.get("spec") or {}))

    def _tell(self, now: dict[str, str]) -> None:
        """Events for what has changed since the last ones."""
        for word in news(self._told, now):
            text = f"Node {self._config.node_name} status is now: {word}"
            self._events.event(self._reference(), "Normal", word, text)
        self._told = now

    async def _renew(self) -> None:
        while True:
            try:
                async with asyncio.timeout(max(self._config.timings.lease_renew, 1.0) * 2):
                    await self._renew_once()
            except (errors.ApiError, Unreachable, TimeoutError) as error:
                log.debug("Lease not renewed", why=error)
            await self._clock.sleep(self._config.timings.lease_renew)

    async def _renew_once(self) -> None:
        name = self._config.node_name
        spec = {
            "holderIdentity": name,
            "leaseDurationSeconds": self._config.timings.lease_duration,
            "renewTime": times.micro_text(self._clock.now()),
        }
        try:
            await self._client.patch("leases.coordination.k8s.io", name, _LEASES, {"spec": spec})
        except errors.NotFound:
            node = await self._client.get("nodes", name)  # none without a node, which would own it
            self._uid = node["metadata"]["uid"]
            lease = {"metadata": {**self._owned(), "namespace": _LEASES}, "spec": spec}
            await self._client.create("leases.coordination.k8s.io", lease)


_WORDS = {
    "MemoryPressure": {"False": "NodeHasSufficientMemory", "True": "NodeHasInsufficientMemory"},
    "DiskPressure": {"False": "NodeHasNoDiskPressure", "True": "NodeHasDiskPressure"},
    "PIDPressure": {"False": "NodeHasSufficientPID", "True": "NodeHasInsufficientPID"},
    "Ready": {"True": "NodeReady", "False": "NodeNotReady"},
    "Unschedulable": {"True": "NodeNotSchedulable", "False": "NodeSchedulable"},
}


def facts(conditions: Sequence[Object], spec: Object) -> dict[str, str]:
    """What Events tell of: the status of each own condition, and whether pods may come."""
    found = {one["type"]: one["status"] for one in conditions if one["type"] in _WORDS}
    return found | {"Unschedulable": str(bool(spec.get("unschedulable")))}


def news(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Reasons of the Events that lead from `before` to `now`; nobody is told that a new node takes pods."""
    known = {"Unschedulable": "False", **before}
    return [
        _WORDS[kind][now[kind]] for kind in _WORDS if kind in now and now[kind] != known.get(kind)
    ]


def capacity(config: KubeletConfig) -> dict[str, str]:
    """What the node has; pods may use all of it."""
    cpus = config.cpus or len(os.sched_getaffinity(0))
    memory = config.memory_bytes or _memory_bytes()
    disk = os.statvfs(config.host_root)
    return {
        "cpu": str(cpus),
        "ephemeral-storage": f"{disk.f_blocks * disk.f_frsize // 1024}Ki",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
        "memory": f"{memory // 1024}Ki",
        "pods": str(config.max_pods),
    }


def node_object(config: KubeletConfig, amounts: dict[str, str], tools: Tools, now: float) -> Object:
    """The Node as it registers itself."""
    arch = _architecture()
    labels = {
        "beta.kubernetes.io/arch": arch,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": arch,
        "kubernetes.io/hostname": config.node_name,
        "kubernetes.io/os": "linux",
        **config.labels,
    }
    status = node_status(config, amounts, tools)
    status["conditions"] = [_merge(one, None, now) for one in conditions("")]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": config.node_name,
            "labels": labels,
            "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        },
        "spec": {"taints": [dict(one) for one in config.taints]} if config.taints else {},
        "status": status,
    }


def node_status(config: KubeletConfig, amounts: dict[str, str], tools: Tools) -> Object:
    addresses = [{"type": "InternalIP", "address": ip} for ip in config.node_ips]
    return {
        "capacity": dict(amounts),
        "allocatable": dict(amounts),
        "addresses": [*addresses, {"type": "Hostname", "address": config.node_name}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": config.port}},
        "features": {"supplementalGroupsPolicy": True},  # Strict is obeyed
        "nodeInfo": {
            "machineID": _first_line("/etc/machine-id"),
            "systemUUID": _first_line("/sys/class/dmi/id/product_uuid")
            or _first_line("/etc/machine-id"),
            "bootID": _first_line("/proc/sys/kernel/random/boot_id"),
            "kernelVersion": platform.release(),
            "osImage": _os_image(),
            "containerRuntimeVersion": f"{tools.name}://{tools.version}",
            "kubeletVersion": todoku.KUBERNETES_VERSION,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": _architecture(),
        },
    }


def image_list(images: Iterable[Image]) -> list[Object]:
    """What status.images shows: the largest, each under all its names, those by digest first."""
    by_id: dict[str, list[Image]] = {}
    for image in images:
        by_id.setdefault(image.id, []).append(image)
    found = [(max(one.size_bytes for one in same), _image_names(same)) for same in by_id.values()]
    found.sort(key=lambda one: (-one[0], one[1]))
    return [{"names": names, "sizeBytes": size} for size, names in found[:_IMAGES_SHOWN]]


def _image_names(same: Sequence[Image]) -> list[str]:
    digests, tags = set(), set()
    for image in same:
        name = parse(image.reference)
        if image.digest:
            digests.add(f"{name.registry}/{name.repository}@{image.digest}")
        if not name.digest:
            tags.add(str(name))
    return [*sorted(digests), *sorted(tags)]


_IMAGES_SHOWN = 50  # nodeStatusMaxImages
_IMAGES_SECONDS = 2.0
_CONDITIONS = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")


def conditions(problem: str) -> list[Object]:
    """The node's conditions, as a real kubelet words them; `problem` says why it is not Ready."""
    found: list[Object] = [
        {
            "type": kind,
            "status": "False",
            "reason": f"KubeletHas{reason}",
            "message": f"kubelet has {message}",
        }
        for kind, reason, message in (
            ("MemoryPressure", "SufficientMemory", "sufficient memory available"),
            ("DiskPressure", "NoDiskPressure", "no disk pressure"),
            ("PIDPressure", "SufficientPID", "sufficient PID available"),
        )
    ]
    if problem:
        found.append(
            {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": problem}
        )
    else:
        found.append({"type": "Ready", "status": "True", "reason": "KubeletReady",
                      "message": "kubelet is posting ready status"})  # fmt: skip
    return found


def _merge(new: Object, old: Object | None, now: float) -> Object:
    moved = (
        old["lastTransitionTime"]
        if old is not None and old["status"] == new["status"]
        else times.text(now)
    )
    return {"type": new["type"], "status": new["status"], "lastHeartbeatTime": times.text(now),
            "lastTransitionTime": moved, "reason": new["reason"], "message": new["message"]}  # fmt: skip


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _os_image() -> str:
    for line in _read("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"


def _first_line(path: str) -> str:
    return _read(path).partition("\n")[0]


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
