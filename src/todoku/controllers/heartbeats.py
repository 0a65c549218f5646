"""Who was heard of when: the part of node failure detection that can be reasoned about.  Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class _Heard:
    mark: str
    at: float


@dataclass(slots=True)
class Heartbeats:
    """Times are those of one monotonic clock, in seconds.

    A heartbeat is a changed `mark` (a renewTime): the sender's clock is never compared with ours.
    """

    grace: float
    startup_grace: float
    _heard: dict[str, _Heard] = field(default_factory=dict)
    _renewed: set[str] = field(default_factory=set)

    def seen(self, name: str, mark: str, now: float, *, lease: bool = True) -> bool:
        """Note what the node last said; tells whether it is news.

        Only a lease promises to be renewed soon: until the first one the longer grace holds.
        """
        known = self._heard.get(name)
        if known is None or (mark and known.mark != mark):
            self._heard[name] = _Heard(mark, now)
        else:
            return False
        if mark and lease:
            self._renewed.add(name)
        return True

    def forget(self, name: str) -> None:
        self._heard.pop(name, None)
        self._renewed.discard(name)

    def stalled(self, seconds: float) -> None:
        """Our own loop did not run for so long: nobody could be heard meanwhile."""
        for heard in self._heard.values():
            heard.at += seconds

    def left(self, name: str, now: float, *, listening_since: float | None) -> float:
        """Seconds until the node counts as silent; 0 or less: it does.

        Without a connection nobody is silent; after one is made everybody gets the whole grace again.
        """
        grace = self.grace if name in self._renewed else self.startup_grace
        if listening_since is None:
            return grace
        heard = self._heard.get(name)
        last = max(heard.at if heard else now, listening_since)
        return last + grace - now
