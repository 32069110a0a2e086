"""One JSON object a line on standard error. No token, password or mail address ever goes in."""

import json
import logging
import sys
import time
from datetime import UTC, datetime
from functools import cache
from typing import Any

from pydantic import Field

from functions.shared.settings import Misconfigured, Settings, read

_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)


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
        return _ENCODER.encode(line)


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
        record = logging.LogRecord("food", level, "", 0, message, None, sys.exc_info() if trace else None)
        record.fields = fields
        logger.handle(record)


def milliseconds_since(start: float) -> float:
    """Milliseconds since `start`, a time.perf_counter() reading."""
    return round((time.perf_counter() - start) * 1000, 2)
