"""The kubelet: watches the pods of its node, gives each a worker, reports the node, serves :10250."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from todoku.aio import Clock, SystemClock
from todoku.aio import log as logs
from todoku.api.meta import Key, Object, key_of
from todoku.client import Client, EventRecorder, InformerFactory, WatchEvent
from todoku.kubelet import logs as containerlogs
from todoku.kubelet import security
from todoku.kubelet.config import KubeletConfig
from todoku.kubelet.context import Context
from todoku.kubelet.execs import ContainerBackend
from todoku.kubelet.images import ImageService
from todoku.kubelet.network import PodNetwork
from todoku.kubelet.node import NodeReporter, capacity
from todoku.kubelet.records import PodRecord
from todoku.kubelet.runner import Runner
from todoku.kubelet.sandbox import Sandboxes
from todoku.kubelet.server import KubeletServer
from todoku.kubelet.sources import Objects, Tokens
from todoku.kubelet.statuses import StatusWriter
from todoku.kubelet.store import PodStore
from todoku.kubelet.volumes import Volumes
from todoku.kubelet.worker import PodWorker
from todoku.linux.cgroups import Cgroups
from todoku.linux.containers import Containers, find_tools
from todoku.linux.inotify import Watch

log = logs.get(__name__)


class Kubelet:
    """One node's agent for pods; see README.md beside this file.

    `run` returns only by cancellation or an error; containers go on without it, and the next `run` adopts
    them.  `informers` may be shared with other rooms of the process; somebody else then runs them.
    """

    def __init__(
        self,
        config: KubeletConfig,
        client: Client,
        images: ImageService,
        network: PodNetwork,
        *,
        informers: InformerFactory | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.config = config
        self._client = client
        self._images = images
        self._network = network
        self._own_informers = informers is None
        self._informers = informers or InformerFactory(client)
        self._clock = clock or SystemClock()
        self._workers: dict[str, PodWorker] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._adopted: dict[str, PodRecord] = {}

    async def run(self) -> None:
        """Register the node and work until cancelled."""
        context = await self._build()
        runner = Runner(context)
        pods = self._informers.informer("pods", fields=f"spec.nodeName={self.config.node_name}")
        self._services = self._informers.informer("services")
        reporter = NodeReporter(
            self.config,
            self._client,
            self._clock,
            context.containers.tools,
            context.events,
            self._images,
        )
        backend = ContainerBackend(context.containers, runner, self.record)
        server = KubeletServer(self.config, backend, self, context)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                if self._own_informers:
                    tasks.create_task(self._informers.run(), name="kubelet-informers")
                tasks.create_task(context.events.run(), name="kubelet-events")
                tasks.create_task(context.statuses.run(), name="kubelet-statuses")
                tasks.create_task(server.run(), name="kubelet-server")
                tasks.create_task(reporter.run(), name="kubelet-node")
                with Watch(str(context.containers.exits), self._exited):
                    await self._services.synced()
                    await pods.synced()
                    self._adopt(context, runner, pods.list())
                    pods.subscribe(lambda event: self._told(context, runner, event))
                    await self._housekeeping(context)
        finally:
            self._tasks = None

    def record(self, key: Key) -> PodRecord | None:
        """What is known of a pod of this node."""
        return next(
            (one.record for one in self._workers.values() if key_of(one.record.pod) == key), None
        )

    def records(self) -> Sequence[PodRecord]:
        return [worker.record for worker in self._workers.values()]

    async def _build(self) -> Context:
        config = self.config
        prefer = (config.runtime,) if config.runtime else ("crun", "runc")
        tools = await find_tools(prefer=prefer, own_mounts=config.own_mounts)
        cgroups = Cgroups()
        log.info(
            "Runtime chosen",
            runtime=tools.name,
            version=tools.version,
            cgroups=cgroups.version or "none",
        )
        if config.cgroup_parent:
            await asyncio.to_thread(cgroups.create, config.cgroup_parent)
        for path in (config.root_dir, config.host_root, config.run_dir, config.pod_logs):
            path.mkdir(parents=True, exist_ok=True)
        return Context(
            config=config,
            clock=self._clock,
            client=self._client,
            images=self._images,
            network=self._network,
            containers=Containers(tools, config.run_dir / "containers"),
            sandboxes=Sandboxes(config.run_dir / "sandboxes"),
            volumes=Volumes(config.root_dir, config.host_root),
            cgroups=cgroups,
            objects=Objects(self._informers, self._object_changed),
            tokens=Tokens(self._client, self._clock),
            store=PodStore(config.root_dir),
            events=EventRecorder(self._client, component="kubelet", host=config.node_name),
            statuses=StatusWriter(self._client),
            services=lambda: self._services.list(),
            allocatable=capacity(config),
            bounding=_bounding(),
            memory_bytes=config.memory_bytes
            or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        )

    # --- pods come and go ---

    def _adopt(self, context: Context, runner: Runner, pods: Sequence[Object]) -> None:
        """Take over what ran before; what the API no longer has is ended."""
        wanted = {pod["metadata"]["uid"] for pod in pods}
        standing = set(context.sandboxes.known())
        for record in context.store.load():
            if record.sandbox is not None and record.sandbox.id not in standing:
                record.delays.clear()  # the machine went down: nothing crashed, nothing has to wait
            if record.uid in wanted:
                self._adopted[record.uid] = record
            else:
                log.info(
                    "Pod of an earlier run is not wanted any more", pod=str(key_of(record.pod))
                )
                worker = self._start(context, runner, record)
                worker.remove()
        for uid in context.store.folders():
            if uid not in wanted and uid not in self._workers:
                context.volumes.tear_down(uid)
        self._sweep(context, runner)

    def _sweep(self, context: Context, runner: Runner) -> None:
        """Remove what was half made when an earlier run was killed, and stands in no record."""
        assert self._tasks is not None
        records = [*self._adopted.values(), *self.records()]
        sandboxes = {record.sandbox.id for record in records if record.sandbox}
        for identity in context.sandboxes.known():
            if identity not in sandboxes:
                context.sandboxes.remove(identity)
        containers = {one.id for record in records for one in record.every()}
        for identity in runner.known() - containers:
            log.info("Container without a record removed", container=identity[:12])
            self._tasks.create_task(runner.clean_up_id(identity), name=f"sweep-{identity[:12]}")

    def _told(self, context: Context, runner: Runner, event: WatchEvent) -> None:
        pod = event.object
        uid = pod["metadata"]["uid"]
        worker = self._workers.get(uid)
        if event.type == "DELETED":
            if worker is not None:
                worker.remove()
            return
        if worker is not None:
            worker.update(pod)
            return
        record = self._adopted.pop(uid, None)
        if record is None:
            if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed") and not pod[
                "metadata"
            ].get("deletionTimestamp"):
                return  # it was done before we knew it
            record = PodRecord(pod)
        record.pod = pod
        self._start(context, runner, record)

    def _start(self, context: Context, runner: Runner, record: PodRecord) -> PodWorker:
        assert self._tasks is not None
        worker = PodWorker(context, runner, record)
        self._workers[record.uid] = worker
        worker.wake()
        self._tasks.create_task(self._work(worker, record.uid), name=f"pod-{worker.name}")
        return worker

    async def _work(self, worker: PodWorker, uid: str) -> None:
        try:
            await worker.run()
        finally:
            self._workers.pop(uid, None)

    def _object_changed(self, uid: str) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            worker.wake(objects=True)

    def _exited(self, container: str) -> None:
        for worker in list(self._workers.values()):
            if not container or any(one.id == container for one in worker.record.live()):
                worker.container_ended()

    async def _housekeeping(self, context: Context) -> None:
        """What no event tells of: tokens that age, logs that grow, monitors that were killed."""
        while True:
            await self._clock.sleep(self.config.timings.housekeeping)
            for uid, worker in list(self._workers.items()):
                if context.tokens.due(uid) or worker.lost_containers():
                    worker.wake()
                for container in worker.record.live():
                    if container.log and _grown(container.log, self.config.log_limit_bytes):
                        await self._rotate(context, container.id, container.log)

    async def _rotate(self, context: Context, container: str, path: str) -> None:
        stamp = str(int(self._clock.now()))
        if containerlogs.rotate(
            Path(path),
            limit_bytes=self.config.log_limit_bytes,
            files=self.config.log_files,
            stamp=stamp,
        ):
            with contextlib.suppress(OSError):
                await context.containers.reopen_log(container)


def _grown(path: str, limit_bytes: int) -> bool:
    try:
        return os.stat(path).st_size > limit_bytes
    except FileNotFoundError:
        return False


def _bounding() -> tuple[str, ...]:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("CapBnd:"):
                return security.bounding_set(int(line.split()[1], 16))
    return security.ALL_CAPABILITIES
