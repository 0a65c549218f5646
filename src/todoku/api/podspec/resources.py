"""Validation of what a container asks for: names of resources, amounts, requests within limits."""

from __future__ import annotations

from typing import Any

from todoku.api import quantities, validation
from todoku.api.errors import (
    FieldError,
    Path,
    invalid,
    required,
)
from todoku.api.meta import Object

STANDARD_RESOURCES = ("cpu", "memory", "ephemeral-storage")


def _amount_problems(
    amount: Any, path: Path
) -> tuple[quantities.Quantity | None, list[FieldError]]:
    try:
        quantity = quantities.parse(amount)
    except (quantities.QuantityError, TypeError) as error:
        return None, [invalid(path, amount, str(error))]
    if quantity < quantities.ZERO:
        return quantity, [invalid(path, str(amount), "must be greater than or equal to 0")]
    return quantity, []


def amount_problems(amount: Any, path: Path) -> list[FieldError]:
    """A resource amount: a quantity, not negative."""
    return _amount_problems(amount, path)[1]


def resource_name_problems(name: str, path: Path, *, container: bool = True) -> list[FieldError]:
    """`cpu`, `memory`, `hugepages-2Mi`, `example.com/gpu` (validateContainerResourceName)."""
    problems = [invalid(path, name, text) for text in validation.qualified_name_problems(name)]
    if problems:
        return problems
    if "/" not in name:
        if name not in STANDARD_RESOURCES and not name.startswith("hugepages-"):
            return [invalid(path, name, "must be a standard resource for containers")]
    elif container and not _extended(name):
        return [invalid(path, name, "doesn't follow extended resource name standard")]
    return []


def _extended(name: str) -> bool:
    return "kubernetes.io/" not in name and not name.startswith("requests.")


def resource_problems(resources: Object, path: Path) -> list[FieldError]:
    """Limits and requests: names, amounts, and requests within limits (ValidateResourceRequirements)."""
    problems: list[FieldError] = []
    limits: dict[str, quantities.Quantity] = {}
    for name, amount in (resources.get("limits") or {}).items():
        at = (path / "limits").key(name)
        problems += resource_name_problems(name, at)
        quantity, more = _amount_problems(amount, at)
        problems += more + _whole_problems(name, quantity, amount, at)
        if quantity is not None:
            limits[name] = quantity
    for name, amount in (resources.get("requests") or {}).items():
        at = (path / "requests").key(name)
        problems += resource_name_problems(name, at)
        quantity, more = _amount_problems(amount, at)
        problems += more + _whole_problems(name, quantity, amount, at)
        if quantity is None:
            continue
        problems += _within_limit(
            name, quantity, limits.get(name), path / "requests", path / "limits"
        )
    return problems


def _within_limit(
    name: str,
    request: quantities.Quantity,
    limit: quantities.Quantity | None,
    path: Path,
    limits_path: Path,
) -> list[FieldError]:
    overcommit = name in STANDARD_RESOURCES
    if limit is not None:
        if not overcommit and request != limit:
            return [invalid(path, str(request), f"must be equal to {name} limit of {limit}")]
        if overcommit and request > limit:
            text = f"must be less than or equal to {name} limit of {limit}"
            return [invalid(path, str(request), text)]
    elif not overcommit:
        text = "Limit must be set for non overcommitable resources"
        return [required(limits_path, text)]
    return []


def _whole_problems(
    name: str, quantity: quantities.Quantity | None, amount: Any, path: Path
) -> list[FieldError]:
    if quantity is not None and "/" in name and quantity.value.denominator != 1:
        return [invalid(path, str(amount), "must be an integer")]
    return []
