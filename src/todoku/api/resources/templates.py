"""What tables show of pod templates, selectors and load balancers."""

from __future__ import annotations

from collections.abc import Sequence

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
        return "<none>"
    ordered = LabelSelector(tuple(sorted(found.requirements, key=lambda one: one.key)))
    return str(ordered) or "<none>"


def labels_cell(labels: Object | None) -> str:
    """A plain map as text: `app=web,tier=front`, or `<none>`."""
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels)) if labels else "<none>"


def load_balancer_addresses(ingress: Sequence[Object]) -> list[str]:
    """The addresses, or else names, of a load balancer: sorted, each once."""
    return sorted({found for one in ingress if (found := one.get("ip") or one.get("hostname"))})
