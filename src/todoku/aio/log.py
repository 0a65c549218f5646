"""Structured logs: a constant message and fields as keywords, one line per record on stderr."""

import logging
import sys
import time
from typing import Any


class Log:
    """A logger whose methods take fields as keywords: `log.info("Pod started", pod=key)`."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, message: str, **fields: Any) -> None:
        self._write(logging.DEBUG, message, fields)

    def info(self, message: str, **fields: Any) -> None:
        self._write(logging.INFO, message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        self._write(logging.WARNING, message, fields)

    def error(self, message: str, **fields: Any) -> None:
        self._write(logging.ERROR, message, fields)

    def exception(self, message: str, **fields: Any) -> None:
        """Log an error together with the exception that is being handled."""
        self._write(logging.ERROR, message, fields, exc_info=True)

    def _write(
        self, level: int, message: str, fields: dict[str, Any], exc_info: bool = False
    ) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, message, extra={"fields": fields}, exc_info=exc_info)


class LineFormatter(logging.Formatter):
    """`2026-11-23T09:59:01.123Z info kubelet Pod started pod=default/web`."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        room = record.name.removeprefix("todoku.")
        fields = getattr(record, "fields", {})
        tail = "".join(f" {key}={_text(value)}" for key, value in fields.items())
        level = record.levelname.lower()
        line = f"{stamp}.{int(record.msecs):03d}Z {level} {room} {record.getMessage()}{tail}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def get(name: str) -> Log:
    """Return the structured logger of a module: `log = get(__name__)`."""
    return Log(logging.getLogger(name))


def configure(level: str = "info") -> None:
    """Send every record to stderr, one line each.  Called once per process by its main."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _text(value: Any) -> str:
    text = str(value)
    return f'"{text}"' if " " in text or not text else text
