"""Waiting until a lab is Ready: the child that applies DNS and watches the nodes, and how long each phase took."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from todoku.lab.control import Progress, Refused
from todoku.lab.forks import ForkServer
from todoku.linux.namespaces import Namespaces

_LAST_LINES = 12


class Phases:
    """How long each phase of a start took, in seconds."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self.seconds: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = round(now - self._last, 3)
        self._last = now

    def total(self) -> float:
        return round(time.monotonic() - self._began, 3)


async def until_ready(
    forks: ForkServer,
    inside: Namespaces,
    config: dict[str, Any],
    log: Path,
    *,
    progress: Progress,
    phases: Phases,
) -> str:
    """Run the child in the lab's namespaces and follow its lines; what is late, or "" if all is Ready.

    Lines are `lap PHASE`, `late WHAT`, `done`, or progress for people.  Raises Refused when the child ends without a
    word, with the end of its log: a lab that is undone takes the log with it.
    """
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    reader, transport = await _pipe_reader(ours)
    try:
        process = await forks.child(
            "ready",
            "todoku.lab.children.ready:main",
            config,
            namespaces=inside,
            log=log,
            descriptors=[theirs],
        )
    finally:
        os.close(theirs)
    try:
        last = ""
        while line := (await reader.readline()).decode().strip():
            last = line
            if line.startswith("lap "):
                phases.lap(line[4:])
            elif line.startswith("late "):
                return line[5:]
            elif line != "done":
                progress(line)
        if last != "done":
            raise Refused(f"the lab does not become ready\n{_last_words(log)}")
        return ""
    finally:
        transport.close()
        await asyncio.to_thread(process.kill)


def _last_words(log: Path) -> str:
    text = log.read_text(errors="replace")
    return "\n".join(text.splitlines()[-_LAST_LINES:])


async def _pipe_reader(descriptor: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    return reader, transport
