"""Settings of the process that runs the server, made once by its main when everything is loaded."""

from __future__ import annotations

import gc
import sys


def tune() -> None:
    """Collect garbage rarely and let threads switch often.

    Requests leave few cycles behind, but decoded objects make many containers: with default thresholds the
    collector doubles the time of a list.  The store's writer thread must get the interpreter soon after its disk
    answered, or every commit waits for the switch interval.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    sys.setswitchinterval(0.0005)
