"""How long to wait after the n-th failure in a row."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential delays in seconds: `initial`, `initial*factor`, … never above `maximum`.

    `jitter` stretches a delay by a random share of itself, at most that fraction.
    """

    initial: float = 0.005
    maximum: float = 60.0
    factor: float = 2.0
    jitter: float = 0.0

    def delay(self, failures: int) -> float:
        """The wait after `failures` failures in a row; nothing after none."""
        if failures <= 0:
            return 0.0
        # The exponent is bounded so that a long series does not overflow a float.
        plain = min(self.initial * self.factor ** min(failures - 1, 64), self.maximum)
        return plain * (1.0 + random.random() * self.jitter) if self.jitter else plain
