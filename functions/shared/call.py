"""Calling another function by its deployed name."""

import json
from functools import cache
from typing import Any

from functions.shared import exact_json, installation
from functions.shared.connections import Connections, NoAnswer
from functions.shared.settings import CallSettings, read
from functions.shared.telemetry import traces

CONNECT_SECONDS = 2
READ_SECONDS = 10


class CallFailed(Exception):
    """The other function gave no good answer: it is not known whether it worked; calling again is safe."""


@cache
def _connections() -> Connections:
    return Connections(CONNECT_SECONDS, READ_SECONDS)


@cache
def _listed() -> dict[str, str]:
    path = read(CallSettings).function_urls
    return json.loads(path.read_text()) if path else {}


def address(function: str) -> str:
    """Where `function` (its deployed name) answers."""
    settings = read(CallSettings)
    owner = function.partition("-")[0]
    return _listed().get(function) or settings.function_url.format(name=function, owner=owner)


def call(function: str, body: Any) -> Any:
    """POST `body` to `function` and give its JSON answer. Raises CallFailed unless it says 200."""
    try:
        answer = _connections().request(
            "POST",
            address(function),
            body=exact_json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **installation.headers(), **traces.inject()},
        )
    except NoAnswer as problem:
        raise CallFailed(f"{function} cannot be reached: {problem}") from problem
    if answer.status != 200:
        raise CallFailed(f"{function} answered {answer.status}")
    try:
        return exact_json.loads(answer.body)
    except ValueError as problem:
        raise CallFailed(f"{function} did not answer with JSON") from problem
