"""The one exception tree: every refusal is an `ApiError` that knows its wire `Status`.

Reasons, codes and details are those of meta/v1 Status (k8s.io/apimachinery api/errors); field problems are
worded as field.Error words them, because clients match the text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from todoku.api.meta import Object
from todoku.api.quantities import Quantity


class Path:
    """Where in an object a problem lies; `Path("spec") / "ports" / 0` prints `spec.ports[0]`.

    `path.key("a.b/c")` addresses a map entry and prints `[a.b/c]`.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def __truediv__(self, part: str | int) -> Path:
        if isinstance(part, int):
            return Path(f"{self._text}[{part}]")
        return Path(f"{self._text}.{part}" if self._text else part)

    def key(self, name: str) -> Path:
        return Path(f"{self._text}[{name}]")

    def __str__(self) -> str:
        return self._text or "<nil>"

    def __repr__(self) -> str:
        return f"Path({self._text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Path) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


# The object as a whole, as upstream prints a path whose only element has no name.
WHOLE = Path("[]")


@dataclass(frozen=True, slots=True)
class FieldError:
    """One problem with one field; `reason` is the wire cause (`FieldValueInvalid`, …)."""

    path: Path
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"

    def cause(self) -> Object:
        return {"reason": self.reason, "message": self.message, "field": str(self.path)}


@dataclass(frozen=True, slots=True)
class Rendered:
    """A value whose text in messages is known: what Go would print of a type that JSON does not tell."""

    text: str


# An absent map or list; an absent pointer prints as "null" in quotes, which is what None stands for.
NULL = Rendered("null")
# A value that the message leaves out (field.OmitValueType).
OMITTED = Rendered("")


def invalid(path: Path, value: Any, detail: str) -> FieldError:
    if value is OMITTED:
        return FieldError(path, "FieldValueInvalid", _joined("Invalid value", detail))
    text = _joined(f"Invalid value: {_shown(value)}", detail)
    return FieldError(path, "FieldValueInvalid", text)


def required(path: Path, detail: str = "") -> FieldError:
    return FieldError(path, "FieldValueRequired", _joined("Required value", detail))


def forbidden(path: Path, detail: str) -> FieldError:
    return FieldError(path, "FieldValueForbidden", _joined("Forbidden", detail))


def duplicate(path: Path, value: Any, detail: str = "") -> FieldError:
    text = _joined(f"Duplicate value: {_shown(value)}", detail)
    return FieldError(path, "FieldValueDuplicate", text)


def not_supported(path: Path, value: Any, supported: Iterable[str]) -> FieldError:
    listed = ", ".join(quoted(one) for one in supported)
    detail = f"supported values: {listed}" if listed else ""
    text = _joined(f"Unsupported value: {_shown(value)}", detail)
    return FieldError(path, "FieldValueNotSupported", text)


def not_found_field(path: Path, value: Any, detail: str = "") -> FieldError:
    text = _joined(f"Not found: {_shown(value)}", detail)
    return FieldError(path, "FieldValueNotFound", text)


def too_long(path: Path, limit: int) -> FieldError:
    text = f"Too long: may not be more than {limit} bytes"
    return FieldError(path, "FieldValueTooLong", text)


def too_many(path: Path, actual: int, limit: int) -> FieldError:
    noun = "item" if limit == 1 else "items"
    text = f"Too many: {actual}: must have at most {limit} {noun}"
    return FieldError(path, "FieldValueTooMany", text)


def type_invalid(path: Path, value: Any, detail: str) -> FieldError:
    return FieldError(path, "FieldValueTypeInvalid", f"Invalid value: {_shown(value)}: {detail}")


def internal_field(path: Path, detail: str) -> FieldError:
    return FieldError(path, "InternalError", f"Internal error: {detail}")


