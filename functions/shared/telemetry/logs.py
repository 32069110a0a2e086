"""One JSON object a line on standard error. No token, password or mail address ever goes in."""

import json
import logging
import sys
import time
from datetime import UTC, datetime
from functools import cache
from typing import Any

from pydantic import Field, TypeAdapter

from functions.shared.settings import Misconfigured, Settings, read

_LINE = TypeAdapter(Any).serializer
_ENCODER = json.JSONEncoder(default=str)
# What a record has besides, for whoever adds a handler with a format of their own: to find it out takes longer than
# all the rest.
_UNSAID = vars(logging.makeLogRecord({})) | {
    "process": 0,
    "processName": "",
    "thread": 0,
    "threadName": "",
    "msecs": 0.0,
}


class LogSettings(Settings):
    """How much is logged."""

    log_level: str = Field(
        default="info",
        pattern="^(?i:debug|info|warning|error|critical)$",
        description="least level that is logged",
    )


class JsonLine(logging.Formatter):
    """Render a record and its `fields` as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in getattr(record, "fields", {}).items() if value is not None}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return _as_json(line)


def _as_json(line: dict[str, Any]) -> str:
    try:
        return _LINE.to_json(line, fallback=str).decode()
    except ValueError:
        # Half of a character, which is no UTF-8: the encoder of the standard library writes it all the same.
        return _ENCODER.encode(line)


class _Record(logging.LogRecord):
    """A record with what a line says."""

    def __init__(self, message: str, level: int, trace: bool, fields: dict[str, Any]):
        self.__dict__.update(_UNSAID, name="food", msg=message, levelno=level, fields=fields)
        self.levelname, self.created = logging.getLevelName(level), time.time()
        self.exc_info = sys.exc_info() if trace else None


@cache
def _logger() -> logging.Logger:
    logger = logging.getLogger("food")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonLine())
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(_level())
    return logger


def _level() -> str:
    try:
        return read(LogSettings).log_level.upper()
    except Misconfigured:
        # A process that starts says what is wrong with it; a tool logs all the same.
        return "INFO"


def log(message: str, *, level: int = logging.INFO, trace: bool = False, **fields: Any) -> None:
    """Write one line; `fields` whose value is None are left out, `trace` adds the exception that is being handled."""
    logger = _logger()
    if logger.isEnabledFor(level):
        logger.handle(_Record(message, level, trace, fields))


def milliseconds_since(start: float) -> float:
    """Milliseconds since `start`, a time.perf_counter() reading."""
    return round((time.perf_counter() - start) * 1000, 2)
