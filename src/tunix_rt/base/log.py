"""Structured logs: a constant sentence and fields, as text for people or as JSON for machines.

What a piece of work is about (request, run, job, worker) is bound once and stands on every line that it logs.
"""

import contextvars
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tunix_rt.base.settings import Settings

_bound: contextvars.ContextVar[dict[str, Any]] = contextvars.ContextVar("bound", default={})  # noqa: B039  # never changed in place
_PLAIN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}


@contextmanager
def bind(**fields: Any) -> Iterator[None]:
    """Put fields on every line that is logged inside the block, by tasks started there too."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What a record says besides its sentence."""
    return {**_bound.get(), **{key: value for key, value in vars(record).items() if key not in _PLAIN}}


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the fields, and `exception` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        document = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str, ensure_ascii=False)


class TextLines(logging.Formatter):
    """`time level sentence  key=value …`, and the traceback below where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        fields = "".join(f" {key}={_shown(value)}" for key, value in fields_of(record).items())
        line = f"{_time(record)} {record.levelname.lower():<7} {record.getMessage()}{fields and ' ' + fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _shown(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text.isprintable() or " " in text else text


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def configure(settings: Settings) -> None:
    """Send the process's logs to stderr in the form that the settings ask for."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if settings.log_format == "json" else TextLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in ("httpx", "httpcore", "alembic", "uvicorn.access", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
