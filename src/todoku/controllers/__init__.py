"""All controllers, one file each; see README.md beside this file."""

from todoku.controllers.controller import KUBERNETES, Config, Context, Controller, Timings
from todoku.controllers.runner import ALL, run

__all__ = ["ALL", "KUBERNETES", "Config", "Context", "Controller", "Timings", "run"]
