"""Starting and ending the containers of one pod, with hooks and the events that users read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from todoku.aio import log as logs
from todoku.api.images import Image, ImageError
from todoku.api.meta import Object
from todoku.kubelet import probes
from todoku.kubelet.context import Context
from todoku.kubelet.environment import ConfigError, Facts
from todoku.kubelet.payload import secret_data
from todoku.kubelet.probes import Target, Verdict
from todoku.kubelet.pullsecrets import credentials
from todoku.kubelet.records import (
    INIT,
    Container,
    PodRecord,
    State,
    restartable,
    spec_of,
    specs,
)
from todoku.kubelet.runner import Runner, elapsed
from todoku.linux.containers import RuntimeFailed

log = logs.get(__name__)

_PULL_NOTICE_SECONDS = 0.25
_MINIMUM_GRACE_SECONDS = 2.0
_FIELD = {"init": "initContainers", "regular": "containers", "ephemeral": "ephemeralContainers"}


class StartFailed(Exception):
    """Why a container is not running: the waiting reason and message of its status."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Lifecycle:
    """Acts for one pod; `ended` holds an event per container, set when its end was seen."""

    def __init__(self, context: Context, runner: Runner, record: PodRecord) -> None:
        self._context = context
        self._runner = runner
        self._record = record
        self.ended: dict[str, asyncio.Event] = {}

    def event(self, kind: str, spec: Object, type: str, reason: str, message: str) -> None:
        path = f"spec.{_FIELD[kind]}{{{spec['name']}}}"
        self._context.events.event(self._record.pod, type, reason, message, field_path=path)

    async def start(self, kind: str, spec: Object, facts: Facts) -> Container:
        """Pull, create and start one container.  Raises StartFailed."""
        image = await self._image(kind, spec)
        before = self._record.last(spec["name"])
        restarts = before.restarts + 1 if before is not None else 0
        try:
            container = await self._runner.create(
                self._record, kind, spec, image, facts, restarts=restarts
            )
        except ConfigError as error:
            self.event(kind, spec, "Warning", "Failed", f"Error: {error}")
            raise StartFailed("CreateContainerConfigError", str(error)) from error
        except (RuntimeFailed, OSError) as error:
            self.event(kind, spec, "Warning", "Failed", f"Error: {error}")
            raise StartFailed("CreateContainerError", str(error)) from error
        self.ended[container.id] = asyncio.Event()
        self.event(kind, spec, "Normal", "Created", "Container created")
        attempts = self._record.containers.setdefault(spec["name"], [])
        attempts.append(container)
        try:
            await self._runner.start(container)
        except RuntimeFailed as error:
            await self._not_started(container, kind, spec, str(error))
        self._record.waiting.pop(spec["name"], None)
        self.event(kind, spec, "Normal", "Started", "Container started")
        return container

    async def post_start(self, container: Container, kind: str, spec: Object) -> bool:
        """Run the postStart hook; False if it failed, and the container must go."""
        hook = (spec.get("lifecycle") or {}).get("postStart")
        if not hook:
            return True
        text = await self._hook(hook, container, spec, timeout_seconds=None)
        if text is None:
            return True
        self.event(kind, spec, "Warning", "FailedPostStartHook", f"PostStartHook failed: {text}")
        return False

    async def kill(self, container: Container, *, message: str, grace_seconds: float) -> None:
        """preStop, stop signal, grace, SIGKILL; returns when the container has ended."""
        found = spec_of(self._record.pod, container.name)
        kind, spec = found if found else (container.kind, {"name": container.name})
        if message:
            self.event(kind, spec, "Normal", "Killing", message)
        deadline = time.monotonic() + grace_seconds
        if container.state is State.CREATED:
            deadline = time.monotonic()
        elif grace_seconds > 0:
            await self._pre_stop(container, kind, spec, grace_seconds)
            remaining = max(deadline - time.monotonic(), _MINIMUM_GRACE_SECONDS)
            self._runner.signal(container, self._runner.stop_signal(container, spec))
            if await self._wait(container, remaining):
                return
        await self._runner.kill_hard(container)
        if not await self._wait(container, 10.0):
            log.error("Container did not end after SIGKILL", container=container.id[:12])
            await self._runner.clean_up(container)
            self._runner.lost(container)

    async def _wait(self, container: Container, seconds: float) -> bool:
        """Wait for the end of a container; whether it came."""
        ended = self.ended.setdefault(container.id, asyncio.Event())
        if container.state is State.EXITED:
            return True
        try:
            async with asyncio.timeout(seconds):
                await ended.wait()
        except TimeoutError:
            return False
        return True

    async def _pre_stop(
        self, container: Container, kind: str, spec: Object, seconds: float
    ) -> None:
        hook = (spec.get("lifecycle") or {}).get("preStop")
        if not hook or not container.running:
            return
        text = await self._hook(hook, container, spec, timeout_seconds=seconds)
        if text is not None:
            self.event(kind, spec, "Warning", "FailedPreStopHook", f"PreStopHook failed: {text}")

    async def _hook(
        self, hook: Object, container: Container, spec: Object, *, timeout_seconds: float | None
    ) -> str | None:
        """Run a lifecycle handler; None if it succeeded, else why not."""
        if hook.get("sleep"):
            seconds = hook["sleep"]["seconds"]
            await asyncio.sleep(
                seconds if timeout_seconds is None else min(seconds, timeout_seconds)
            )
            return None
        action = dict(hook) | {"timeoutSeconds": timeout_seconds or 3600 * 24}

        async def run(command: list[str], limit: float) -> tuple[int, str]:
            return await self._runner.exec(container, command, limit)

        sandbox = self._record.sandbox
        address = sandbox.ips[0] if sandbox and sandbox.ips else "127.0.0.1"
        verdict, text = await probes.look(action, Target(address, probes.named_ports(spec), run))
        return None if verdict is Verdict.SUCCESS else text or "no answer"

    async def kill_all(self, grace_seconds: float, *, quiet: bool) -> None:
        """End all containers: the regular ones together, then sidecars, the last one first (KEP-753)."""
        began = self._context.clock.monotonic()
        sidecars = [one["name"] for one in specs(self._record.pod, INIT) if restartable(one)]
        live = [one for one in self._record.live() if one.name != ".pause"]
        regular = [one for one in live if one.name not in sidecars]
        await self._kill_together(regular, grace_seconds, quiet=quiet)
        for name in reversed(sidecars):
            left = max(grace_seconds - (self._context.clock.monotonic() - began), 0.0)
            await self._kill_together([one for one in live if one.name == name], left, quiet=quiet)
        pause = [one for one in self._record.live() if one.name == ".pause"]
        await self._kill_together(pause, 0.0, quiet=True)

    async def _kill_together(
        self, containers: Sequence[Container], grace_seconds: float, *, quiet: bool
    ) -> None:
        async with asyncio.TaskGroup() as tasks:
            for one in containers:
                message = "" if quiet else f"Stopping container {one.name}"
                work = self.kill(one, message=message, grace_seconds=grace_seconds)
                tasks.create_task(work, name=f"kill-{one.name}")

    async def _not_started(self, container: Container, kind: str, spec: Object, why: str) -> None:
        """The runtime refused to start what it had created: exit code 127 or 128, as upstream shows it."""
        self.event(kind, spec, "Warning", "Failed", f"Error: {why}")
        container.state = State.EXITED
        container.reason, container.message = "StartError", why
        container.exit_code = 127 if "not found" in why or "no such file" in why.lower() else 128
        container.finished_at = self._context.clock.now()
        await self._runner.clean_up(container)
        raise StartFailed("RunContainerError", why)

    async def _image(self, kind: str, spec: Object) -> Image:
        """The image, with the events of a pull.  Raises StartFailed."""
        reference, policy = spec["image"], spec.get("imagePullPolicy", "IfNotPresent")
        began = time.monotonic()
        asked = asyncio.ensure_future(
            self._context.images.ensure(
                reference, policy, auth=credentials(reference, self._pull_secrets())
            )
        )
        try:
            done, _ = await asyncio.wait({asked}, timeout=_PULL_NOTICE_SECONDS)
            noticed = not done
            if noticed:
                self.event(kind, spec, "Normal", "Pulling", f'Pulling image "{reference}"')
            try:
                image = await asked
            except ImageError as error:
                raise self._image_failed(kind, spec, error, noticed=noticed) from error
        finally:
            asked.cancel()
        self._image_event(kind, spec, image, elapsed(began), noticed=noticed)
        return image

    def _image_event(
        self, kind: str, spec: Object, image: Image, took: str, *, noticed: bool
    ) -> None:
        reference = spec["image"]
        if not image.pulled:
            text = f'Container image "{reference}" already present on machine and can be accessed by the pod'
            self.event(kind, spec, "Normal", "Pulled", text)
            return
        if not noticed:
            self.event(kind, spec, "Normal", "Pulling", f'Pulling image "{reference}"')
        how = f"in {took} ({took} including waiting). Image size: {image.size_bytes} bytes."
        if image.origin == "recipe":
            text = f'Successfully assembled image "{reference}" from Todoku\'s recipe {how}'
        else:
            text = f'Successfully pulled image "{reference}" {how}'
        self.event(kind, spec, "Normal", "Pulled", text)

    def _image_failed(
        self, kind: str, spec: Object, error: ImageError, *, noticed: bool
    ) -> StartFailed:
        reference = spec["image"]
        if error.reason == "InvalidImageName":
            text = f'Failed to apply default image tag "{reference}": {error.message}'
            self.event(kind, spec, "Warning", "InspectFailed", text)
            return StartFailed("InvalidImageName", text)
        if error.reason == "ErrImageNeverPull":
            self.event(kind, spec, "Warning", "ErrImageNeverPull", error.message)
            return StartFailed("ErrImageNeverPull", error.message)
        if not noticed:
            self.event(kind, spec, "Normal", "Pulling", f'Pulling image "{reference}"')
        text = f'Failed to pull image "{reference}": {error.message}'
        self.event(kind, spec, "Warning", "Failed", text)
        self.event(kind, spec, "Warning", "Failed", "Error: ErrImagePull")
        return StartFailed("ErrImagePull", error.message)

    def _pull_secrets(self) -> list[Mapping[str, bytes]]:
        pod = self._record.pod
        found: list[Mapping[str, bytes]] = []
        for one in pod["spec"].get("imagePullSecrets") or ():
            secret = self._context.objects.get(
                "secrets", pod["metadata"]["namespace"], one.get("name", "")
            )
            if secret is not None:
                found.append(secret_data(secret))
        return found
