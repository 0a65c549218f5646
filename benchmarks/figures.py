"""One JSON line per figure, with the machine it was measured on; medians of several runs."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any


def emit(figure: str, values: Sequence[float], unit: str, **context: Any) -> None:
    """Print one figure: the median of `values`, their range and count, and whatever `context` adds."""
    body = {
        "figure": figure,
        "value": _rounded(statistics.median(values)),
        "unit": unit,
        "runs": len(values),
        "min": _rounded(min(values)),
        "max": _rounded(max(values)),
        **context,
        "machine": machine(),
    }
    print(json.dumps(body), flush=True)


@cache
def machine() -> dict[str, Any]:
    """What the figures depend on: cores, processor, memory, kernel, Python."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def note(text: str) -> None:
    """Progress for a person; figures alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


def _cpu() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
