"""What is the same at every function's endpoint: probes are answered, everything else is counted and timed.

Where only the installation itself may call, strangers are turned away here, before anything is read.
"""

import functools
import time
from collections.abc import Callable
from logging import WARNING
from pathlib import Path
from typing import Any

from functions.shared import installation
from functions.shared.answers import RETRY_AFTER, Answer, json_answer, status_body
from functions.shared.request import Request, TooLarge
from functions.shared.settings import InstallationSettings, require, serving
from functions.shared.telemetry import probes, traces
from functions.shared.telemetry.logs import LogSettings, log
from functions.shared.telemetry.metrics import Gauge, Histogram, outcome_of

LARGEST_BODY = 8 * 1024 * 1024

REQUESTS = Histogram(
    "function_request_duration_seconds", "Requests to functions, by their outcome", ["function", "outcome"]
)
BUSY = Gauge(
    "function_requests_in_progress", "Requests that functions work on", ["function"], multiprocess_mode="livesum"
)


def deployed_name(function: Callable) -> str:
    """The name under which a function is deployed: its owner and its file."""
    path = Path(function.__code__.co_filename)
    return f"{path.parent.name}-{path.stem}".replace("_", "-")


def instrumented(
    function: Callable,
    handle: Callable[[Request], Answer] | None = None,
    needs_database: bool = True,
    spans: bool = True,
    largest: int = LARGEST_BODY,
    too_large: Callable[[Request], Answer] | None = None,
    strangers: Callable[[], Answer] | None = None,
) -> Callable[[Any], Answer]:
    """`function` with everything that is the same; where it takes no request, `handle` calls it.

    Without `spans` it is for `handle` to say what is a span. A body of more than `largest` bytes is `too_large`.
    With `strangers`, which gives their answer, only the installation itself may call.
    """
    if serving:
        traces.check()
    require(LogSettings)
    name, handle = deployed_name(function), handle or function
    handle = _spanned(name, handle) if spans else handle
    busy, seconds = BUSY.child(name), functools.cache(lambda outcome: REQUESTS.labels(name, outcome))
    is_stranger, turn_away = _strangers(name, strangers)

    def count(answering: Callable[[Request], Answer], request: Request) -> Answer:
        began, outcome = time.perf_counter(), "failed"
        try:
            answer = answering(request)
            outcome = outcome_of(answer[1])
            return answer
        finally:
            seconds(outcome).observe(time.perf_counter() - began)

    def work(request: Request) -> Answer:
        busy.inc()
        try:
            return handle(request)
        finally:
            busy.dec()

    def refuse(request: Request) -> Answer:
        return count(too_large or _too_large, request)

    @functools.wraps(function)
    def watch(arrived: Any) -> Answer:
        if probe := probes.answer(arrived.path, needs_database):
            return probe
        if is_stranger(arrived):
            return count(turn_away, Request(arrived.method, arrived.path))
        try:
            request = Request.of(arrived, largest)
        except TooLarge:
            return refuse(Request(arrived.method, arrived.path))
        return count(work, request)

    # For a server that takes the body before it calls, and refuses what it has no time for.
    watch.largest, watch.too_large = largest, refuse
    watch.busy = functools.partial(count, _busy)
    watch.counted = count
    watch.internal = strangers is not None
    return watch


def _strangers(
    name: str, answer: Callable[[], Answer] | None
) -> tuple[Callable[[Any], bool], Callable[[Request], Answer]]:
    """Whether a request is a stranger's, and what a stranger gets; without an answer nobody is one."""

    def is_stranger(arrived: Any) -> bool:
        if isinstance(arrived, Request) and arrived.is_ours:
            return False
        return not installation.is_ours(arrived.headers.get("Authorization"))

    def turn_away(request: Request) -> Answer:
        log("stranger", level=WARNING, function=name, method=request.method, reason="no token of this installation")
        return answer()

    if answer is None:
        return (lambda _: False), turn_away
    require(InstallationSettings)
    return is_stranger, turn_away


def _busy(request: Request) -> Answer:
    return json_answer(status_body(503, request.path), 503, RETRY_AFTER)


def _too_large(_: Request) -> Answer:
    return json_answer({"error": "the body is larger than this function takes"}, 413, {"Connection": "close"})


def _spanned(name: str, handle: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
    def spanned(request: Request) -> Answer:
        with traces.span(name, traces.extract(request.headers.get), method=request.method) as span:
            answer = handle(request)
            span.set_outcome(outcome_of(answer[1]), failed=answer[1] >= 500)
            return answer

    return spanned
