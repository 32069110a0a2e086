"""HTTP answers as the framework takes them: body, status, headers."""

from typing import Any

from functions.shared import exact_json

Answer = tuple[str | bytes, int, dict[str, str]]

JSON = "application/json"


def json_answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """Any JSON value as an answer; money keeps its two places."""
    return exact_json.dumps(body), status, {"Content-Type": JSON, **(headers or {})}
