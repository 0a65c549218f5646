"""The ordered list of kinds that have a file of their own: (resource, version) -> Rules."""

from __future__ import annotations

from todoku.api.resources.rules import Rules

RULES: dict[tuple[str, str], Rules] = {}
