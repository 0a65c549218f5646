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
from todoku.api.meta import GroupVersionKind, Object, copy, gvk_of
from todoku.apiserver.encoding import Cached, loads
from todoku.apiserver.outbound import Outbound, failure_text

if TYPE_CHECKING:
    from todoku.apiserver.catalog import Served
    from todoku.apiserver.config import Converter


class Unconverted(errors.ApiError):
    """A conversion webhook failed; upstream names no reason for it."""

    code, reason = 500, ""


async def prepare(converter: Converter | None, served: Served, found: Iterable[Cached]) -> None:
    """Convert what is not yet there in this version.  Raises Unconverted when the webhook fails."""
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
        raise Unconverted("no conversion webhook can be called")
    webhook = served.crd["spec"]["conversion"]["webhook"]
    review = {
        "kind": "ConversionReview",
        "apiVersion": f"apiextensions.k8s.io/{_review_version(webhook)}",
        "request": {
            "uid": str(uuid.uuid4()),
            "desiredAPIVersion": wanted,
            "objects": foreign,
        },
    }
    about = f"conversion webhook for {foreign[0]['apiVersion']}, Kind={foreign[0]['kind']}"
    try:
        answer = await converter(webhook.get("clientConfig") or {}, review)
        found = _objects(review, answer)
    except ConversionFailed as problem:
        raise Unconverted(f"{about} failed: {problem}") from problem
    if len(found) != len(foreign):
        raise Unconverted(f"{about} returned {len(found)} objects, expected {len(foreign)}")
    try:
        done = iter([_restored(old, new, wanted) for old, new in zip(foreign, found, strict=True)])
    except ConversionFailed as problem:
        raise Unconverted(f"{about} returned {problem}") from problem
    return [one if one["apiVersion"] == wanted else next(done) for one in objects]


class ConversionFailed(Exception):
    """What a webhook did wrong, or why it could not be asked; upstream's wording."""


def _review_version(webhook: Object) -> str:
    """The first version that the webhook names and that is known."""
    listed = webhook.get("conversionReviewVersions") or ()
    return next((one for one in listed if one in ("v1", "v1beta1")), "v1")


def _objects(review: Object, answer: Any) -> list[Any]:
    """The converted objects of an answer that fits its request.  Raises ConversionFailed."""
    found = gvk_of(answer) if isinstance(answer, dict) else GroupVersionKind("", "", "")
    if found != gvk_of(review):
        expected = f"{review['apiVersion']}, Kind={review['kind']}"
        got = f"{found.api_version}, Kind={found.kind}"
        raise ConversionFailed(f"expected webhook response of {expected}, got {got}")
    response = answer.get("response")
    if not isinstance(response, dict):
        raise ConversionFailed("no response provided")
    uid = review["request"]["uid"]
    if response.get("uid") != uid:
        raise ConversionFailed(f'expected response.uid="{uid}", got "{response.get("uid", "")}"')
    result = response.get("result") or {}
    if result.get("status") != "Success":
        status = f"response.result.status was '{result.get('status', '')}', not 'Success'"
        raise ConversionFailed(str(result.get("message") or status))
    return list(response.get("convertedObjects") or ())


def _restored(old: Object, new: Any, wanted: str) -> Object:
    """The converted object with the metadata it had.  Raises ConversionFailed."""
    if not isinstance(new, dict):
        raise ConversionFailed("invalid converted object: it is no object")
    if new.get("apiVersion") != wanted:
        got = new.get("apiVersion") or ""
        raise ConversionFailed(
            f"invalid converted object: invalid groupVersion (expected {wanted}, received {got})"
        )
    metadata = new.get("metadata")
    if not isinstance(metadata, dict):
        raise ConversionFailed("invalid metadata in object: it has none")
    for what, before, after in (
        ("kind", old["kind"], new.get("kind")),
        *((key, old["metadata"].get(key), metadata.get(key)) for key in _SAME),
    ):
        if (before or "") != (after or ""):
            word = "UID" if what == "uid" else what
            raise ConversionFailed(
                f"invalid object: must have the same {word}: {before or ''} != {after or ''}"
            )
    kept = dict(old["metadata"])
    for key in ("labels", "annotations"):
        kept.pop(key, None)
        if metadata.get(key):
            kept[key] = metadata[key]
    return new | {"metadata": kept}


_SAME = ("name", "namespace", "uid")


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
            raise ConversionFailed(f'Post "{url}": {failure_text(problem)}') from problem
        if not 200 <= status < 300:
            raise ConversionFailed(data.decode(errors="replace")[:512] or f"status {status}")
        try:
            return loads(data)
        except ValueError as problem:
            raise ConversionFailed(f"the answer is no JSON: {problem}") from problem

    return post


def _url(client: Object) -> str:
    if client.get("url"):
        return f"{client['url']}?timeout=30s"
    service = client.get("service") or {}
    host = f"{service.get('name')}.{service.get('namespace')}.svc:{service.get('port') or 443}"
    path = str(service.get("path") or "/")
    return f"https://{host}{path if path.startswith('/') else '/' + path}?timeout=30s"
