"""When a container that ended may start again; pure.  Source: upstream's flowcontrol.Backoff and doBackOff."""

from __future__ import annotations

from todoku.kubelet.config import Timings
from todoku.kubelet.records import Container, Delay


def after_exit(delay: Delay | None, container: Container, timings: Timings) -> Delay:
    """The first restart is immediate; each later one waits twice as long, up to the maximum.

    A container that ran for long enough begins anew.
    """
    if delay is None:
        return Delay()
    if container.finished_at - container.started_at > timings.backoff_reset:
        return Delay()
    return Delay(until=container.finished_at + delay.seconds, seconds=delay.seconds, why="crash")


def after_restart(delay: Delay | None, timings: Timings) -> Delay:
    """A restart happened: the next one will wait longer."""
    seconds = delay.seconds if delay is not None else 0.0
    longer = min(seconds * 2, timings.backoff_maximum) if seconds else timings.backoff_initial
    return Delay(seconds=longer)


def after_image_failure(delay: Delay | None, now: float, timings: Timings) -> Delay:
    """Pulling failed: 10 s, doubling."""
    seconds = delay.seconds if delay is not None and delay.why == "image" else 0.0
    longer = min(seconds * 2, timings.backoff_maximum) if seconds else timings.backoff_initial
    return Delay(until=now + longer, seconds=longer, why="image")


def go_duration(seconds: float) -> str:
    """10 → 10s, 80 → 1m20s, 300 → 5m0s."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
