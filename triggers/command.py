"""How every process starts: `--help` tells its environment, a wrong one is told in one line."""

import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

from functions.shared.settings import Misconfigured, Settings, read

S = TypeVar("S", bound=Settings)


def settings_for(model: type[S], text: str) -> S:
    """The settings of this process; ends it after --help, or with one line when the environment is wrong."""
    if any(word in ("-h", "--help") for word in sys.argv[1:]):
        print(help_text(model, text))
        raise SystemExit(0)
    if sys.argv[1:]:
        raise SystemExit(f"expected no arguments, got {' '.join(sys.argv[1:])}; --help tells the environment")
    try:
        return read(model)
    except Misconfigured as problem:
        raise SystemExit(f"cannot start: {problem}") from None


def help_text(model: type[Settings], text: str) -> str:
    """What the process is for, and the environment variables that it reads."""
    lines = [text.strip(), "", "Environment:"]
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else f"default {field.default}"
        lines.append(f"  {name.upper():<28} {field.description} ({default})")
    return "\n".join(lines)


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
