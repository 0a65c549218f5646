"""Time and work: clocks, back-off, the deduplicating work queue, structured logs.  See README.md beside this file."""

from todoku.aio.backoff import Backoff
from todoku.aio.clock import Clock, FakeClock, SystemClock
from todoku.aio.queue import WorkQueue

__all__ = ["Backoff", "Clock", "FakeClock", "SystemClock", "WorkQueue"]
