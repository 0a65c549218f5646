"""Finished answers and refusals as aiohttp responses."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from aiohttp import web

from todoku.api import errors
from todoku.apiserver import answers
from todoku.apiserver.encoding import dumps
from todoku.apiserver.negotiation import Form

# Above this an answer is worth compressing, if the client wants it (as upstream's APIResponseCompression).
GZIP_FROM_BYTES = 128 * 1024
_WARNINGS_LENGTH, _WARNING_LENGTH = 4096, 256
_WARNINGS_COUNT = 80
_PEOPLES_AGENTS = ("curl", "Wget", "Mozilla/5.0")
_TRUE = frozenset({"1", "t", "T", "true", "True", "TRUE"})
_HEADERS = {"Cache-Control": "no-cache, private"}


def body(
    data: bytes,
    *,
    code: int = 200,
    form: Form | None = None,
    warnings: Iterable[str] = (),
    gzip: bool = False,
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
) -> web.Response:
    if form is not None and form.media != "application/json":
        data, content_type = answers.finish(data, form), answers.content_type(form)
    response = web.Response(body=data, status=code, headers=_HEADERS)
    response.headers["Content-Type"] = content_type
    for warning in limited(dict.fromkeys(warnings)):
        response.headers.add("Warning", f"299 - {quoted(warning)}")
    if headers:
        response.headers.update(headers)
    if gzip and len(data) >= GZIP_FROM_BYTES:
        response.enable_compression(web.ContentCoding.gzip)
    return response


def refusal(error: errors.ApiError, warnings: Iterable[str] = ()) -> web.Response:
    """The Status of an error; text for a path that nobody serves."""
    if isinstance(error, errors.PathNotFound):
        headers = {"X-Content-Type-Options": "nosniff"}
        return web.Response(text="404 page not found\n", status=error.code, headers=headers)
    headers = {}
    if seconds := error.details.get("retryAfterSeconds"):
        headers["Retry-After"] = str(seconds)
    return body(dumps(error.status()), code=error.code, warnings=warnings, headers=headers)


def for_reader(request: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
    """The same, indented if a person reads it: `?pretty=true`, or the agent is curl, wget or a browser."""
    if not isinstance(response, web.Response) or response.content_type != "application/json":
        return response
    asked = request.query.get("pretty", "")
    by_hand = request.headers.get("User-Agent", "").startswith(_PEOPLES_AGENTS)
    if (asked in _TRUE if asked else by_hand) and isinstance(response.body, bytes):
        response.body = msgspec.json.format(response.body, indent=2)
    return response


def limited(warnings: Iterable[str]) -> list[str]:
    """What of the warnings fits into headers: beyond 4 KiB shortened, and no more than clients read.

    Source of the lengths: k8s.io/apiserver endpoints/filters warning.  Python's http.client reads 100 headers.
    """
    found = list(warnings)
    if len(found) <= 1 or sum(map(len, found)) <= _WARNINGS_LENGTH:
        return found[:_WARNINGS_COUNT]
    kept, length = [], 0
    for one in found[:_WARNINGS_COUNT]:
        if length >= _WARNINGS_LENGTH:
            break
        kept.append(one[:_WARNING_LENGTH])
        length += len(kept[-1])
    return kept


def quoted(text: str) -> str:
    """A warn-text (RFC 7234 5.5): quoted, one line, header-safe."""
    flat = "".join(" " if ord(one) < 32 or ord(one) == 127 else one for one in text)
    return '"' + flat.replace("\\", "\\\\").replace('"', '\\"') + '"'
