"""`Rules`: what a kind's own file adds to the generated table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """See the fields of the same names in `todoku.api.resource.Resource`."""

    strategy: Strategy = field(default_factory=Strategy)
    columns: Sequence[Column] = ()
    row: Callable[[Object], list[object]] | None = None
    row_order: Callable[[Object], tuple[int, str]] | None = None
    storage: tuple[str, str] | None = None
    from_storage: Callable[[Object], Object] | None = None
    to_storage: Callable[[Object], Object] | None = None
    deprecation: str = ""
