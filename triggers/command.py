"""How every process starts: `--help` lists its environment variables, a wrong one ends it with one line."""

import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

from pydantic.fields import FieldInfo

from functions.shared.settings import Misconfigured, Settings, read
from functions.shared.telemetry.logs import LogSettings

S = TypeVar("S", bound=Settings)


def settings_for(model: type[S], text: str) -> S:
    """The settings of this process; ends it after --help, or with one line when the environment is wrong."""
    if sys.argv[1:]:
        _answer(model, text)
    try:
        read(LogSettings)
        return read(model)
    except Misconfigured as problem:
        raise SystemExit(f"cannot start: {problem}") from None


def _answer(model: type[Settings], text: str) -> None:
    """Show the help, or refuse the arguments: the process takes its settings from the environment alone."""
    # Only here: a function's cold start has no use for it.
    import click

    class Process(click.Command):
        def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
            super().format_options(ctx, formatter)
            with formatter.section("Environment"):
                formatter.write_dl([_variable(name, field) for name, field in model.model_fields.items()])

    # click fills paragraphs anew, but for those that begin with this mark: ours are broken as they are meant.
    Process(None, help=text.replace("\n\n", "\n\n\b\n"), callback=lambda: None)()


def _variable(name: str, field: FieldInfo) -> tuple[str, str]:
    text = field.description or ""
    if field.is_required():
        text += "  [required]"
    elif field.default is not None:
        text += f"  [default: {field.default}]"
    return name.upper(), text


def check_port(host: str, port: int, variable: str = "PORT") -> None:
    """End the process with one line if somebody listens there already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as problem:
            raise SystemExit(
                f"cannot listen on {host}:{port} ({problem.strerror}): end what uses it, or set {variable}"
            ) from None


def on_stop(action: Callable[[], None]) -> threading.Event:
    """Do `action` at the first SIGTERM or SIGINT; the event that is given back is set then."""
    stopped = threading.Event()

    def stop(*_: object) -> None:
        if not stopped.is_set():
            stopped.set()
            # Not in the handler itself: it may have interrupted a thread that holds a lock.
            threading.Thread(target=action, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return stopped
