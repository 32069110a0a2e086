"""W3C trace context: taken in, kept while something is done for it, and passed on to whatever follows.

Without OTEL_EXPORTER_OTLP_ENDPOINT the context is passed on as it came, so that the traces of others are not cut.
With it every request and every delivery is a span of its trace, and OpenTelemetry sends them there.
Its form: https://www.w3.org/TR/trace-context/
"""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import NamedTuple, Self

from pydantic import Field

from functions.shared.settings import Misconfigured, Settings, read

NAMES = ("traceparent", "tracestate")
TRACEPARENT = re.compile(r"(00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})")
TRACESTATE = re.compile(r"[ -~]{0,512}")


class TraceSettings(Settings):
    """Where spans go; OpenTelemetry reads its other variables (OTEL_...) itself."""

    otel_exporter_otlp_endpoint: str | None = Field(
        default=None, pattern=r"^https?://", description="OTLP/HTTP address that spans are sent to; none if not set"
    )
    otel_service_name: str | None = Field(default=None, description="whose spans they are")
    k_service: str = Field(default="functions", description="the same, if OTEL_SERVICE_NAME is not set")


class Trace(NamedTuple):
    """A position in a trace, as headers carry it."""

    traceparent: str
    tracestate: str = ""

    def headers(self) -> dict[str, str]:
        """For HTTP: an empty tracestate is left out."""
        return {name: value for name, value in self._asdict().items() if value}


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


class Span:
    """Something that is being done, between its begin and its end; what follows from it belongs to `trace`."""

    def __init__(self, trace: Trace | None):
        self.trace = trace

    def __enter__(self) -> Self:
        self._before = _current.set(self.trace)
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._before)

    def set_outcome(self, outcome: str, failed: bool = False) -> None:
        """Record the outcome; nothing is recorded here."""


def extract(get: Callable[[str], object]) -> Trace | None:
    """The trace in headers or attributes; None where there is none, or none that is valid."""
    traceparent, tracestate = get("traceparent"), get("tracestate") or ""
    if not isinstance(traceparent, str) or not TRACEPARENT.fullmatch(traceparent):
        return None
    is_good = isinstance(tracestate, str) and TRACESTATE.fullmatch(tracestate)
    return Trace(traceparent, tracestate if is_good else "")


def current() -> Trace | None:
    """The trace of what is being done in this thread."""
    return _current.get()


def inject() -> dict[str, str]:
    """The headers that pass it on."""
    trace = _current.get()
    return trace.headers() if trace else {}


def within(trace: Trace | None) -> AbstractContextManager[Span]:
    """Everything in here belongs to `trace`."""
    return Span(trace)


def span(name: str, parent: Trace | None, kind: str = "server", **facts: str | int) -> AbstractContextManager[Span]:
    """Do something as a part of the trace `parent`, or as the start of a new one; `kind` is server or client."""
    if not read(TraceSettings).otel_exporter_otlp_endpoint:
        return Span(parent)
    # Only here: who sends no spans must not pay for loading what sends them.
    from functions.shared.telemetry import spans

    return spans.recorded(name, parent, kind, facts)


def check() -> None:
    """For the start of a server: what is wrong with the setting is said there, and not at the first request."""
    try:
        if read(TraceSettings).otel_exporter_otlp_endpoint:
            import functions.shared.telemetry.spans  # noqa: F401 - ends the process when the packages are missing
    except Misconfigured as problem:
        raise SystemExit(f"cannot start: {problem}") from None
