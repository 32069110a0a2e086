"""Several functions in one process: each one's own framework application, mounted at /function/<name>.

`python -m triggers.host --owner billing --port 8103`
"""

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import click
from functions_framework import create_app
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.wrappers import Response

from functions.shared import metrics
from functions.shared.settings import read
from triggers.server import serve
from triggers.stack import ROOT, load


def app_of(owner: str) -> Callable[[dict[str, Any], Callable], Iterable[bytes]]:
    """All functions of an owner behind one WSGI application; `/_/health` answers when all are loaded.

    `/_/metrics` tells the figures of all of them, each under its name.
    """
    functions = [function for function in load() if function.owner == owner]
    if not functions:
        owners = ", ".join(dict.fromkeys(function.owner for function in load()))
        raise SystemExit(f"--owner: expected one of {owners}; got {owner}")
    mounts = {f"/function/{function.name}": _one(function) for function in functions}
    return DispatcherMiddleware(_outside, mounts)


def _one(function: Any) -> Any:
    # The framework remembers both in the environment, for one function a process; here there are many.
    os.environ.pop("FUNCTION_TARGET", None)
    os.environ.pop("FUNCTION_SIGNATURE_TYPE", None)
    app = create_app(function.target, str(ROOT / function.source), "http")

    def at_its_root(environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        # An address without a slash at its end means the root too; the framework would redirect.
        environ["PATH_INFO"] = environ.get("PATH_INFO") or "/"
        return app(environ, start_response)

    return at_its_root


def _outside(environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
    if environ.get("PATH_INFO") == metrics.PATH:
        return Response(*metrics.answer())(environ, start_response)
    healthy = environ.get("PATH_INFO") == "/_/health"
    body = '{"status":"UP"}' if healthy else '{"error":"expected /function/<name>"}'
    return Response(body, 200 if healthy else 404, content_type="application/json")(environ, start_response)


@click.command(help=__doc__)
@click.option("--owner", required=True, help="whose functions")
@click.option("--host", default="127.0.0.1", envvar="HOST", show_default=True)
@click.option("--port", required=True, type=click.IntRange(1, 65535), envvar="PORT")
@click.option("--threads", default=8, type=click.IntRange(1), envvar="THREADS", show_default=True)
def main(owner: str, host: str, port: int, threads: int) -> None:
    """Serve until SIGTERM."""
    sys.argv = sys.argv[:1]
    serve(app_of(owner), host=host, port=port, threads=threads, workers=read(metrics.WorkerSettings).workers)


if __name__ == "__main__":
    main()
