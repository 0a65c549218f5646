"""The JSON Schemas of the reports, shipped beside this module (JSON Schema 2020-12)."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

NAMES = ("reach", "trace", "check")


def text(name: str) -> str:
    """One schema as it is shipped; `name` is one of NAMES."""
    return (files("todoku.reach") / "schema" / f"{name}-v1.json").read_text(encoding="utf-8")


def schema(name: str) -> dict[str, Any]:
    """One schema, parsed."""
    parsed: dict[str, Any] = json.loads(text(name))
    return parsed
