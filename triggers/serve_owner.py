"""Several functions in one process, each mounted at /function/<name>.

`python -m triggers.serve_owner --owner billing --port 8103`
"""

import os
import sys

import click

from functions.shared.settings import read, require, serving
from functions.shared.telemetry import metrics
from triggers.functions import Functions, loaded
from triggers.server import serve
from triggers.stack import ROOT, load


def app_of(owner: str, threads: int = 8) -> Functions:
    """All functions of an owner behind one application; `/_/health` answers when all are loaded.

    `/_/metrics` has the metrics of all of them, each under its name.
    """
    functions = [function for function in load() if function.owner == owner]
    if not functions:
        owners = ", ".join(dict.fromkeys(function.owner for function in load()))
        raise SystemExit(f"--owner: expected one of {owners}; got {owner}")
    return Functions(threads, mounted={one.name: loaded(one.source, one.target, ROOT) for one in functions})


def app_of_worker() -> Functions:
    """The application of one of several workers, which knows by its environment what it serves."""
    return app_of(os.environ["OWNER"], int(os.environ["THREADS"]))


@click.command(help=__doc__)
@click.option("--owner", required=True, help="whose functions")
@click.option("--host", default="127.0.0.1", envvar="HOST", show_default=True)
@click.option("--port", required=True, type=click.IntRange(1, 65535), envvar="PORT")
@click.option("--threads", default=8, type=click.IntRange(1), envvar="THREADS", show_default=True)
def main(owner: str, host: str, port: int, threads: int) -> None:
    """Serve until SIGTERM."""
    sys.argv = sys.argv[:1]
    serving.here = True
    require(metrics.WorkerSettings)
    metrics.share()
    workers = read(metrics.WorkerSettings).workers
    if workers > 1:
        os.environ |= {"OWNER": owner, "THREADS": str(threads)}
        app_of(owner, threads)  # what is wrong is reported once, here
        serve("triggers.serve_owner:app_of_worker", host=host, port=port, workers=workers, factory=True)
    else:
        serve(app_of(owner, threads), host=host, port=port)


if __name__ == "__main__":
    main()
