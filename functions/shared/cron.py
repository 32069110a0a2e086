"""The scheduled function: started by an empty POST (a cron connector) or by a CloudEvent (a Knative ping source)."""

import time
from collections.abc import Callable
from typing import Any

from functions.shared import installation
from functions.shared.answers import Answer, json_answer
from functions.shared.errors import report, trouble_of
from functions.shared.request import Request
from functions.shared.settings import DatabaseSettings, Settings, require
from functions.shared.telemetry.instrumented import instrumented
from functions.shared.telemetry.logs import log, milliseconds_since


def scheduled(*settings: type[Settings]) -> Callable[[Callable[[], dict]], Callable[[Request], Answer]]:
    """Make a scheduled function out of one that takes nothing and returns what it did, as counts by name."""

    def decorate(function: Callable[[], dict[str, Any]]) -> Callable[[Request], Answer]:
        require(DatabaseSettings, *settings)

        def handle(request: Request) -> Answer:
            if request.method != "POST":
                return json_answer({"error": "expected POST"}, 405, {"Allow": "POST"})
            return _run(function)

        started = instrumented(function, handle, strangers=installation.unauthorized)
        started.scheduled = True
        return started

    return decorate


def _run(function: Callable[[], dict[str, Any]]) -> Answer:
    began = time.perf_counter()
    try:
        done = function()
    except Exception as problem:
        trouble = trouble_of(problem)
        report(trouble, problem, function.__name__)
        reason = str(problem) if trouble.may_pass else f"{type(problem).__name__}: {problem}"
        return json_answer({"error": reason}, trouble.status, trouble.headers)
    busy = any(done.values())
    log("scheduled", function=function.__name__, ms=milliseconds_since(began), **done) if busy else None
    return json_answer(done)
