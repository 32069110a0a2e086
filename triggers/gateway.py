"""The public host on one machine: finds the function of a method and path and passes the request on.

Only functions that stack.yml calls public, bearer or admin can be reached from here.
"""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from logging import WARNING

import urllib3
from pydantic import Field
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Request, Response

from functions.shared.logs import log
from functions.shared.watched import outcome_of
from triggers.addresses import CallSettings, address, pool
from triggers.command import settings_for
from triggers.measured import GATEWAY, MetricsSettings, check_metrics_port, tell_figures
from triggers.server import discard_the_rest, serve
from triggers.stack import Function, load, path_pattern

LARGEST_BODY = 1024 * 1024
# Headers that speak of one connection and not of the request (RFC 9110, section 7.6.1).
OF_THE_CONNECTION = {
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}


class GatewaySettings(CallSettings, MetricsSettings):
    """What the gateway reads from its environment.

    Its figures have a port of their own: everybody may reach `port`, and how the system fares is not for everybody.
    """

    port: int = Field(default=8000, ge=1, le=65535, description="port to listen on")
    threads: int = Field(default=32, ge=1, description="requests at a time")
    gateway_timeout_seconds: float = Field(default=30, gt=0, description="longest wait for a function's answer")


class Routes:
    """Which function answers a method on a path."""

    def __init__(self) -> None:
        public = [function for function in load() if function.is_public]
        routes = [(path, function) for function in public for path in function.paths]
        # A path without placeholders goes before one with.
        routes.sort(key=lambda route: "{" in route[0])
        self._all = [(path_pattern(path), function) for path, function in routes]

    def of(self, path: str) -> dict[str, Function]:
        """The functions of a path by their methods."""
        found: dict[str, Function] = {}
        for pattern, function in self._all:
            if pattern.fullmatch(path):
                found.setdefault(function.method, function)
        return found


class Gateway:
    """The WSGI application."""

    def __init__(self, settings: GatewaySettings):
        self._routes = Routes()
        self._pool = pool(settings.gateway_timeout_seconds, settings.threads)

    @Request.application
    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        if request.path == "/_/health":
            return Response('{"status":"UP"}', content_type="application/json")
        began = time.perf_counter()
        functions = self._routes.of(request.path)
        function = functions.get(request.method)
        answer = self._answer(request, functions, function)
        name = function.name if function else "none"
        GATEWAY.labels(name, outcome_of(answer.status_code)).observe(time.perf_counter() - began)
        return answer

    def _answer(self, request: Request, functions: dict[str, Function], function: Function | None) -> Response:
        if not functions:
            return _error(request, 404)
        if function is None:
            return _error(request, 405, {"Allow": ", ".join(sorted(functions))})
        try:
            request.max_content_length = LARGEST_BODY
            return self._pass_on(request, function, request.get_data())
        except RequestEntityTooLarge:
            discard_the_rest(request)
            return _error(request, 413)

    def _pass_on(self, request: Request, function: Function, body: bytes) -> Response:
        url = address(function.name).rstrip("/") + _encoded_path(request)
        try:
            headers = dict(_kept(request.headers))
            answer = self._pool.request(request.method, url, body=body, headers=headers, decode_content=False)
        except urllib3.exceptions.HTTPError as problem:
            log("function not reached", level=WARNING, function=function.name, reason=str(problem))
            return _error(request, 503, {"Retry-After": "1"})
        return Response(answer.data, answer.status, [*_kept(answer.headers)])


def _encoded_path(request: Request) -> str:
    path = request.environ.get("RAW_URI") or request.full_path.rstrip("?")
    return path if path.startswith("/") else "/" + path.split("/", 3)[-1]


def _kept(headers: object) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in headers.items() if name.lower() not in OF_THE_CONNECTION)


def _error(request: Request, status: int, headers: dict[str, str] | None = None) -> Response:
    body = {
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "status": status,
        "error": HTTPStatus(status).phrase,
        "path": request.path,
    }
    return Response(json.dumps(body, ensure_ascii=False), status, headers, content_type="application/json")


def main() -> None:
    """Serve until SIGTERM."""
    settings = settings_for(GatewaySettings, __doc__)
    check_metrics_port(settings)
    serve(
        Gateway(settings),
        host=settings.host,
        port=settings.port,
        threads=settings.threads,
        begin=lambda: tell_figures(settings),
    )


if __name__ == "__main__":
    main()
