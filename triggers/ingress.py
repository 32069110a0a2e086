"""The broker's ingress: takes CloudEvents by HTTP POST, answers 202 once RabbitMQ has confirmed them.

POST /        one CloudEvent, binary or structured, or many in batched mode: all of them or none; with the
              installation's token, else 401
GET  /health  200 while RabbitMQ is there, 503 otherwise
GET  /_/metrics  metrics for Prometheus
"""

import asyncio
import time
from collections.abc import Sequence
from logging import INFO, WARNING

from pydantic import Field

from functions.shared import installation
from functions.shared.answers import RETRY_AFTER, Answer, json_answer
from functions.shared.events import Unacceptable
from functions.shared.request import Request
from functions.shared.settings import InstallationSettings
from functions.shared.telemetry import metrics
from functions.shared.telemetry.logs import log, milliseconds_since
from triggers import wire
from triggers.amqp import Link, Message, NotConfirmed
from triggers.asgi import (
    TOO_SLOW,
    BodyTooLarge,
    BodyTooSlow,
    Disconnected,
    Receive,
    Scope,
    Send,
    authorization,
    body_of,
    request_of,
    send_answer,
)
from triggers.command import settings_for
from triggers.metrics import INGRESS, known_type
from triggers.server import Lifespan, serve
from triggers.topology import BrokerSettings, Topology
from triggers.wire import message_of

LARGEST_BODY = 1024 * 1024


class IngressSettings(BrokerSettings, InstallationSettings):
    """What the ingress reads from its environment."""

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8001, ge=1, le=65535, description="port to listen on")


class Ingress:
    """The ASGI application."""

    def __init__(self, settings: IngressSettings):
        self._settings, self._topology = settings, Topology.of(settings)
        self._lifespan = Lifespan(self._begin)
        self._link: Link | None = None

    def _begin(self) -> None:
        self._link = self._linked().start()

    def _linked(self) -> Link:
        return Link(self._settings.amqp_url, self._topology.declare)

    async def _publish(self, messages: Sequence[Message]) -> None:
        await self._link.publish(messages)

    def _is_let_in(self, scope: Scope) -> bool:
        return installation.is_ours(authorization(scope))

    def _message(self, event: wire.WireEvent) -> Message:
        return message_of(event, self._topology.exchange)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        try:
            answer = await self._answer(scope, receive)
        except Disconnected:
            return
        await send_answer(send, answer, scope["method"] == "HEAD")

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        path = scope["path"]
        if path in ("/health", "/_/health", "/_/ready"):
            up = self._link.is_ready
            return json_answer({"status": "UP" if up else "DOWN"}, 200 if up else 503)
        if path == metrics.PATH:
            # In a thread: some ask this loop for what RabbitMQ says.
            return await asyncio.to_thread(metrics.answer)
        if path != "/":
            return json_answer({"error": f"expected a POST to /, got {path}"}, 404)
        if scope["method"] != "POST":
            return json_answer({"error": "expected POST"}, 405, {"Allow": "POST"})
        if not self._is_let_in(scope):
            log("event not taken", level=WARNING, outcome=401, reason="no token of this installation")
            return installation.unauthorized()
        return await self._take(scope, receive)

    async def _take(self, scope: Scope, receive: Receive) -> Answer:
        began, events = time.perf_counter(), []
        try:
            request = request_of(scope, await body_of(receive, LARGEST_BODY))
            events = _events(request)
            await self._publish([self._message(event) for event in events])
            answer = "", 202, {}
        except Unacceptable as problem:
            answer = json_answer({"error": str(problem)}, 400)
        except BodyTooLarge:
            answer = json_answer({"error": f"expected at most {LARGEST_BODY} bytes"}, 413)
        except BodyTooSlow:
            answer = TOO_SLOW
        except NotConfirmed as problem:
            answer = json_answer({"error": str(problem)}, 503, RETRY_AFTER)
        for event in events or [None]:
            _report(event, answer[1], began, len(events))
        return answer


def _events(request: Request) -> list[wire.WireEvent]:
    """The events of a request. Raises Unacceptable."""
    if request.mimetype == wire.BATCH:
        return wire.from_batch(request.body)
    return [wire.from_http(request.headers, request.body)]


def _report(event: wire.WireEvent | None, status: int, began: float, batch: int) -> None:
    outcome = "taken" if status == 202 else metrics.outcome_of(status)
    INGRESS.labels(known_type(event and event["type"]), outcome).observe(time.perf_counter() - began)
    log(
        "event taken" if status == 202 else "event not taken",
        level=INFO if status == 202 else WARNING,
        type=event and event["type"],
        id=event and event["id"],
        order=event and event.get("subject"),
        ms=milliseconds_since(began),
        batch=batch if batch > 1 else None,
        outcome=status,
    )


def main() -> None:
    """Serve until SIGTERM."""
    settings = settings_for(IngressSettings, __doc__)
    serve(Ingress(settings), host=settings.host, port=settings.port)


if __name__ == "__main__":
    main()
