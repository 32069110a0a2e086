"""One function in a process of its own, as images start it: `python -m triggers.serve_function`.

The function is the framework's: its own command serves it as well. Here it stands behind our server, which keeps a
connection for as long as Knative's proxy and OpenFaaS' gateway do (the framework's closes it after two idle seconds,
and a request that is sent in that very moment is lost), answers probes beside the work and needs one process for it.
"""

# ruff: noqa: E402
import gc

# What is imported stays: looking for garbage in it again and again is a tenth of a cold start.
gc.disable()

from pathlib import Path

from pydantic import Field

from functions.shared.settings import read
from functions.shared.telemetry import metrics
from functions.shared.telemetry.metrics import WorkerSettings
from triggers.command import settings_for
from triggers.functions import Functions, loaded
from triggers.server import serve


class FunctionSettings(WorkerSettings):
    """Which function, and how it is served; the names are the framework's."""

    function_source: str = Field(description="the function's file")
    function_target: str = Field(description="the function's name in it")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8080, ge=1, le=65535, description="port to listen on")
    threads: int = Field(default=8, ge=1, description="requests at a time")


def app() -> Functions:
    """The application of this process, or of one of its workers."""
    settings = read(FunctionSettings)
    return Functions(settings.threads, alone=loaded(settings.function_source, settings.function_target, Path.cwd()))


def main() -> None:
    """Serve until SIGTERM."""
    settings = settings_for(FunctionSettings, __doc__)
    metrics.share()
    made = app()  # what is wrong is reported once, here
    gc.freeze()
    gc.enable()
    if settings.workers > 1:
        where = {"host": settings.host, "port": settings.port}
        serve("triggers.serve_function:app", **where, workers=settings.workers, factory=True)
    else:
        serve(made, host=settings.host, port=settings.port)


if __name__ == "__main__":
    main()
