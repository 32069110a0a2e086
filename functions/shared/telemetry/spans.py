"""Spans as OpenTelemetry records and sends them; loaded only where OTEL_EXPORTER_OTLP_ENDPOINT is set."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

try:
    from opentelemetry import trace as api
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as problem:
    raise SystemExit(
        f"cannot start: OTEL_EXPORTER_OTLP_ENDPOINT is set and {problem.name} is not installed: "
        "install the project with its extra [traces], or unset the variable"
    ) from None

from functions.shared.settings import read
from functions.shared.telemetry.traces import Span, Trace, TraceSettings

FORM = TraceContextTextMapPropagator()


@cache
def _tracer() -> api.Tracer:
    # At the first span, so after the fork: it has a thread of its own. What is left is sent at the process's end.
    settings = read(TraceSettings)
    name = settings.otel_service_name or settings.k_service
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer(__name__)


class Recorded(Span):
    """A span that is sent when it is over."""

    def __init__(self, span: api.Span):
        carrier: dict[str, str] = {}
        FORM.inject(carrier, api.set_span_in_context(span))
        super().__init__(Trace(carrier["traceparent"], carrier.get("tracestate", "")))
        self._span = span

    def set_outcome(self, outcome: str, failed: bool = False) -> None:
        """Record the outcome."""
        self._span.set_attribute("outcome", outcome)
        if failed:
            self._span.set_status(api.StatusCode.ERROR, outcome)


@contextmanager
def recorded(name: str, parent: Trace | None, kind: str, facts: dict[str, str | int]) -> Iterator[Recorded]:
    """A span under `parent`, or the first of a new trace."""
    context = FORM.extract(parent.headers(), Context()) if parent else Context()
    kind_of_span = api.SpanKind[kind.upper()]
    span = _tracer().start_as_current_span(name, context, kind=kind_of_span, attributes=facts)
    with span as begun, Recorded(begun) as recorded:
        yield recorded
