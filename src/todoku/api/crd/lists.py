"""x-kubernetes-list-type: sets and maps have no duplicates."""

from __future__ import annotations

import json
from typing import Any

from todoku.api.errors import FieldError, Path, duplicate
from todoku.api.schemas import Schema


def list_problems(value: Any, schema: Schema, path: Path) -> list[FieldError]:
    """`Duplicate value` for repeated items of sets and keyed lists, wherever they lie."""
    problems: list[FieldError] = []
    if isinstance(value, dict):
        properties, values = schema.get("properties") or {}, schema.get("additionalProperties")
        for name, child in value.items():
            rule = properties.get(name, values)
            if isinstance(rule, dict):
                at = path / name if name in properties else path.key(name)
                problems += list_problems(child, rule, at)
    elif isinstance(value, list):
        items = schema.get("items")
        problems += _duplicates(value, schema, path)
        if isinstance(items, dict):
            for index, one in enumerate(value):
                problems += list_problems(one, items, path / index)
    return problems


def _duplicates(value: list[Any], schema: Schema, path: Path) -> list[FieldError]:
    kind = schema.get("x-kubernetes-list-type", "atomic")
    if kind not in ("set", "map"):
        return []
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    seen: set[str] = set()
    problems: list[FieldError] = []
    for index, item in enumerate(value):
        shown = item
        if kind == "map":
            if not isinstance(item, dict):
                continue
            shown = {key: item[key] for key in keys if key in item}
        text = json.dumps(shown, sort_keys=True)
        if text in seen:
            problems.append(duplicate(path / index, shown))
        seen.add(text)
    return problems
