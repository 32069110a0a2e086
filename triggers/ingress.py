"""The broker's front door: takes a CloudEvent by HTTP POST, answers 202 once RabbitMQ has confirmed it.

POST /        one CloudEvent, binary or structured
GET  /health  200 while RabbitMQ is there, 503 otherwise
GET  /_/metrics  figures for Prometheus
"""

import json
import time
from logging import INFO, WARNING

from pydantic import Field
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Request, Response

from functions.shared import metrics
from functions.shared.events import Unacceptable
from functions.shared.logs import log, milliseconds_since
from functions.shared.watched import outcome_of
from triggers import wire
from triggers.amqp import Link, Message, NotConfirmed
from triggers.command import settings_for
from triggers.measured import INGRESS, known_type
from triggers.server import discard_the_rest, serve
from triggers.topology import BrokerSettings, Topology

LARGEST_EVENT = 1024 * 1024


class IngressSettings(BrokerSettings):
    """What the ingress reads from its environment."""

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8001, ge=1, le=65535, description="port to listen on")
    threads: int = Field(default=16, ge=1, description="events that may wait for their confirmation at once")


class Ingress:
    """The WSGI application."""

    def __init__(self, settings: IngressSettings):
        self._topology = Topology.of(settings)
        self._link = Link(settings.amqp_url, self._topology.declare)

    def begin(self) -> None:
        """Connect; called in the serving process."""
        self._link.start()

    @Request.application
    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        if request.path in ("/health", "/_/health", "/_/ready"):
            up = self._link.is_ready
            return _answer({"status": "UP" if up else "DOWN"}, 200 if up else 503)
        if request.path == metrics.PATH:
            return Response(*metrics.answer())
        if request.path != "/":
            return _answer({"error": f"expected a POST to /, got {request.path}"}, 404)
        if request.method != "POST":
            return _answer({"error": "expected POST"}, 405, {"Allow": "POST"})
        return self._take(request)

    def _take(self, request: Request) -> Response:
        began = time.perf_counter()
        event = None
        try:
            request.max_content_length = LARGEST_EVENT
            event = wire.from_http(request.headers, request.get_data())
            self._link.publish([message_of(event, self._topology.exchange)])
            answer = Response(status=202)
        except Unacceptable as problem:
            answer = _answer({"error": str(problem)}, 400)
        except RequestEntityTooLarge:
            discard_the_rest(request)
            answer = _answer({"error": f"expected at most {LARGEST_EVENT} bytes"}, 413)
        except NotConfirmed as problem:
            answer = _answer({"error": str(problem)}, 503, {"Retry-After": "1"})
        _tell(event, answer.status_code, began)
        outcome = "taken" if answer.status_code == 202 else outcome_of(answer.status_code)
        INGRESS.labels(known_type(event and event["type"]), outcome).observe(time.perf_counter() - began)
        return answer


def message_of(event: wire.Wired, exchange: str, routing_key: str = "", **options: object) -> Message:
    """The message that carries `event` on RabbitMQ."""
    headers = wire.to_amqp_headers(event)
    return Message(exchange, routing_key, headers, event.data, event.content_type, event["id"], **options)


def _answer(body: dict, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(body), status, headers, content_type="application/json")


def _tell(event: wire.Wired | None, status: int, began: float) -> None:
    log(
        "event taken" if status == 202 else "event not taken",
        level=INFO if status == 202 else WARNING,
        type=event and event["type"],
        id=event and event["id"],
        order=event and event.get("subject"),
        ms=milliseconds_since(began),
        outcome=status,
    )


def main() -> None:
    """Serve until SIGTERM."""
    settings = settings_for(IngressSettings, __doc__)
    ingress = Ingress(settings)
    serve(ingress, host=settings.host, port=settings.port, threads=settings.threads, begin=ingress.begin)


if __name__ == "__main__":
    main()