class ApiError(Exception):
    """A refusal as the API words it.  `code` is the HTTP status, `reason` the Status reason."""

    code = 500
    reason = "InternalError"

    def __init__(self, message: str, *, details: Object | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details or {}
        self._told = details is not None  # empty details are told too, if a refusal has any

    def status(self) -> Object:
        """The wire `Status` (meta/v1), its fields in the order in which Go writes them."""
        body: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details or self._told:
            body["details"] = self.details
        body["code"] = self.code
        return body


def _about(resource: str, name: str) -> Object:
    plural, _, group = resource.partition(".")
    details: Object = {"name": name} if name else {}
    if group:
        details["group"] = group
    details["kind"] = plural
    return details


class NotFound(ApiError):
    code, reason = 404, "NotFound"

    @classmethod
    def of(cls, resource: str, name: str) -> NotFound:
        """`resource` in its dotted form, as in `deployments.apps "web" not found`."""
        return cls(f'{resource} "{name}" not found', details=_about(resource, name))


class PathNotFound(NotFound):
    """404 for a path that nobody serves.  The answer is no Status but text, to which clients add what they asked for."""

    def __init__(self) -> None:
        super().__init__(_NO_RESOURCE)


def no_resource() -> NotFound:
    """404 for a resource that a served version does not have (NewGenericServerResponse)."""
    return NotFound(_NO_RESOURCE, details={})


_NO_RESOURCE = "the server could not find the requested resource"


class AlreadyExists(ApiError):
    code, reason = 409, "AlreadyExists"

    @classmethod
    def of(cls, resource: str, name: str) -> AlreadyExists:
        return cls(f'{resource} "{name}" already exists', details=_about(resource, name))


class Conflict(ApiError):
    code, reason = 409, "Conflict"

    @classmethod
    def of(cls, resource: str, name: str, why: str) -> Conflict:
        text = f'Operation cannot be fulfilled on {resource} "{name}": {why}'
        return cls(text, details=_about(resource, name))


class Invalid(ApiError):
    """422 with every field problem collected."""

    code, reason = 422, "Invalid"

    @classmethod
    def of(cls, kind: str, group: str, name: str, problems: Sequence[FieldError]) -> Invalid:
        """`The Service "web" is invalid: …` once kubectl has printed it; upstream's own wording."""
        qualified = f"{kind}.{group}" if group else kind
        problems = _affordable(problems)
        texts = list(dict.fromkeys(str(problem) for problem in problems))
        listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
        details: Object = {"name": name} if name else {}
        if group:
            details["group"] = group
        if kind:
            details["kind"] = kind
        details["causes"] = [problem.cause() for problem in problems]
        return cls(f'{qualified} "{name}" is invalid: {listed}', details=details)


# What the problems of one object may add up to, in characters: some quote the object, and each is sent twice.
_MAX_PROBLEMS_LENGTH = 8 << 20


def _affordable(problems: Sequence[FieldError]) -> Sequence[FieldError]:
    """The first problems, so many that an answer can carry them: all, but for whoever sends bad items by the myriad."""
    length = 0
    for index, problem in enumerate(problems):
        length += len(problem.message)
        if length > _MAX_PROBLEMS_LENGTH:
            return problems[: index + 1]
    return problems


class BadRequest(ApiError):
    code, reason = 400, "BadRequest"


class Unclassified(ApiError):
    """What upstream refuses without a reason, as a server error though the client's request is at fault."""

    code, reason = 400, ""


class Unauthorized(ApiError):
    code, reason = 401, "Unauthorized"

    def __init__(self, message: str = "Unauthorized", *, details: Object | None = None) -> None:
        super().__init__(message, details=details)


class Forbidden(ApiError):
    code, reason = 403, "Forbidden"

    @classmethod
    def of(cls, resource: str, name: str, why: str) -> Forbidden:
        subject = f'{resource} "{name}"' if name else resource
        return cls(f"{subject} is forbidden: {why}", details=_about(resource, name))


class MethodNotAllowed(ApiError):
    code, reason = 405, "MethodNotAllowed"


def no_method() -> MethodNotAllowed:
    """405 for a method that a path does not take (NewGenericServerResponse)."""
    text = "the server does not allow this method on the requested resource"
    return MethodNotAllowed(text, details={})


class NotAcceptable(ApiError):
    code, reason = 406, "NotAcceptable"


class Expired(ApiError):
    """410: the revision or the continue token is too old; `continue_token` lets the client go on."""

    code, reason = 410, "Expired"

    def __init__(
        self, message: str, *, details: Object | None = None, continue_token: str = ""
    ) -> None:
        super().__init__(message, details=details)
        self.continue_token = continue_token

    def status(self) -> Object:
        body = super().status()
        if self.continue_token:
            body["metadata"] = {"continue": self.continue_token}
        return body


class TooLarge(ApiError):
    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    code, reason = 415, "UnsupportedMediaType"


class TooManyRequests(ApiError):
    code, reason = 429, "TooManyRequests"

    def __init__(
        self, message: str, *, retry_after_seconds: int = 1, details: Object | None = None
    ) -> None:
        super().__init__(
            message, details=(details or {}) | {"retryAfterSeconds": retry_after_seconds}
        )
        self.retry_after_seconds = retry_after_seconds


class InternalError(ApiError):
    code, reason = 500, "InternalError"

    @classmethod
    def of(cls, why: str) -> InternalError:
        """`Internal error occurred: …`, with the cause alone beside it."""
        return cls(f"Internal error occurred: {why}", details={"causes": [{"message": why}]})


class ServiceUnavailable(ApiError):
    code, reason = 503, "ServiceUnavailable"


class Timeout(ApiError):
    code, reason = 504, "Timeout"


_BY_REASON: dict[str, type[ApiError]] = {
    kind.reason: kind
    for kind in (
        NotFound, AlreadyExists, Conflict, Invalid, BadRequest, Unauthorized, Forbidden,
        MethodNotAllowed, NotAcceptable, Expired, TooLarge, UnsupportedMediaType, TooManyRequests,
        InternalError, ServiceUnavailable, Timeout,
    )
}  # fmt: skip


# What an answer means that is no Status.
_BY_CODE: dict[int, type[ApiError]] = {
    kind.code: kind
    for kind in (
        NotFound, Conflict, Invalid, BadRequest, Unauthorized, Forbidden, MethodNotAllowed, NotAcceptable, TooLarge,
        UnsupportedMediaType, TooManyRequests, InternalError, ServiceUnavailable, Timeout,
    )
}  # fmt: skip


def from_status(status: Object) -> ApiError:
    """The exception that a wire `Status` stands for; unknown reasons become plain `ApiError`."""
    reason = str(status.get("reason", ""))
    known = _BY_REASON.get(reason) if reason else _BY_CODE.get(int(status.get("code", 0)))
    kind = known or ApiError
    error = kind.__new__(kind)
    ApiError.__init__(error, str(status.get("message", "")), details=status.get("details"))
    error.code = int(status.get("code", kind.code))
    error.reason = reason or kind.reason
    if isinstance(error, Expired):
        error.continue_token = str((status.get("metadata") or {}).get("continue", ""))
    if isinstance(error, TooManyRequests):
        error.retry_after_seconds = int(error.details.get("retryAfterSeconds", 1))
    return error


def _shown(value: Any) -> str:
    """As field.Error prints it: strings as Go quotes them, anything but plain values as Go's JSON."""
    if value is None:
        return '"null"'
    if isinstance(value, Rendered):
        return value.text
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Quantity | Path):
        return str(value)
    return go_json(value)


