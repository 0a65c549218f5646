"""PodLogOptions, from the query of `pods/log` to that of the kubelet (ValidatePodLogOptions, v1 conversion)."""

from __future__ import annotations

from collections.abc import Mapping

from todoku.api import times
from todoku.api.errors import WHOLE, BadRequest, FieldError, Invalid, Path, forbidden, invalid
from todoku.api.validation import non_negative
from todoku.apiserver.options import flag, integer

_FLAGS = ("follow", "previous", "timestamps")
_NUMBERS = ("sinceSeconds", "tailLines", "limitBytes")
_LAYOUT = "2006-01-02T15:04:05Z07:00"


def kubelet_query(pod: str, query: Mapping[str, str]) -> list[tuple[str, str]]:
    """What the kubelet is asked.  Raises BadRequest for what is no number or time, Invalid for what makes no sense."""
    numbers = {name: integer(query, name) for name in _NUMBERS if name in query}
    since = _time(query["sinceTime"]) if "sinceTime" in query else ""
    if problems := _problems(numbers, since, query.get("stream")):
        raise Invalid.of("PodLogOptions", "", pod, problems)
    asked = [(name, "true") for name in _FLAGS if flag(query, name)]
    asked += [(name, str(number)) for name, number in numbers.items()]
    return [*asked, ("sinceTime", since)] if since else asked


def _time(text: str) -> str:
    try:
        return times.text(times.parse(text)) if text else ""
    except ValueError:
        shown = f'parsing time "{text}" as "{_LAYOUT}": cannot parse "{text}" as "2006"'
        raise BadRequest(shown) from None


def _problems(numbers: Mapping[str, int], since: str, stream: str | None) -> list[FieldError]:
    problems = non_negative(numbers.get("tailLines"), Path("tailLines"))
    if numbers.get("limitBytes", 1) < 1:
        text = "must be greater than 0"
        problems.append(invalid(Path("limitBytes"), numbers["limitBytes"], text))
    if "sinceSeconds" in numbers and since:
        text = "at most one of `sinceTime` or `sinceSeconds` may be specified"
        problems.append(forbidden(WHOLE, text))
    elif numbers.get("sinceSeconds", 1) < 1:
        text = "must be greater than 0"
        problems.append(invalid(Path("sinceSeconds"), numbers["sinceSeconds"], text))
    if stream is not None:
        problems.append(forbidden(Path("stream"), "may not be specified"))
    return problems
