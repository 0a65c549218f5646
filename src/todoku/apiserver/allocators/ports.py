"""Node ports and health-check node ports: one pool of numbers, kept in memory and rebuilt from the Services."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from todoku.apiserver.allocators.bands import port_range


class PortTaken(Exception):
    def __str__(self) -> str:
        return "provided port is already allocated"


class PortOutOfRange(Exception):
    def __init__(self, first: int, last: int) -> None:
        super().__init__(
            f"provided port is not in the valid range. The range of valid ports is {first}-{last}"
        )


class PortsFull(Exception):
    def __str__(self) -> str:
        return "range is full"


class Ports:
    """The numbers in use; nothing here waits, so that taking is atomic."""

    def __init__(
        self, first: int, last: int, pick: Callable[[int], int] = random.randrange
    ) -> None:
        self._first, self._last = first, last
        self._range = port_range(first, last)
        self._pick = pick
        self._taken: set[int] = set()

    def reset(self, taken: Iterable[int]) -> None:
        """Start over from what the Services hold."""
        self._taken = set(taken)

    def take(self, port: int) -> None:
        """Raises PortTaken, PortOutOfRange."""
        if port not in self._range:
            raise PortOutOfRange(self._first, self._last)
        if port in self._taken:
            raise PortTaken
        self._taken.add(port)

    def take_any(self) -> int:
        """Raises PortsFull."""
        for port in self._range.candidates(self._pick):
            if port not in self._taken:
                self._taken.add(port)
                return port
        raise PortsFull

    def free(self, port: int) -> None:
        self._taken.discard(port)

    def __contains__(self, port: int) -> bool:
        return port in self._taken
