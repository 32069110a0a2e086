"""The public host on one machine: finds the function of a method and path and passes the request on.

Only functions that stack.yml calls public, bearer or admin can be reached from here.
"""

import contextlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from logging import WARNING

from pydantic import Field

from functions.shared.answers import RETRY_AFTER, json_answer, status_body
from functions.shared.paths import expression
from functions.shared.telemetry import metrics
from functions.shared.telemetry.logs import log
from triggers.addresses import CallSettings, address
from triggers.asgi import (
    BodyTooLarge,
    BodyTooSlow,
    Disconnected,
    Receive,
    Scope,
    Send,
    body_of,
    raw_path,
    send_answer,
    send_raw,
)
from triggers.command import settings_for
from triggers.http_client import Answer, HttpClient, Lost, NotReached, target_of
from triggers.http_server import PublicProtocol
from triggers.metrics import GATEWAY, MetricsSettings, check_metrics_port, serve_metrics
from triggers.server import Lifespan, serve
from triggers.stack import Function, load

# As REST functions take them (functions/shared/rest.py): a thousand clients can hold no more here than 128 MiB.
LARGEST_BODY = 128 * 1024
UNCERTAIN = "No answer came: nobody knows whether it was done"
FORWARDED = "x-forwarded-for"
# Headers that speak of one connection and not of the request (RFC 9110, section 7.6.1).
OF_THE_CONNECTION = {
    b"connection",
    b"content-length",
    b"host",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}


class GatewaySettings(CallSettings, MetricsSettings):
    """What the gateway reads from its environment.

    Its metrics have a port of their own: everybody may reach `port`, and how the system fares is not for everybody.
    """

    port: int = Field(default=8000, ge=1, le=65535, description="port to listen on")
    gateway_timeout_seconds: float = Field(default=30, gt=0, description="longest wait for a function's answer")
    gateway_in_flight: int = Field(
        default=300, ge=1, description="requests to one function at a time; who comes beyond that gets 503"
    )
    gateway_requests_per_second: float = Field(
        default=0,
        ge=0,
        description="requests a second, and twice as many at once; who comes beyond that gets 429 (0: no limit)",
    )


class Rate:
    """A bucket of tokens: it holds what two seconds bring, and every request takes one."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic):
        self._per_second, self._clock = per_second, clock
        self._tokens, self._at = 2 * per_second, clock()

    def admits(self) -> bool:
        """Whether one more request is within the rate; a rate of 0 is no limit."""
        if not self._per_second:
            return True
        now = self._clock()
        self._tokens = min(2 * self._per_second, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Routes:
    """Which function answers a method on a path."""

    def __init__(self) -> None:
        public = [function for function in load() if function.is_public]
        routes = [(path, function) for function in public for path in function.paths]
        # A path without placeholders goes before one with.
        routes.sort(key=lambda route: "{" in route[0])
        self._all = [(re.compile(expression(path)), function) for path, function in routes]
        self._fixed = {path: self._matching(path) for path, _ in routes if "{" not in path}

    def of(self, path: str) -> dict[str, Function]:
        """The functions of a path by their methods."""
        return self._fixed.get(path) or self._matching(path)

    def _matching(self, path: str) -> dict[str, Function]:
        found: dict[str, Function] = {}
        for pattern, function in self._all:
            if pattern.fullmatch(path):
                found.setdefault(function.method, function)
        return found


class Gateway:
    """The ASGI application."""

    def __init__(self, settings: GatewaySettings):
        self._settings, self._routes = settings, Routes()
        self._client = HttpClient(settings.gateway_timeout_seconds)
        self._in_flight: Counter[str] = Counter()
        self._rate = Rate(settings.gateway_requests_per_second)
        self._lifespan = Lifespan(lambda: serve_metrics(settings))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["path"] == "/_/health":
            await send_answer(send, json_answer({"status": "UP"}))
        else:
            with contextlib.suppress(Disconnected):
                await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        functions = self._routes.of(scope["path"])
        function = functions.get(scope["method"])
        status = await self._answer(scope, receive, send, functions, function)
        name = function.name if function else "none"
        GATEWAY.labels(name, metrics.outcome_of(status)).observe(time.perf_counter() - began)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, functions: dict[str, Function], function: Function | None
    ) -> int:
        # Before anything is read: it has to cost less than an answer.
        if not self._rate.admits():
            return await _refuse(scope, send, 429, RETRY_AFTER)
        if not functions:
            return await _refuse(scope, send, 404)
        if function is None:
            return await _refuse(scope, send, 405, {"Allow": ", ".join(sorted(functions))})
        try:
            body = await body_of(receive, LARGEST_BODY)
        except BodyTooLarge:
            return await _refuse(scope, send, 413)
        except BodyTooSlow:
            return await _refuse(scope, send, 408, {"Connection": "close"})
        # A function that is slow must not have all connections to itself.
        if self._in_flight[function.name] >= self._settings.gateway_in_flight:
            return await _refuse(scope, send, 503, RETRY_AFTER)
        self._in_flight[function.name] += 1
        try:
            return await self._pass_on(scope, send, function, body)
        finally:
            self._in_flight[function.name] -= 1

    async def _pass_on(self, scope: Scope, send: Send, function: Function, body: bytes) -> int:
        target = target_of(address(function.name))
        path = target.path.rstrip("/") + raw_path(scope)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in kept(scope["headers"])]
        headers = _with_client(headers, scope)
        try:
            answer = await self._client.request(scope["method"], target, path, headers, body)
        except Lost as problem:
            # It may have been done: an answer that says "ask again" would have it done twice.
            log("no answer", level=WARNING, function=function.name, reason=str(problem))
            return await _refuse(scope, send, 504, message=UNCERTAIN)
        except (NotReached, ValueError) as problem:
            log("function not reached", level=WARNING, function=function.name, reason=str(problem))
            return await _refuse(scope, send, 503, RETRY_AFTER)
        headers = [*kept(answer.pairs), *_length(answer, scope["method"])]
        await send_raw(send, answer.status, headers, answer.body)
        return answer.status


def _with_client(headers: list[tuple[str, str]], scope: Scope) -> list[tuple[str, str]]:
    """The address that this process sees, after those that proxies before it say they have seen."""
    before = [value for name, value in headers if name.lower() == FORWARDED]
    others = [(name, value) for name, value in headers if name.lower() != FORWARDED]
    address = (scope.get("client") or ("unknown",))[0]
    return [*others, (FORWARDED, ", ".join([*before, address]))]


def _length(answer: Answer, method: str) -> list[tuple[bytes, bytes]]:
    """The header; an answer to HEAD has the length that a body would have."""
    length = answer.headers.get("content-length") if method == "HEAD" else str(len(answer.body))
    return [] if length is None or answer.status in (204, 304) else [(b"content-length", length.encode())]


def kept(pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """The headers that go on, to the function or to the client."""
    return ((name, value) for name, value in pairs if name.lower() not in OF_THE_CONNECTION)


async def _refuse(
    scope: Scope, send: Send, status: int, headers: dict[str, str] | None = None, message: str | None = None
) -> int:
    body = status_body(status, scope["path"], message)
    await send_answer(send, json_answer(body, status, headers), scope["method"] == "HEAD")
    return status


def main() -> None:
    """Serve until SIGTERM."""
    settings = settings_for(GatewaySettings, __doc__)
    check_metrics_port(settings)
    serve(Gateway(settings), host=settings.host, port=settings.port, protocol=PublicProtocol)


if __name__ == "__main__":
    main()