def go_json(value: Any) -> str:
    """JSON as Go's encoder writes it: maps sorted by key, `<`, `>` and `&` escaped."""
    text = json.dumps(_in_order(value), separators=(",", ":"), ensure_ascii=False)
    return text.translate(_JSON_ESCAPES)


_JSON_ESCAPES = {ord(one): f"\\u{ord(one):04x}" for one in "<>&\u2028\u2029"}
_SELECTOR = ("matchLabels", "matchExpressions")


def _in_order(value: Any) -> Any:
    """Maps of strings sorted by key; label selectors in the order of their struct; the rest as it is."""
    if isinstance(value, list | tuple):
        return [_in_order(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value and all(key in _SELECTOR for key in value):
        keys: Iterable[str] = [key for key in _SELECTOR if key in value]
    elif all(isinstance(one, str) for one in value.values()):
        keys = sorted(value)
    else:
        keys = value
    return {key: _in_order(value[key]) for key in keys}


_GO_ESCAPES = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
    '"': '\\"', "\\": "\\\\",
}  # fmt: skip


def quoted(text: str) -> str:
    """A string as Go's %q prints it."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_GO_ESCAPES.get(one) or _printable(one) for one in text) + '"'


def _printable(one: str) -> str:
    if one.isprintable():
        return one
    code = ord(one)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _joined(head: str, detail: str) -> str:
    return f"{head}: {detail}" if detail else head
