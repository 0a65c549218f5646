"""Calling one webhook: the AdmissionReview that goes out, and what the answer means.

Source: admission.k8s.io/v1; docs, Dynamic Admission Control.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import aiohttp

from todoku.aio import log as logs
from todoku.api.errors import ApiError, BadRequest, InternalError, from_status
from todoku.api.meta import Object
from todoku.apiserver.admission.figures import Figures
from todoku.apiserver.admission.matching import Selectors
from todoku.apiserver.config import Attributes
from todoku.apiserver.outbound import Outbound, failure_text, read_answer

log = logs.get(__name__)

_MAX_ANSWER_BYTES = 16 << 20
_MAX_TEXT_BYTES = 2048
_KNOWN_VERSIONS = ("v1", "v1beta1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One webhook of a configuration, as far as calling it is concerned."""

    configuration: str
    index: int
    name: str
    client: Object
    rules: Sequence[Object]
    selectors: Selectors
    fails_open: bool
    timeout_seconds: float
    side_effects: str
    versions: Sequence[str]
    conditions: Sequence[Object]
    exact: bool  # only the versions that its rules name
    reinvoked: bool

    @property
    def key(self) -> tuple[str, int]:
        """Unlike any other hook's; names may be the same in two configurations."""
        return self.configuration, self.index

    @staticmethod
    def of(configuration: str, wire: Object, index: int = 0) -> Hook:
        return Hook(
            configuration=configuration,
            index=index,
            name=wire.get("name", ""),
            client=wire.get("clientConfig") or {},
            rules=wire.get("rules") or (),
            selectors=Selectors(wire.get("namespaceSelector"), wire.get("objectSelector")),
            fails_open=wire.get("failurePolicy", "Fail") == "Ignore",
            timeout_seconds=float(wire.get("timeoutSeconds") or 10),
            side_effects=wire.get("sideEffects", "Unknown"),
            versions=wire.get("admissionReviewVersions") or ("v1beta1",),
            conditions=wire.get("matchConditions") or (),
            exact=wire.get("matchPolicy", "Equivalent") == "Exact",
            reinvoked=wire.get("reinvocationPolicy", "Never") == "IfNeeded",
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """A webhook's answer; `patch` is a JSON patch document (mutating ones only)."""

    allowed: bool
    status: Object
    patch: list[Any]
    warnings: Sequence[str]
    annotations: Mapping[str, str] = field(default_factory=dict)  # for the audit log


class CallFailed(Exception):
    """No usable answer came; the text says why."""


_CALLING = "failed to call webhook"


class Caller:
    def __init__(self, outbound: Outbound, figures: Figures) -> None:
        self._outbound = outbound
        self._figures = figures

    async def ask(
        self, hook: Hook, attributes: Attributes, *, mutating: bool = False
    ) -> Verdict | None:
        """The webhook's verdict; None when it failed and its policy is to ignore that.

        Raises an ApiError when it failed otherwise, or cannot serve a dry run.
        """
        if attributes.dry_run and hook.side_effects not in ("None", "NoneOnDryRun"):
            raise BadRequest(f'admission webhook "{hook.name}" does not support dry run')
        began = perf_counter()
        about = (hook.name, "admit" if mutating else "validating", attributes.operation)
        try:
            verdict = await self._call(hook, attributes, mutating)
            code = int(verdict.status.get("code") or 400)
            allowed = verdict.allowed
            self._figures.answered(*about, began=began, code=code, allowed=allowed)
            return verdict
        except CallFailed as failure:
            self._figures.failed(*about, began=began, fails_open=hook.fails_open)
            if hook.fails_open:
                log.warning("Webhook failed, ignored by its policy", webhook=hook.name, why=failure)
                return None
            text = f'failed calling webhook "{hook.name}": {failure}'
            raise InternalError.of(text) from failure

    async def _call(self, hook: Hook, attributes: Attributes, mutating: bool) -> Verdict:
        version = next((one for one in hook.versions if one in _KNOWN_VERSIONS), None)
        if version is None:
            raise CallFailed(
                "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)"
            )
        uid = str(uuid.uuid4())
        review = review_of(attributes, uid, version)
        answer = await self._post(hook, review)
        return verdict_of(answer, uid, version, mutating=mutating)

    async def _post(self, hook: Hook, review: Object) -> Any:
        url = url_of(hook)
        shown = f'Post "{url}"'
        try:
            tls = self._outbound.tls(hook.client.get("caBundle") or "")
            async with asyncio.timeout(hook.timeout_seconds):
                return await self._send(url, tls, review)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise CallFailed(f"{_CALLING}: {shown}: {failure_text(error)}") from error
        except ValueError as error:
            raise CallFailed(f"{_CALLING}: {error}") from error

    async def _send(self, url: str, tls: Any, review: Object) -> Any:
        body = json.dumps(review, separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json, */*"}
        for attempt in (1, 2):
            try:
                async with self._outbound.session().post(
                    url, data=body, headers=headers, ssl=tls, allow_redirects=False
                ) as response:
                    data = await read_answer(response, _MAX_ANSWER_BYTES)
                    status = response.status
                break
            except aiohttp.ServerDisconnectedError:
                # a kept connection that the webhook had closed meanwhile
                if attempt == 2:
                    raise
        if not 200 <= status < 300:
            why = answer_problem(status, data.decode("utf-8", "replace").strip())
            raise CallFailed(f"{_CALLING}: {why}")
        try:
            return json.loads(data)
        except RecursionError as error:
            raise CallFailed(f"{_CALLING}: exceeded max depth") from error
        except ValueError as error:
            why = _unreadable(data.decode("utf-8", "replace"))
            raise CallFailed(f"{_CALLING}: {why}") from error


_ANSWERS = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}


def answer_problem(status: int, text: str) -> str:
    """What an answer that is no success means, as client-go words it for a body that is no Status."""
    if status in _ANSWERS:
        return _ANSWERS[status]
    shown = text[:_MAX_TEXT_BYTES]
    if status == 403:
        return shown or "forbidden"
    if status >= 500:
        quoted = json.dumps(shown or "unknown")
        return f"an error on the server ({quoted}) has prevented the request from succeeding"
    return f"the server responded with the status code {status} but did not return more information"


def _unreadable(text: str) -> str:
    head = "couldn't get version/kind; json parse error: "
    rest = text.lstrip()
    if not rest:
        return f"{head}unexpected end of JSON input"
    return f"{head}invalid character {rest[0]!r} looking for beginning of value"


def url_of(hook: Hook) -> str:
    """Where the webhook is called, with the timeout it must keep."""
    client = hook.client
    query = f"timeout={hook.timeout_seconds:g}s"
    if client.get("url"):
        url = str(client["url"])
        return f"{url}{'&' if '?' in url else '?'}{query}"
    service = client.get("service") or {}
    host = f"{service.get('name', '')}.{service.get('namespace', '')}.svc"
    path = str(service.get("path") or "/")
    return f"https://{host}:{service.get('port') or 443}{path if path.startswith('/') else '/' + path}?{query}"


def review_of(attributes: Attributes, uid: str, version: str) -> Object:
    """The AdmissionReview request."""
    asked = attributes.asked or attributes
    resource = attributes.resource
    request: Object = {
        "uid": uid,
        "kind": _named_kind(attributes),
        "resource": _named_resource(attributes),
        "requestKind": _named_kind(asked),
        "requestResource": _named_resource(asked),
        "operation": attributes.operation,
        "userInfo": attributes.user.info(),
        "object": _typed(attributes.object, attributes),
        "oldObject": _typed(attributes.old, attributes),
        "dryRun": attributes.dry_run,
        "options": attributes.options or None,
    }
    if attributes.subresource:
        request["subResource"] = request["requestSubResource"] = attributes.subresource
    if attributes.name:
        request["name"] = attributes.name
    if attributes.namespace or resource.name == "namespaces":
        request["namespace"] = attributes.namespace or attributes.name
    return {
        "kind": "AdmissionReview",
        "apiVersion": f"admission.k8s.io/{version}",
        "request": request,
    }


def _named_kind(attributes: Attributes) -> Object:
    kind = attributes.kind
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _named_resource(attributes: Attributes) -> Object:
    resource = attributes.resource
    return {
        "group": resource.group,
        "version": resource.version,
        "resource": resource.plural,
    }


def _typed(obj: Object | None, attributes: Attributes) -> Object | None:
    if obj is None or (obj.get("kind") and obj.get("apiVersion")):
        return obj
    kind = attributes.kind
    return {"kind": kind.kind, "apiVersion": kind.api_version, **obj}


def verdict_of(answer: Any, uid: str, version: str, *, mutating: bool = True) -> Verdict:
    """Read an AdmissionReview response.  Raises CallFailed if it is none, or not ours."""
    answer = answer if isinstance(answer, dict) else {}
    response = answer.get("response")
    if not isinstance(response, dict):
        raise CallFailed(f"{_INVALID}: webhook response was absent")
    if problem := _mistyped(response):
        raise CallFailed(f"{_CALLING}: {problem}")
    problem = _foreign(answer, response, uid) if version == "v1" else ""
    problem = problem or _patch_problem(response, version, mutating=mutating)
    if problem:
        raise CallFailed(f"{_INVALID}: {problem}")
    patch = _patch_of(response["patch"]) if mutating and response.get("patch") else []
    warnings = [one or "" for one in response.get("warnings") or ()]
    annotations = response.get("auditAnnotations") or {}
    return Verdict(
        bool(response.get("allowed")), response.get("status") or {}, patch, warnings, annotations
    )


_INVALID = "received invalid webhook response"


# The fields of an AdmissionResponse and of its Status: JSON's word for each, and Go's.
_RESPONSE: dict[str, tuple[type, str]] = {
    "uid": (str, "types.UID"),
    "allowed": (bool, "bool"),
    "status": (dict, "v1.Status"),
    "patch": (str, "[]uint8"),
    "patchType": (str, "v1.PatchType"),
    "auditAnnotations": (dict, "map[string]string"),
    "warnings": (list, "[]string"),
}
_STATUS: dict[str, tuple[type, str]] = {
    "metadata": (dict, "v1.ListMeta"),
    "message": (str, "string"),
    "reason": (str, "v1.StatusReason"),
    "details": (dict, "v1.StatusDetails"),
    "code": (int, "int32"),
}
_WORDS = {dict: "object", list: "array", str: "string", bool: "bool"}


def _mistyped(response: Object) -> str:
    """What Go's decoder would not take of a response; "" if it would take all."""
    for where, holder, fields in (
        ("AdmissionResponse.response", response, _RESPONSE),
        ("Status.response.status", response.get("status") or {}, _STATUS),
    ):
        for key, (wanted, name) in fields.items():
            value = holder.get(key) if isinstance(holder, dict) else None
            if value is None or type(value) is wanted:
                continue
            word = _WORDS.get(type(value), "number")
            return (
                f"json: cannot unmarshal {word} into Go struct field {where}.{key} of type {name}"
            )
    texts = [*(response.get("warnings") or ()), *(response.get("auditAnnotations") or {}).values()]
    for one in texts:
        if not isinstance(one, str | None):
            word = _WORDS.get(type(one), "number")
            return f"json: cannot unmarshal {word} into Go value of type string"
    return ""


def _foreign(answer: Object, response: Object, uid: str) -> str:
    """Why an answer is not one to the review that was sent; older reviews have no such rules."""
    if response.get("uid") != uid:
        return f'expected response.uid="{uid}", got "{response.get("uid", "")}"'
    found = f"{answer.get('apiVersion') or '/'}, Kind={answer.get('kind') or ''}"
    expected = "admission.k8s.io/v1, Kind=AdmissionReview"
    return "" if found == expected else f"expected webhook response of {expected}, got {found}"


def _patch_problem(response: Object, version: str, *, mutating: bool) -> str:
    patch, kind = response.get("patch"), response.get("patchType")
    if version != "v1":
        return ""
    if not mutating:
        for field, value in (("patch", patch), ("patchType", kind)):
            if value:
                return f"validating webhook may not return response.{field}"
        return ""
    if patch and kind is None:
        return "webhook returned response.patch but not response.patchType"
    if kind is not None and not patch:
        return "webhook returned response.patchType but not response.patch"
    if kind == "":
        return 'webhook returned invalid response.patchType of ""'
    return ""


def _patch_of(encoded: object) -> list[Any]:
    try:
        raw = base64.b64decode(str(encoded), validate=True)
    except binascii.Error as error:
        raise CallFailed(f"{_CALLING}: illegal base64 data: {error}") from error
    try:
        decoded = json.loads(raw)
    except RecursionError as error:
        raise CallFailed(f"{_UNDECODABLE}: exceeded max depth") from error
    except ValueError as error:
        why = _unreadable(raw.decode("utf-8", "replace")).rpartition("error: ")[2]
        raise CallFailed(f"{_UNDECODABLE}: {why}") from error
    if not isinstance(decoded, list):
        raise CallFailed(f"{_UNDECODABLE}: it is not a list of operations")
    return decoded


_UNDECODABLE = "received undecodable patch in webhook response"


def denial(hook: Hook, status: Object) -> ApiError:
    """A refusal with the webhook's own words, code and reason."""
    head = f'admission webhook "{hook.name}" denied the request'
    text = status.get("message") or status.get("reason")
    code = int(status.get("code") or 0)
    body = {
        **status,
        "status": "Failure",
        "message": f"{head}: {text}" if text else f"{head} without explanation",
        "code": code if 400 <= code < 1000 else 400,  # three digits are all that HTTP has
    }
    error = from_status(body)
    error.reason = str(status.get("reason", ""))
    return error
