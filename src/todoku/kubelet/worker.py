"""One pod: watch → observe → plan → act → status, in one task, until nothing of it is left.

The worker owns its `PodRecord`; others only tell it that something happened (`update`, `wake`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from dataclasses import replace

from todoku.aio import log as logs
from todoku.aio.threads import thread
from todoku.api import errors, times
from todoku.api.meta import Object
from todoku.client import Unreachable
from todoku.kubelet.context import Context
from todoku.kubelet.environment import Facts
from todoku.kubelet.lifecycle import Lifecycle, StartFailed
from todoku.kubelet.plan import Plan, plan
from todoku.kubelet.probing import Prober
from todoku.kubelet.records import (
    INIT,
    REGULAR,
    Container,
    PodRecord,
    State,
    restartable,
    spec_of,
)
from todoku.kubelet.resizing import Resizer
from todoku.kubelet.runner import Runner, pod_cgroup, pod_log_folder
from todoku.kubelet.setup import SandboxFailed, Setup, VolumeFailed
from todoku.kubelet.status import pod_status
from todoku.kubelet.waits import Waits

log = logs.get(__name__)


class PodWorker:
    """Runs one pod on this node."""

    def __init__(self, context: Context, runner: Runner, record: PodRecord) -> None:
        self.record = record
        self.done = False
        self._context = context
        self._runner = runner
        self._setup = Setup(context)
        self._lifecycle = Lifecycle(context, runner, record)
        self._waits = Waits(context, record, self._lifecycle)
        self._resizer = Resizer(context, record, self.wake)
        self._wanted = asyncio.Event()
        self._removed = False  # the API has no such pod any more
        self._step: asyncio.Task[None] | None = None
        self._wake_at: float | None = None
        self._prober: Prober | None = None
        self._grouped = False
        self._tasks: asyncio.TaskGroup | None = None
        self._missing: set[str] = set()
        self._cleaning: dict[str, asyncio.Task[None]] = {}

    @property
    def name(self) -> str:
        metadata = self.record.pod["metadata"]
        return f"{metadata['namespace']}/{metadata['name']}"

    def update(self, pod: Object) -> None:
        """The API has a newer object."""
        begins = bool(pod["metadata"].get("deletionTimestamp")) and not self._ending
        before = self._termination_grace()
        self.record.pod = self._resizer.wish(pod)
        if begins or (self._ending and self._termination_grace() < before):
            self._interrupt()
        self.wake()

    def remove(self) -> None:
        """The API has no such pod any more."""
        if self._removed:
            return
        hurry = self._ending  # somebody deleted it by force while it was ending
        self._removed = True
        if hurry:
            self.record.pod["metadata"]["deletionGracePeriodSeconds"] = 0
        self._interrupt()
        self.wake()

    def wake(self, *, objects: bool = False) -> None:
        """Something may have changed: look again."""
        if objects:
            self._waits.objects_changed()
        self._wanted.set()

    @property
    def _ending(self) -> bool:
        return self._removed or bool(self.record.pod["metadata"].get("deletionTimestamp"))

    def container_ended(self) -> None:
        """An exit file appeared."""
        self._observe()
        self.wake()

    def lost_containers(self) -> bool:
        """Whether a container's process is gone though nobody wrote its end (its monitor was killed)."""
        lost = [
            one
            for one in self.record.live()
            if one.running and not self._runner.alive(one) and not self._runner.ended(one)
        ]
        gone = [one for one in lost if one.id in self._missing]
        self._missing = {one.id for one in lost}
        for container in gone:
            self._runner.lost(container)
            self._note_end(container)
        return bool(gone)

    async def run(self) -> None:
        """Work until the pod is gone from this node."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._prober = Prober(
                tasks, self._runner, self._context.clock, self._probed, self._probe_event
            )
            self._adopt()
            while await self._one_step():
                await self._pause()
            self._prober.stop_all()

    async def _one_step(self) -> bool:
        """Look once and act; False when nothing is left to do."""
        self._wanted.clear()
        step = self._terminate() if self._ending else self._sync()
        self._step = asyncio.ensure_future(step)
        try:
            await self._step
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                self._step.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._step
                raise  # this worker is stopped
        except (errors.ApiError, Unreachable, VolumeFailed, SandboxFailed, OSError) as error:
            self._failed(error)
        except Exception:
            # One pod's trouble must not stop the others; it is tried again.
            log.exception("Pod sync failed", pod=self.name)
            self._wake_at = self._context.clock.now() + self._context.config.timings.retry
        finally:
            self._step = None
        return not self.done

    def _interrupt(self) -> None:
        """Give up what is being started: the pod is to end."""
        if self._step is not None:
            self._step.cancel()
        self._wake_at = None

    async def _pause(self) -> None:
        wake_at = self._wake_at
        self._wake_at = None
        if wake_at is None:
            await self._wanted.wait()
            return
        seconds = max(wake_at - self._context.clock.now(), 0.0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wanted.wait()

    # --- running ---

    async def _sync(self) -> None:
        record, context = self.record, self._context
        self._observe()
        self._check_deadline()
        await self._resize()
        alive = await self._sandbox_alive()
        decided = self._plan(alive)
        if decided.stop_pod:
            await self._finish(decided)
            return
        facts = await self._prepare(decided)
        if decided.new_sandbox:
            decided = self._plan(True)
        for kill in decided.kill:
            await self._restart_kill(kill.container, kill.message)
        for name in decided.backing_off:
            self._waits.explain(name)
        self._publish()
        for kind, spec in decided.start:
            if kind == REGULAR or record.sandbox is not None:
                # status.podIP is known only now
                facts = replace(facts, pod_ips=record.sandbox.ips if record.sandbox else ())
            await self._start(kind, spec, facts)
        self._wake_at = _earliest(self._wake_at, decided.wake_at, self._deadline_at())
        if decided.kill or decided.start:
            self._wanted.set()  # look again: the next init container, or what failed
        self._publish()
        context.store.save(record)

    async def _resize(self) -> None:
        again = self._resizer.step()
        if self.record.resizing or self.record.resize_pending:
            self._publish()
        for container in again:
            text = f"Container {container.name} resize requires restart"
            await self._restart_kill(container, text)
        if self.record.resize_error:
            self._wake_at = self._context.clock.now() + self._context.config.timings.retry

    def _plan(self, alive: bool) -> Plan:
        assert self._prober is not None
        return plan(
            self.record,
            now=self._context.clock.now(),
            sandbox_alive=alive,
            unhealthy=self._prober.unhealthy,
        )

    async def _prepare(self, decided: Plan) -> Facts:
        """Volumes and sandbox, side by side when both are new."""
        facts = await self._setup.facts(self.record)
        if not decided.new_sandbox:
            await self._fill_volumes(facts)
            return facts
        for container in self.record.live():
            await self._runner.kill_hard(container)
            self._runner.lost(container)
            self._clean_soon(container)
        if not self._grouped:
            self._setup.group(self.record)
            self._grouped = True
        volumes = asyncio.ensure_future(self._fill_volumes(facts))
        try:
            await self._new_sandbox()
            await volumes
        finally:
            volumes.cancel()
            await asyncio.gather(volumes, return_exceptions=True)
        return facts

    async def _fill_volumes(self, facts: Facts) -> None:
        try:
            await self._setup.volumes(self.record, facts)
        except VolumeFailed as error:
            self._event("Warning", "FailedMount", str(error))
            raise

    async def _new_sandbox(self) -> None:
        record = self.record
        old = record.sandbox
        if old is not None:
            self._event(
                "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created."
            )
            record.sandbox = None
            await self._setup.release(record.pod, old)
        record.sandbox_attempts += 1 if old is not None else 0
        try:
            record.sandbox = await self._setup.sandbox(record)
        except SandboxFailed as error:
            text = f"Failed to create pod sandbox: {error}"
            self._event("Warning", "FailedCreatePodSandBox", text)
            raise
        await self._shared_pid()
        self._context.store.save(record)
        self._publish()

    async def _shared_pid(self) -> None:
        """A PID namespace that all containers share needs a first process that reaps: the pause container."""
        if not self.record.spec.get("shareProcessNamespace") or self.record.spec.get("hostPID"):
            return
        assert self.record.sandbox is not None
        image = await self._context.images.ensure("registry.k8s.io/pause:3.10", "IfNotPresent")
        spec: Object = {"name": ".pause", "image": image.reference}
        facts = await self._setup.facts(self.record)
        pause = await self._runner.create(self.record, REGULAR, spec, image, facts, restarts=0)
        await self._runner.start(pause)
        self.record.sandbox.pid = pause.pid
        self.record.containers[".pause"] = [pause]

    async def _sandbox_alive(self) -> bool:
        sandbox = self.record.sandbox
        if sandbox is None:
            return False
        return await thread(self._context.sandboxes.alive, sandbox.id)

    async def _start(self, kind: str, spec: Object, facts: Facts) -> None:
        record, name = self.record, spec["name"]
        before = record.last(name)
        if before is not None and before.state is State.EXITED:
            self._waits.restarting(name)
        try:
            container = await self._lifecycle.start(kind, spec, facts)
        except StartFailed as failure:
            self._waits.not_started(name, failure)
            return
        container.resources = dict(spec.get("resources") or {})
        self._context.store.save(record)
        if not await self._lifecycle.post_start(container, kind, spec):
            await self._restart_kill(container, "FailedPostStartHook")
            return
        self._watch(container)
        if before is not None:
            self._forget_old(name)
        self._publish()

    async def _restart_kill(self, container: Container, message: str) -> None:
        """End a container that will be started again."""
        grace = self._grace(container)
        if self._prober is not None:
            self._prober.stop(container)
        await self._lifecycle.kill(container, message=message, grace_seconds=grace)
        self._observe()

    def _grace(self, container: Container) -> float:
        found = spec_of(self.record.pod, container.name)
        probe = (found[1].get("livenessProbe") or {}) if found else {}
        own = probe.get("terminationGracePeriodSeconds")
        default = self.record.spec.get("terminationGracePeriodSeconds")
        return float(own if own is not None else 30 if default is None else default)

    # --- observing ---

    def _observe(self) -> None:
        """Take note of containers that have ended."""
        for container in self.record.live():
            found = spec_of(self.record.pod, container.name)
            if self._runner.observe(self.record, container, found[1] if found else {}):
                self._note_end(container)

    def _note_end(self, container: Container) -> None:
        log.info(
            "Container ended", pod=self.name, container=container.name, code=container.exit_code
        )
        if self._prober is not None:
            self._prober.stop(container)
        self._lifecycle.ended.setdefault(container.id, asyncio.Event()).set()
        self._waits.ended(container)
        self._clean_soon(container)

    def _clean_soon(self, container: Container) -> None:
        """Unmount and delete in the background: the next container need not wait for it."""
        if self._tasks is not None and container.id not in self._cleaning:
            task = self._tasks.create_task(self._clean(container), name=f"clean-{container.name}")
            self._cleaning[container.id] = task

    async def _clean(self, container: Container) -> None:
        try:
            await self._runner.clean_up(container)
        except OSError as error:
            log.warning("Container left something behind", container=container.id[:12], error=error)
        finally:
            self._cleaning.pop(container.id, None)

    def _forget_old(self, name: str) -> None:
        """Keep the newest two attempts: their logs can still be read."""
        attempts = self.record.containers[name]
        for old in attempts[:-2]:
            with contextlib.suppress(OSError):
                os.unlink(old.log)
        del attempts[:-2]

    def _adopt(self) -> None:
        """After a restart: containers that run are taken over, those that vanished are written down."""
        for container in self.record.live():
            if container.name == ".pause":
                continue
            found = spec_of(self.record.pod, container.name)
            if self._runner.observe(self.record, container, found[1] if found else {}):
                self._note_end(container)
            elif not self._runner.alive(container) or container.state is State.CREATED:
                self._runner.lost(container)
                self._note_end(container)
            else:
                self._watch(container)

    def _watch(self, container: Container) -> None:
        found = spec_of(self.record.pod, container.name)
        if found is None or self._prober is None or not container.running:
            return
        kind, spec = found
        self._lifecycle.ended.setdefault(container.id, asyncio.Event())
        if kind == REGULAR or (kind == INIT and restartable(spec)):
            ips = self.record.sandbox.ips if self.record.sandbox else ()
            self._prober.watch(container, spec, ips)

    def _probed(self) -> None:
        self._publish()
        self.wake()

    def _probe_event(self, spec: Object, type: str, reason: str, message: str) -> None:
        found = spec_of(self.record.pod, spec["name"])
        self._lifecycle.event(found[0] if found else REGULAR, spec, type, reason, message)

    def _deadline_at(self) -> float | None:
        seconds = self.record.spec.get("activeDeadlineSeconds")
        start = (self.record.pod.get("status") or {}).get("startTime")
        if seconds is None or not start or self.record.failed:
            return None
        return float(times.parse(start) + seconds)

    def _check_deadline(self) -> None:
        deadline = self._deadline_at()
        if deadline is not None and deadline <= self._context.clock.now():
            text = "Pod was active on the node longer than the specified deadline"
            self.record.failed = ("DeadlineExceeded", text)
            self._event("Normal", "DeadlineExceeded", text)

    # --- ending ---

    async def _finish(self, decided: Plan) -> None:
        """All containers are done for good: sidecars end, the network goes, the status stays."""
        record = self.record
        for kill in decided.kill:
            if kill.container.name != ".pause":
                await self._restart_kill(kill.container, kill.message)
        self._observe()
        self._resizer.release()
        await self._drop_sandbox()
        self._publish()
        self._context.store.save(record)

    async def _terminate(self) -> None:
        """Delete the pod: end its containers, clean up, and let the API forget it."""
        record, context = self.record, self._context
        again, record.terminating = record.terminating, True
        grace = self._termination_grace()
        if self._prober is not None:
            for container in record.live():
                self._prober.stop(container)
        self._publish()
        await self._lifecycle.kill_all(grace, quiet=again)
        self._observe()
        record.terminated = True
        self._publish()
        await asyncio.gather(*self._cleaning.values())
        await asyncio.gather(self._drop_sandbox(), thread(context.volumes.tear_down, record.uid))
        await self._drop_group()
        if not self._removed:
            await context.statuses.settled(record.uid)
            await self._delete_from_api()
        await thread(shutil.rmtree, pod_log_folder(context.config.pod_logs, record.pod), True)
        context.statuses.forget(record.uid)
        context.objects.release(record.uid)
        context.tokens.release(record.uid)
        self._resizer.release()
        self.done = True
        log.info("Pod removed", pod=self.name)

    def _termination_grace(self) -> float:
        metadata = self.record.pod["metadata"]
        if "deletionGracePeriodSeconds" in metadata:
            return float(metadata["deletionGracePeriodSeconds"])
        seconds = self.record.spec.get("terminationGracePeriodSeconds")
        return float(30 if seconds is None else seconds)

    async def _drop_sandbox(self) -> None:
        sandbox = self.record.sandbox
        if sandbox is None:
            return
        for pause in self.record.containers.pop(".pause", []):
            await self._runner.kill_hard(pause)
            await self._runner.clean_up(pause)
        await self._setup.release(self.record.pod, sandbox)
        self.record.sandbox = None

    async def _drop_group(self) -> None:
        group = pod_cgroup(self._context.config.cgroup_parent, self.record.pod)
        if group:
            await thread(self._context.cgroups.delete, group)

    async def _delete_from_api(self) -> None:
        metadata = self.record.pod["metadata"]
        with contextlib.suppress(errors.NotFound, errors.Conflict):
            await self._context.client.delete(
                "pods",
                metadata["name"],
                metadata["namespace"],
                grace_period_seconds=0,
                uid=metadata["uid"],
            )

    # --- telling ---

    def _failed(self, error: Exception) -> None:
        """A step failed with a reason that users have been told; try again soon."""
        note = log.info if isinstance(error, VolumeFailed | SandboxFailed) else log.warning
        note("Pod waits", pod=self.name, why=error)
        will_be_told = isinstance(error, VolumeFailed) and error.waits
        seconds = 30.0 if will_be_told else self._context.config.timings.retry
        self._wake_at = self._context.clock.now() + seconds
        self._publish()

    def _publish(self) -> None:
        if self._removed:
            return
        status = pod_status(
            self.record,
            now=self._context.clock.now(),
            host_ips=self._context.config.node_ips,
            runtime=self._context.runtime_name,
            sandbox_alive=self.record.sandbox is not None,
        )
        self._context.statuses.set(self.record.pod, status)

    def _event(self, type: str, reason: str, message: str) -> None:
        self._context.events.event(self.record.pod, type, reason, message)


def _earliest(*times_given: float | None) -> float | None:
    return min((one for one in times_given if one is not None), default=None)
