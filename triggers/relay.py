"""Adds the installation's token to the requests of brokers and schedulers that have none, as Knative's.

POST /function/NAME goes to the function NAME, which events or a schedule start, and its answer comes back as it is.
Whoever reaches this process is taken for the broker: let in only its dispatchers and the ping sources, by a network
policy as in k8s/broker. GET /_/health and /_/metrics are for probes and Prometheus.
"""

import contextlib
import time
from logging import WARNING

from pydantic import Field

from functions.shared import installation
from functions.shared.answers import RETRY_AFTER, Answer, json_answer
from functions.shared.settings import InstallationSettings
from functions.shared.telemetry import metrics
from functions.shared.telemetry.instrumented import LARGEST_BODY
from functions.shared.telemetry.logs import log
from functions.shared.telemetry.metrics import outcome_of
from triggers.addresses import CallSettings, address
from triggers.asgi import (
    TOO_SLOW,
    BodyTooLarge,
    BodyTooSlow,
    Disconnected,
    Receive,
    Scope,
    Send,
    body_of,
    send_answer,
)
from triggers.command import settings_for
from triggers.gateway import kept
from triggers.http_client import HttpClient, Lost, NotReached, target_of
from triggers.metrics import RELAY
from triggers.server import serve
from triggers.stack import load

MOUNTED = "/function/"


class RelaySettings(CallSettings, InstallationSettings):
    """What the relay reads from its environment."""

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8002, ge=1, le=65535, description="port to listen on")
    relay_timeout_seconds: float = Field(default=30, gt=0, description="longest wait for a function's answer")


class Relay:
    """The ASGI application."""

    def __init__(self, settings: RelaySettings):
        self._client = HttpClient(settings.relay_timeout_seconds)
        self._functions = {function.name for function in load() if function.caller in ("broker", "cron")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        with contextlib.suppress(Disconnected):
            await send_answer(send, await self._answer(scope, receive), scope["method"] == "HEAD")

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        path = scope["path"]
        if path in ("/health", "/_/health", "/_/ready"):
            return json_answer({"status": "UP"})
        if path == metrics.PATH:
            return metrics.answer()
        name = path.removeprefix(MOUNTED).rstrip("/")
        if not path.startswith(MOUNTED) or name not in self._functions:
            return json_answer({"error": f"expected {MOUNTED} and a function that events or a schedule start"}, 404)
        if scope["method"] != "POST":
            return json_answer({"error": "expected POST"}, 405, {"Allow": "POST"})
        began = time.perf_counter()
        answer = await self._passed_on(name, scope, receive)
        RELAY.labels(name, outcome_of(answer[1])).observe(time.perf_counter() - began)
        return answer

    async def _passed_on(self, name: str, scope: Scope, receive: Receive) -> Answer:
        try:
            body = await body_of(receive, LARGEST_BODY)
            pairs = {key.decode("latin-1"): value.decode("latin-1") for key, value in kept(scope["headers"])}
            pairs = {key: value for key, value in pairs.items() if key != "authorization"} | installation.headers()
            answer = await self._client.request("POST", *_where(name), pairs.items(), body)
        except BodyTooLarge:
            # Not 413, which Knative's dispatcher would take for a delivery.
            return json_answer({"error": f"expected at most {LARGEST_BODY} bytes"}, 500, {"X-Retry": "never"})
        except BodyTooSlow:
            return TOO_SLOW
        except (NotReached, Lost, ValueError) as problem:
            log("function not reached", level=WARNING, function=name, reason=str(problem))
            return json_answer({"error": str(problem)}, 503, RETRY_AFTER)
        return answer.body, answer.status, dict(_texts(answer.pairs))


def _where(name: str) -> tuple:
    target = target_of(address(name))
    return target, target.path


def _texts(pairs: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in kept(pairs)]


def main() -> None:
    """Serve until SIGTERM."""
    settings = settings_for(RelaySettings, __doc__)
    serve(Relay(settings), host=settings.host, port=settings.port)


if __name__ == "__main__":
    main()
