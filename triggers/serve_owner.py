"""Several functions in one process, each mounted at /function/<name>: `python -m triggers.serve_owner`."""

from pydantic import Field

from functions.shared.settings import read, serving
from functions.shared.telemetry import metrics
from triggers.command import settings_for
from triggers.functions import Functions, loaded
from triggers.garbage import keep_what_is_loaded
from triggers.server import ServerSettings, serve_functions
from triggers.stack import ROOT, load


class OwnerSettings(ServerSettings):
    """Whose functions."""

    owner: str = Field(description="whose functions are served")


def app() -> Functions:
    """All functions of an owner behind one application; `/_/health` answers when all are loaded.

    `/_/metrics` has the metrics of all of them, each under its name.
    """
    settings = read(OwnerSettings)
    functions = [function for function in load() if function.owner == settings.owner]
    if not functions:
        owners = ", ".join(dict.fromkeys(function.owner for function in load()))
        raise SystemExit(f"cannot start: OWNER: expected one of {owners}; got {settings.owner}")
    mounted = {one.name: loaded(one.source, one.target, ROOT) for one in functions}
    made = Functions(settings.threads, mounted=mounted)
    keep_what_is_loaded()
    return made


def main() -> None:
    """Serve until SIGTERM."""
    settings = settings_for(OwnerSettings, __doc__)
    serving.here = True
    metrics.share()
    made = app()  # what is wrong is reported once, here
    serve_functions(made, "triggers.serve_owner:app", settings)


if __name__ == "__main__":
    main()
