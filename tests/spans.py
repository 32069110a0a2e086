"""A receiver of OpenTelemetry's spans: real HTTP, protobuf as the exporter sends it."""

from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.fakes import Call, FakeFunction, Reply


class Seen(NamedTuple):
    """One span that came."""

    name: str
    process: str
    trace: str
    id: str
    parent: str
    facts: dict[str, str]


class Receiver:
    """Takes OTLP over HTTP at `url`, and keeps what came."""

    def __init__(self) -> None:
        self._server = FakeFunction(self._take)
        self.spans: list[Seen] = []

    @property
    def url(self) -> str:
        return self._server.url

    def start(self) -> "Receiver":
        self._server.start()
        return self

    def stop(self) -> None:
        self._server.stop()

    def of(self, trace: str) -> list[Seen]:
        """The spans of one trace."""
        return [span for span in self.spans if span.trace == trace]

    def _take(self, call: Call) -> Reply:
        assert call.path == "/v1/traces"
        for sender in ExportTraceServiceRequest.FromString(call.body).resource_spans:
            process = next(a.value.string_value for a in sender.resource.attributes if a.key == "service.name")
            self.spans += [_seen(span, process) for scope in sender.scope_spans for span in scope.spans]
        return 200, {"Content-Type": "application/x-protobuf"}, b""


def _seen(span: object, process: str) -> Seen:
    facts = {fact.key: fact.value.string_value or str(fact.value.int_value) for fact in span.attributes}
    return Seen(span.name, process, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), facts)
