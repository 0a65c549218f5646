"""The composition root: machines, LAN, certificates, children, power.  See README.md beside this file.

Names are loaded when asked for: the fork server begins here, and every import before it costs `up` time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from todoku.lab.lab import Lab, Machine, open
    from todoku.lab.labfile import LabFileError
    from todoku.lab.lifecycle import LabError, down, stop, up

__all__ = ["Lab", "LabError", "LabFileError", "Machine", "down", "open", "stop", "up"]

_HOMES = {
    "Lab": "lab",
    "Machine": "lab",
    "open": "lab",
    "LabFileError": "labfile",
    "LabError": "lifecycle",
    "down": "lifecycle",
    "stop": "lifecycle",
    "up": "lifecycle",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
