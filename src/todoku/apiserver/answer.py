"""`Answer`: what a verb gives back before it becomes an HTTP response."""

from __future__ import annotations

from dataclasses import dataclass, field

from todoku.api import errors
from todoku.apiserver import answers
from todoku.apiserver.context import Context
from todoku.apiserver.encoding import Cached
from todoku.apiserver.negotiation import PLAIN, Form


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished response: JSON bytes to be sent in `form`."""

    data: bytes
    code: int = 200
    form: Form = PLAIN
    headers: dict[str, str] = field(default_factory=dict)


def shown(context: Context, cached: Cached, *, code: int = 200) -> Answer:
    """An object as the answer.  Raises NotAcceptable where a list was asked for."""
    if context.form.as_ == "PartialObjectMetadataList":
        what = answers.go_name(context.served)
        raise errors.NotAcceptable(
            f"you requested PartialObjectMetadataList, but the requested object is not a list ({what})"
        )
    data = answers.one(context.served, cached, context.form)
    return Answer(data, code=code, form=context.form)
