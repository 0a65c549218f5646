"""Why a container of one pod does not run yet, and until when: back-off, and the words that users read about it."""

from __future__ import annotations

from todoku.aio import log as logs
from todoku.api.meta import Object
from todoku.kubelet import backoff
from todoku.kubelet.context import Context
from todoku.kubelet.lifecycle import Lifecycle, StartFailed
from todoku.kubelet.records import Container, Delay, PodRecord, Waiting, spec_of

log = logs.get(__name__)


class Waits:
    """Keeps `delays` and `waiting` of the record: when to try again, and what the status says meanwhile."""

    def __init__(self, context: Context, record: PodRecord, lifecycle: Lifecycle) -> None:
        self._context = context
        self._record = record
        self._lifecycle = lifecycle
        self._timings = context.config.timings

    def objects_changed(self) -> None:
        """A ConfigMap or Secret is another: who waits for one need not wait longer."""
        for delay in self._record.delays.values():
            if delay.why == "config":
                delay.until = 0.0

    def restarting(self, name: str) -> None:
        """As upstream, the restart's own back-off begins when the restart does."""
        delays = self._record.delays
        delays[name] = backoff.after_restart(delays.get(name), self._timings)

    def ended(self, container: Container) -> None:
        delays, name = self._record.delays, container.name
        delays[name] = backoff.after_exit(delays.get(name), container, self._timings)

    def not_started(self, name: str, failure: StartFailed) -> None:
        record, now = self._record, self._context.clock.now()
        record.waiting[name] = Waiting(failure.reason, failure.message)
        if failure.reason == "ErrImagePull":
            delay = backoff.after_image_failure(record.delays.get(name), now, self._timings)
            record.delays[name] = delay
        elif failure.reason == "RunContainerError":
            last = record.last(name)
            if last is not None:
                self.restarting(name)
                self.ended(last)
        else:
            record.delays[name] = Delay(until=now + self._timings.backoff_initial, why="config")
        metadata = record.pod["metadata"]
        log.info(
            "Container not started",
            pod=f"{metadata['namespace']}/{metadata['name']}",
            container=name,
            reason=failure.reason,
            why=failure.message,
        )

    def explain(self, name: str) -> None:
        """Say once, in status and Events, that a container waits and for what."""
        found = spec_of(self._record.pod, name)
        if found is None:
            return
        kind, spec = found
        why, waiting = self._record.delays[name].why, self._record.waiting.get(name)
        if why == "image" and waiting is not None and waiting.reason == "ErrImagePull":
            self._image(kind, spec, waiting.message)
        if why == "crash" and (waiting is None or waiting.reason != "CrashLoopBackOff"):
            self._crash(kind, spec)

    def _image(self, kind: str, spec: Object, error: str) -> None:
        text = f'Back-off pulling image "{spec["image"]}"'
        waiting = Waiting("ImagePullBackOff", f"{text}: ErrImagePull: {error}")
        self._record.waiting[spec["name"]] = waiting
        self._lifecycle.event(kind, spec, "Normal", "BackOff", text)
        self._lifecycle.event(kind, spec, "Warning", "Failed", "Error: ImagePullBackOff")

    def _crash(self, kind: str, spec: Object) -> None:
        name, metadata = spec["name"], self._record.pod["metadata"]
        pod = f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
        wait = backoff.go_duration(self._record.delays[name].seconds)
        text = f"back-off {wait} restarting failed container={name} pod={pod}"
        self._record.waiting[name] = Waiting("CrashLoopBackOff", text)
        text = f"Back-off restarting failed container {name} in pod {pod}"
        self._lifecycle.event(kind, spec, "Warning", "BackOff", text)
