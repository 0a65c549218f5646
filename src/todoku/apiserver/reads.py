"""get and list: answered from the cache; pages of an older revision from the store's history."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from todoku.api import errors
from todoku.apiserver import conversion, keys, options
from todoku.apiserver.context import Context, Engine
from todoku.apiserver.encoding import Cached, cached, dumps
from todoku.apiserver.predicates import Predicate
from todoku.storage.store import Compacted, FutureRevision

_INCONSISTENT = -1


async def get(engine: Engine, context: Context) -> Cached:
    """The object that the request names.  Raises NotFound."""
    await _fresh_enough(engine, context)
    info = context.info
    found = engine.collection(context.served).get(info.namespace, info.name)
    if found is None:
        raise errors.NotFound.of(context.served.name, info.name)
    await conversion.prepare(engine.components.converter, context.served, [found])
    return found


async def _fresh_enough(engine: Engine, context: Context) -> None:
    """Wait for the freshness that resourceVersion asks for; "" means the newest, "0" anything."""
    text = context.query.get("resourceVersion", "")
    wanted = read_revision(text) if text else 0
    if wanted > engine.store.revision:
        await _reached(engine, wanted)
    if text != "0":
        await engine.cache.wait()


async def _reached(engine: Engine, wanted: int) -> None:
    """A revision of the future may be here soon.  Raises Timeout when it is not (waitUntilFreshAndBlock)."""
    try:
        async with asyncio.timeout(engine.config.timings.fresh_within):
            await engine.cache.wait(wanted)
    except TimeoutError:
        raise too_large(wanted, engine.cache.revision) from None


def read_revision(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise errors.Unclassified(
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": '
            "invalid syntax"
        )
    return int(text)


def too_large(wanted: int, current: int) -> errors.ApiError:
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return errors.Timeout(
        f"Too large resource version: {wanted}, current: {current}",
        details={"causes": [cause], "retryAfterSeconds": 1},
    )


@dataclass(frozen=True, slots=True)
class Listing:
    """A page: its objects in order, the revision it shows, and how to go on."""

    objects: Sequence[Cached]
    revision: int
    continue_: str = ""
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class _Wanted:
    limit: int
    exact: int  # revision to show, 0 for the newest
    after: bytes  # first key to show


async def list_(engine: Engine, context: Context) -> Listing:
    """The objects that the request selects.  Raises Expired, BadRequest."""
    served, info = context.served, context.info
    predicate = Predicate(served, info.label_selector, info.field_selector)
    wanted = _wanted(context)
    await _fresh_enough(engine, context)
    collection = engine.collection(served)
    if wanted.exact and collection.changed > wanted.exact:
        return await _at(engine, context, wanted, predicate)
    if served.needs_conversion:
        whole = [collection.items[key] for key in collection.select(info.namespace)]
        await conversion.prepare(engine.components.converter, served, whole)
    items = collection.items
    revision = wanted.exact or engine.cache.revision
    if predicate.everything:
        first, end = collection.span(info.namespace, wanted.after)
        stop = min(end, first + wanted.limit) if wanted.limit else end
        page = [items[key] for key in collection.keys[first:stop]]
        if stop == end:
            return Listing(page, revision)
        return _page(page, collection.keys[stop - 1], revision, end - stop, predicate)
    names = collection.select(info.namespace, after=wanted.after, among=predicate.keys(collection))
    taken: list[Cached] = []
    for position, key in enumerate(names):
        if wanted.limit and len(taken) == wanted.limit:
            left = len(names) - position
            return _page(taken, names[position - 1], revision, left, predicate)
        if predicate(items[key]):
            taken.append(items[key])
    return Listing(taken, revision)


def _page(
    taken: list[Cached],
    last: bytes,
    revision: int,
    left: int,
    predicate: Predicate,
) -> Listing:
    # Behind an inconsistent page too, the pages to come are consistent again.
    token = write_token(revision, last + b"\0")
    return Listing(taken, revision, token, left if predicate.everything else None)


async def _at(engine: Engine, context: Context, wanted: _Wanted, predicate: Predicate) -> Listing:
    """A page as it was at an older revision, from the store's history."""
    start, end = engine.collection(context.served).bounds(context.info.namespace)
    start = max(start, wanted.after)
    limit = wanted.limit if predicate.everything else 0
    try:
        page = await engine.store.range(start, end, revision=wanted.exact, limit=limit)
    except Compacted as gone:
        raise _expired(context, wanted, gone) from gone
    except FutureRevision as future:
        raise too_large(wanted.exact, future.current) from future
    taken: list[Cached] = []
    found = [cached(entry, *keys.split(entry.key)[1:]) for entry in page.entries]
    await conversion.prepare(engine.components.converter, context.served, found)
    for entry, one in zip(page.entries, found, strict=True):
        if wanted.limit and len(taken) == wanted.limit:
            break
        if predicate(one):
            taken.append(one)
            last = entry.key
    else:
        if not page.more:
            return Listing(taken, wanted.exact)
    left = page.count - len(taken)
    return _page(taken, last, wanted.exact, left, predicate)


def _wanted(context: Context) -> _Wanted:
    query = context.query
    match = query.get("resourceVersionMatch", "")
    version = query.get("resourceVersion", "")
    token = query.get("continue", "")
    limit = max(options.integer(query, "limit"), 0)
    options.check_list(query)
    if token:
        if version and version != "0":
            raise errors.BadRequest(
                "specifying resource version is not allowed when using continue"
            )
        try:
            revision, after = read_token(token)
        except errors.BadRequest as error:
            raise errors.BadRequest(f"invalid continue token: {error.message}") from error
        return _Wanted(limit, max(revision, 0), after)  # _INCONSISTENT shows the newest
    revision = _listed_revision(version) if version else 0
    if match == "Exact" or (limit and not match):
        return _Wanted(limit, revision, b"")
    return _Wanted(limit, 0, b"")


def _listed_revision(version: str) -> int:
    try:
        return read_revision(version)
    except errors.Unclassified as error:
        raise errors.BadRequest(f"invalid resource version: {error.message}") from error


def write_token(revision: int, start: bytes) -> str:
    """An opaque continue token: the revision (-1: inconsistent) and the first key of the next page."""
    body = dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": start.decode()})
    return base64.urlsafe_b64encode(body).decode().rstrip("=")


def read_token(token: str) -> tuple[int, bytes]:
    try:
        padded = token + "=" * (-len(token) % 4)
        body = msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True))
        revision, start = int(body["rv"]), str(body["start"]).encode()
    except (binascii.Error, msgspec.DecodeError, KeyError, TypeError, ValueError):
        raise errors.BadRequest("continue key is not valid: cannot decode the token") from None
    if not start.startswith(keys.PREFIX):
        raise errors.BadRequest("continue key is not valid: it names no resource")
    return revision, start


def _expired(context: Context, wanted: _Wanted, gone: Compacted) -> errors.ApiError:
    if not context.query.get("continue"):
        return errors.Expired("The resourceVersion for the provided list is too old.")
    return errors.Expired(
        "The provided continue parameter is too old to display a consistent list result. You can"
        " start a new list without the continue parameter, or use the continue token in this"
        " response to retrieve the remainder of the results. Continuing with the provided token"
        " results in an inconsistent list - objects that were created, modified, or deleted between"
        " the time the first chunk was returned and now may show up in the list.",
        continue_token=write_token(_INCONSISTENT, wanted.after),
    )
