"""How long an address is silent when its node dies: one request after another from one source."""

from __future__ import annotations

import asyncio
import time

from todoku.reach.outcome import Outcome
from todoku.reach.probe import Question, Vantage, attempt

_LIMIT_SECONDS = 0.2
_PAUSE_SECONDS = 0.02
_STEADY = 25


class Watcher:
    """Asks an address again and again; seconds are counted from the last answer before the silence."""

    def __init__(self, vantage: Vantage, host: str, port: int) -> None:
        self._vantage = vantage
        self._question = Question(host, port, timeout_seconds=_LIMIT_SECONDS, speak=False)
        self._last_good = 0.0
        self._broke = 0.0
        self._first_again = 0.0
        self._steady_since = 0.0
        self._run = 0
        self._first = asyncio.Event()

    async def ask(self) -> None:
        """Until cancelled."""
        while True:
            try:
                outcome = (await attempt(self._vantage, self._question)).outcome
            except OSError:
                outcome = Outcome.UNKNOWN
            self._note(time.monotonic(), outcome is Outcome.OK)
            await asyncio.sleep(_PAUSE_SECONDS)

    def _note(self, now: float, good: bool) -> None:
        if good:
            if self._broke and not self._first_again:
                self._first_again = now
            if not self._run:
                self._steady_since = now
            self._run += 1
            if not self._broke:
                self._last_good = now
                self._first.set()
        else:
            self._broke = self._broke or now
            self._run = 0

    async def answered(self) -> None:
        """Wait for the first answer."""
        await self._first.wait()

    async def recovered(self, *, seconds: float) -> None:
        """Wait until many requests in a row succeeded after a failure, or the time is over."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._broke and self._run >= _STEADY:
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    @property
    def first_answer_seconds(self) -> float:
        """From the last answer before to the first after; infinite if none came."""
        return self._first_again - self._last_good if self._first_again else float("inf")

    @property
    def steady_seconds(self) -> float:
        """From the last answer before until every request succeeded again; infinite if that did not happen."""
        steady = self._run >= _STEADY and self._broke
        return self._steady_since - self._last_good if steady else float("inf")
