"""Custom resources whose versions differ in shape: conversion by webhook (apiextensions.k8s.io ConversionReview).

A `Cached` keeps the converted object of each version that was asked for, so that an object is converted once for
all who read it.  Whoever shows such a version awaits `prepare` first.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import aiohttp

from todoku.api import errors
from todoku.api.meta import Object, copy
from todoku.apiserver.encoding import Cached, loads
from todoku.apiserver.outbound import Outbound, failure_text

if TYPE_CHECKING:
    from todoku.apiserver.catalog import Served
    from todoku.apiserver.config import Converter


async def prepare(converter: Converter | None, served: Served, found: Iterable[Cached]) -> None:
    """Convert what is not yet there in this version.  Raises InternalError when the webhook fails."""
    if not served.needs_conversion:
        return
    missing = [one for one in found if one.views is None or served.serial not in one.views]
    if not missing:
        return
    stored = [one.object() for one in missing]
    converted = await convert(converter, served, stored, served.resource.api_version)
    for one, obj in zip(missing, converted, strict=True):
        remember(served, one, _filled(served, obj))


def remember(served: Served, cached: Cached, obj: Object) -> None:
    """Keep `obj` as the cached object's view in this version."""
    if cached.views is None:
        cached.views = {}
    metadata = obj["metadata"] | {"resourceVersion": str(cached.revision)}
    cached.views[served.serial] = obj | {"metadata": metadata}


def _filled(served: Served, obj: Object) -> Object:
    """With the defaults of its version."""
    new: Object = copy(obj)
    if served.custom is not None:
        served.custom.default(new)
    return new


async def convert(
    converter: Converter | None, served: Served, objects: Sequence[Object], wanted: str
) -> list[Object]:
    """The objects in the `wanted` apiVersion; metadata but labels and annotations stay as they are."""
    foreign = [one for one in objects if one["apiVersion"] != wanted]
    if not foreign:
        return list(objects)
    if converter is None or served.crd is None:
        raise errors.InternalError("no conversion webhook can be called")
    review = {
        "kind": "ConversionReview",
        "apiVersion": "apiextensions.k8s.io/v1",
        "request": {
            "uid": str(uuid.uuid4()),
            "desiredAPIVersion": wanted,
            "objects": foreign,
        },
    }
    webhook = served.crd["spec"]["conversion"]["webhook"]
    answer = await converter(webhook.get("clientConfig") or {}, review)
    done = iter(_checked(served, review, answer, foreign, wanted))
    return [one if one["apiVersion"] == wanted else next(done) for one in objects]


def _checked(
    served: Served, review: Object, answer: Any, asked: Sequence[Object], wanted: str
) -> list[Object]:
    """The converted objects of an answer that keeps the rules."""

    def failed(why: str) -> errors.ApiError:
        return errors.InternalError(f"conversion webhook for {served.name} failed: {why}")

    response = answer.get("response") if isinstance(answer, dict) else None
    if not isinstance(response, dict):
        raise failed("no response provided")
    if response.get("uid") != review["request"]["uid"]:
        raise failed("the response is for another request")
    result = response.get("result") or {}
    if result.get("status") != "Success":
        raise failed(str(result.get("message") or "the webhook returned no success"))
    converted = response.get("convertedObjects")
    if not isinstance(converted, list) or len(converted) != len(asked):
        raise failed(f"webhook returned {len(converted or ())} objects, expected {len(asked)}")
    return [_restored(old, new, wanted, failed) for old, new in zip(asked, converted, strict=True)]


def _restored(old: Object, new: Any, wanted: str, failed: Any) -> Object:
    if not isinstance(new, dict) or new.get("apiVersion") != wanted:
        raise failed(f"webhook returned an object that is not of version {wanted}")
    if new.get("kind") != old["kind"]:
        raise failed("webhook returned an object of another kind")
    metadata = new.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("uid") != old["metadata"].get("uid"):
        raise failed("webhook changed the metadata")
    kept = dict(old["metadata"])
    for key in ("labels", "annotations"):
        kept.pop(key, None)
        if metadata.get(key):
            kept[key] = metadata[key]
    return new | {"metadata": kept}


_TIMEOUT_SECONDS = 30.0


def webhook(outbound: Outbound) -> Converter:
    """Posts reviews to webhooks in the cluster."""

    async def post(client: Object, review: Object) -> Any:
        url = _url(client)
        try:
            tls = outbound.tls(client.get("caBundle") or "")
            async with (
                asyncio.timeout(_TIMEOUT_SECONDS),
                outbound.session().post(url, json=review, ssl=tls, allow_redirects=False) as answer,
            ):
                data = await answer.read()
                status = answer.status
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as problem:
            raise _failed(f'Post "{url}": {failure_text(problem)}') from problem
        if not 200 <= status < 300:
            raise _failed(data.decode(errors="replace")[:512] or f"status {status}")
        try:
            return loads(data)
        except ValueError as problem:
            raise _failed(f"the answer is no JSON: {problem}") from problem

    return post


def _url(client: Object) -> str:
    if client.get("url"):
        return str(client["url"])
    service = client.get("service") or {}
    host = f"{service.get('name')}.{service.get('namespace')}.svc:{service.get('port') or 443}"
    path = str(service.get("path") or "/")
    return f"https://{host}{path if path.startswith('/') else '/' + path}?timeout=30s"


def _failed(why: str) -> errors.ApiError:
    return errors.InternalError(f"conversion webhook failed: {why}")
