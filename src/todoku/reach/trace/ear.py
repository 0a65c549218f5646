"""Collects what the kernel says about armed packets, while the loop waits for something else."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from todoku.linux.capture import Capture
from todoku.linux.links import Link
from todoku.linux.nftrace import TraceEvent, TraceSocket
from todoku.reach.trace import decode
from todoku.reach.trace.facts import Header, Place
from todoku.reach.trace.pcapng import Caught

_FRAMES_AT_MOST = 100_000


class Ear:
    """Trace events of every named place, and the frames of the places that are recorded.

    Needs a running loop.  `overrun`: the kernel had more to say than was read in time.
    """

    def __init__(self, home: str, names: Mapping[int, str], recorded: Sequence[Place] = ()) -> None:
        self.names = names
        self.links: dict[str, Mapping[int, Link]] = {}
        self.events: list[TraceEvent] = []
        self.frames: list[Caught] = []
        self.overrun = False
        self._home, self._recorded = home, recorded
        self._open = contextlib.ExitStack()
        self._news = asyncio.Event()
        self._heard = 0

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        try:
            trace = self._open.enter_context(TraceSocket(self._home))
            loop.add_reader(trace.fileno(), self._hear, trace)
            self._open.callback(loop.remove_reader, trace.fileno())
            for place in self._recorded:
                capture = self._open.enter_context(Capture(place.netns))
                loop.add_reader(capture.fileno(), self._record, place.name, capture)
                self._open.callback(self._finish, place.name, capture)
            self._open.callback(self._hear, trace)
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    async def first(
        self, wanted: Callable[[TraceEvent, str, Header], bool], wait_seconds: float
    ) -> Header | None:
        """The next header, seen in a place, that is wanted; None after `wait_seconds`."""
        try:
            async with asyncio.timeout(wait_seconds):
                while True:
                    self._news.clear()
                    for event in self._unheard():
                        place = self.names.get(event.nsid, "")
                        header = decode.header(event.network, event.transport)
                        if header is not None and wanted(event, place, header):
                            return header
                    await self._news.wait()
        except TimeoutError:
            return None

    def _unheard(self) -> Iterator[TraceEvent]:
        """Each event once; what comes after the wanted one waits for the next question."""
        while self._heard < len(self.events):
            self._heard += 1
            yield self.events[self._heard - 1]

    def _hear(self, trace: TraceSocket) -> None:
        try:
            self.events.extend(trace.read())
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self.overrun = True
        self._news.set()

    def _record(self, place: str, capture: Capture) -> None:
        for frame in capture.read():
            if len(self.frames) == _FRAMES_AT_MOST:
                self.overrun = True
                return
            self.frames.append(Caught(place, frame))

    def _finish(self, place: str, capture: Capture) -> None:
        asyncio.get_running_loop().remove_reader(capture.fileno())
        self._record(place, capture)
        self.overrun = self.overrun or capture.lost() > 0
