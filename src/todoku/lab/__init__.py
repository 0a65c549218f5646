"""The composition root: machines, LAN, certificates, children, power.  See README.md beside this file."""

from todoku.lab.lab import Lab, Machine, open
from todoku.lab.labfile import LabFileError
from todoku.lab.lifecycle import LabError, down, stop, up

__all__ = ["Lab", "LabError", "LabFileError", "Machine", "down", "open", "stop", "up"]
