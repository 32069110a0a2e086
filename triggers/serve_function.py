"""One function in a process of its own, as images start it: `python -m triggers.serve_function`.

The function is the framework's: its own command serves it as well. Here it stands behind our server, which keeps a
connection for as long as Knative's proxy and OpenFaaS' gateway do (the framework's closes it after two idle seconds,
and a request that is sent in that very moment is lost), answers probes beside the work and needs one process for it.
"""

# ruff: noqa: E402
import gc
import os

# What is imported stays: looking for garbage in it again and again is a tenth of a cold start.
gc.disable()
# pydantic looks for plugins in the metadata of every package that is installed. None is among ours; who has one
# names it here or sets the variable to anything else.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
# Time zones are tzdata's. Where the system has its own is written in a file with all of the interpreter's settings.
os.environ.setdefault("PYTHONTZPATH", "")

from pathlib import Path

from pydantic import Field

from functions.shared.settings import read
from functions.shared.telemetry import metrics
from triggers.command import settings_for
from triggers.functions import Functions, loaded
from triggers.garbage import keep_what_is_loaded
from triggers.server import ServerSettings, serve_functions


class FunctionSettings(ServerSettings):
    """Which function; the names are the framework's."""

    function_source: str = Field(description="the function's file")
    function_target: str = Field(description="the function's name in it")


def app() -> Functions:
    """The application of this process, or of one of its workers."""
    settings = read(FunctionSettings)
    made = Functions(settings.threads, alone=loaded(settings.function_source, settings.function_target, Path.cwd()))
    # A worker begins here, and without it would never look for garbage at all.
    keep_what_is_loaded()
    return made


def main() -> None:
    """Serve until SIGTERM."""
    settings = settings_for(FunctionSettings, __doc__)
    metrics.share()
    made = app()  # what is wrong is reported once, here
    serve_functions(made, "triggers.serve_function:app", settings)


if __name__ == "__main__":
    main()
