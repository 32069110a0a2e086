"""One function in a process of its own, as images start it: `python -m triggers.alone`.

It is what the framework's own command does, but for the server's settings. The framework's closes a connection after
two idle seconds; a caller that keeps its connections for longer, as Knative's proxy and OpenFaaS' gateway do, loses
the request that it sends in that very moment.
"""

from functions_framework import create_app
from functions_framework.exceptions import FunctionsFrameworkException
from pydantic import Field

from functions.shared.metrics import WorkerSettings
from triggers.command import settings_for
from triggers.server import serve


class FunctionSettings(WorkerSettings):
    """Which function, and how it is served; the names are the framework's."""

    function_source: str = Field(description="the function's file")
    function_target: str = Field(description="the function's name in it")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8080, ge=1, le=65535, description="port to listen on")
    threads: int = Field(default=8, ge=1, description="requests at a time")


def main() -> None:
    """Serve until SIGTERM."""
    settings = settings_for(FunctionSettings, __doc__)
    try:
        app = create_app(settings.function_target, settings.function_source, "http")
    except FunctionsFrameworkException as problem:
        raise SystemExit(f"cannot start: {problem}") from None
    serve(app, host=settings.host, port=settings.port, threads=settings.threads, workers=settings.workers)


if __name__ == "__main__":
    main()
