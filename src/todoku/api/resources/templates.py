"""What the tables of workloads show of their pod template and selector."""

from __future__ import annotations

from todoku.api.meta import Object
from todoku.api.selectors import LabelSelector, from_selector


def containers_cell(spec: Object) -> str:
    return ",".join(one.get("name", "") for one in spec.get("containers") or ())


def images_cell(spec: Object) -> str:
    return ",".join(one.get("image", "") for one in spec.get("containers") or ())


def selector_cell(selector: Object | None) -> str:
    """A meta/v1 LabelSelector as text: `app=web,tier in (a,b)`; `<none>` if it selects everything."""
    found: LabelSelector = from_selector(selector)
    if found.nothing:
        return "<unset>"
    ordered = LabelSelector(tuple(sorted(found.requirements, key=lambda one: one.key)))
    return str(ordered) or "<none>"


def labels_cell(labels: Object | None) -> str:
    """A plain map as text: `app=web,tier=front`, or `<none>`."""
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels)) if labels else "<none>"
