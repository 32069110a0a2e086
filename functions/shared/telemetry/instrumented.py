"""What is the same at every function's endpoint: probes are answered, everything else is counted and timed."""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from functions.shared.answers import Answer, json_answer
from functions.shared.request import Request, TooLarge
from functions.shared.settings import serving
from functions.shared.telemetry import metrics, probes, traces
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
) -> Callable[[Any], Answer]:
    """`function` with everything that is the same; where it takes no request, `handle` calls it.

    Without `spans` it is for `handle` to say what is a span. A body of more than `largest` bytes is `too_large`.
    """
    if serving:
        traces.check()
        metrics.omit_creation_times()
    name, handle = deployed_name(function), handle or function
    handle = _spanned(name, handle) if spans else handle
    busy = BUSY.labels(name)

    def count(answering: Callable[[Request], Answer], request: Request) -> Answer:
        began, outcome = time.perf_counter(), "failed"
        try:
            answer = answering(request)
            outcome = outcome_of(answer[1])
            return answer
        finally:
            REQUESTS.labels(name, outcome).observe(time.perf_counter() - began)

    def work(request: Request) -> Answer:
        with busy.track_inprogress():
            return handle(request)

    def refuse(request: Request) -> Answer:
        return count(too_large or _too_large, request)

    @functools.wraps(function)
    def watch(arrived: Any) -> Answer:
        if probe := probes.answer(arrived.path, needs_database):
            return probe
        try:
            request = Request.of(arrived, largest)
        except TooLarge:
            return refuse(Request(arrived.method, arrived.path))
        return count(work, request)

    # For a server that takes the body before it calls.
    watch.largest, watch.too_large = largest, refuse
    return watch


def _too_large(_: Request) -> Answer:
    return json_answer({"error": "the body is larger than this function takes"}, 413, {"Connection": "close"})


def _spanned(name: str, handle: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
    def spanned(request: Request) -> Answer:
        with traces.span(name, traces.extract(request.headers.get), method=request.method) as span:
            answer = handle(request)
            span.set_outcome(outcome_of(answer[1]), failed=answer[1] >= 500)
            return answer

    return spanned
