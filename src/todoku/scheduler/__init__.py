"""Pods to nodes; see README.md beside this file."""

from todoku.scheduler.scheduler import Config, run

__all__ = ["Config", "run"]
