"""Reading MetalLB's custom resources: the refusal they share, selectors, and lists without repeats (pure)."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from todoku.api import selectors
from todoku.api.errors import Path
from todoku.api.meta import Object
from todoku.loadbalancer.pools import Matcher


class BadConfig(Exception):
    """The first problem of a configuration, worded as upstream words it (clients match substrings)."""


class Dangling(BadConfig):
    """A reference to something that may still appear: bfdProfile, password Secret, community alias."""


def spec_of(obj: Object) -> Object:
    return obj.get("spec") or {}


def name_of(obj: Object) -> str:
    return str(obj["metadata"].get("name", ""))


def labels_of(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def check_unique(values: Sequence[str] | None, what: str) -> None:
    """Refuse a repeated value: `duplicate definition of peers "a"`."""
    seen = set()
    for value in values or ():
        if value in seen:
            raise BadConfig(f'duplicate definition of {what} "{value}"')
        seen.add(value)


def matchers(spec: Object, field: str) -> tuple[Matcher, ...]:
    """The label selectors of a list field, ready to use.  Raises BadConfig if one is invalid or repeated."""
    listed = spec.get(field) or ()
    for one in listed:
        _check_expressions(one.get("matchExpressions") or ())
    check_unique([_canonical(one) for one in listed], field)
    return tuple(_parsed(one, field) for one in listed)


def matches_any(chosen: Iterable[Matcher], obj: Object) -> bool:
    return any(one.matches(labels_of(obj)) for one in chosen)


def _check_expressions(expressions: Sequence[Object]) -> None:
    for one in expressions:
        check_unique(one.get("values"), "match expression value in label selector")
    check_unique([_canonical(one) for one in expressions], "match expressions")


def _parsed(selector: Object, field: str) -> Matcher:
    problems = selectors.selector_problems(selector, Path(field))
    if problems:
        raise BadConfig(f"invalid label selector: {problems[0]}")
    return selectors.from_selector(selector)


def _canonical(value: Any) -> str:
    """A text that is equal for selectors that mean the same: the order of values does not matter."""
    if isinstance(value, dict) and "values" in value:
        value = value | {"values": sorted(value["values"] or ())}
    if isinstance(value, dict) and "matchExpressions" in value:
        inner = sorted(_canonical(one) for one in value["matchExpressions"] or ())
        value = value | {"matchExpressions": inner}
    return json.dumps(value, sort_keys=True)
