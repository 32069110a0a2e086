"""HTTP answers as the framework takes them: body, status, headers."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from functions.shared import exact_json

Answer = tuple[str | bytes, int, dict[str, str]]

JSON = "application/json"
# With 503: nothing was done, and the same may be asked again in a moment.
RETRY_AFTER = {"Retry-After": "1"}


def json_answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """Any JSON value as an answer; money keeps its two places."""
    return exact_json.dumps(body), status, {"Content-Type": JSON, **(headers or {})}


def status_body(status: int, path: str, message: str | None = None) -> dict[str, Any]:
    """What clients of the original know from its framework; `message` only where it had one."""
    return {
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "status": status,
        "error": HTTPStatus(status).phrase,
        **({} if message is None else {"message": message}),
        "path": path,
    }
