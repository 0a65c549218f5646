"""What /metrics tells about webhooks, under upstream's names."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from todoku.aio.metrics import Distribution, Family, Shown

_SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10, 25)
_PREFIX = "apiserver_admission_webhook_"
CALL_FAILED, NO_ERROR = "calling_webhook_error", "no_error"


class Figures:
    """Counts the calls of webhooks; `type` is `admit` for mutating ones, `validating` for the others."""

    def __init__(self) -> None:
        about = ("name", "type", "operation")
        self._seconds = Distribution(
            _PREFIX + "admission_duration_seconds",
            "How long webhooks took to answer, in seconds.",
            _SECONDS,
            (*about, "rejected"),
        )
        self._calls = Family(
            "counter",
            _PREFIX + "request_total",
            "Calls of webhooks.",
            (*about, "code", "rejected"),
        )
        self._rejections = Family(
            "counter",
            _PREFIX + "rejection_count",
            "Requests that webhooks refused, or that were refused because a webhook failed.",
            (*about, "error_type", "rejection_code"),
        )
        self._opened = Family(
            "counter",
            _PREFIX + "fail_open_count",
            "Requests let through although a webhook failed.",
            ("name", "type"),
        )

    def shown(self) -> Sequence[Shown]:
        return self._seconds, self._calls, self._rejections, self._opened

    def answered(
        self, name: str, type_: str, operation: str, *, began: float, code: int, allowed: bool
    ) -> None:
        """A webhook gave its verdict."""
        self._call(name, type_, operation, began, str(200 if allowed else code), not allowed)
        if not allowed:
            self._rejections.child(name, type_, operation, NO_ERROR, str(code)).value += 1

    def failed(
        self, name: str, type_: str, operation: str, *, began: float, fails_open: bool
    ) -> None:
        """A webhook could not be called, or made no sense."""
        self._call(name, type_, operation, began, "0", not fails_open)
        if fails_open:
            self._opened.child(name, type_).value += 1
        else:
            self._rejections.child(name, type_, operation, CALL_FAILED, "0").value += 1

    def _call(
        self, name: str, type_: str, operation: str, began: float, code: str, rejected: bool
    ) -> None:
        word = "true" if rejected else "false"
        self._seconds.child(name, type_, operation, word).observe(perf_counter() - began)
        self._calls.child(name, type_, operation, code, word).value += 1
