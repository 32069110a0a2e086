"""What starting and ending servers by hand needs: process ids, ports, and waiting."""

import hashlib
import os
import secrets
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


class StartFailed(Exception):
    """Something could not be started; the text is one line for the person at the keyboard."""


def wait_until(condition: Callable[[], object], seconds: float, every: float = 0.02) -> bool:
    """Ask `condition` until it is true; False when it was not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def require_free(port: int, purpose: str, variable: str, patience: float = 0) -> None:
    """Raise StartFailed, with what to do, when somebody still listens on `port` after `patience` seconds."""
    if not wait_until(lambda: is_free(port), patience):
        raise StartFailed(
            f"port {port} ({purpose}) is taken by another program: end that, or set {variable} to a free port"
        )


_given: deque[int] = deque(maxlen=100)


def free_port() -> int:
    """A port for a test's server, below those that outgoing connections take theirs from.

    A server that waits among those can find its port taken by a client, even by one that looks for it. FREE_PORTS
    names another range, so that two that run at once do not choose the same. A process takes a while until it listens
    on its own: what was given lately is not given again.
    """
    first, last = map(int, os.environ.get("FREE_PORTS", "20000-24999").split("-"))
    while (port := first + secrets.randbelow(last - first + 1)) in _given or not is_free(port):
        pass
    _given.append(port)
    return port


def command_line(pid: int) -> str:
    """The command of a running process; empty when there is none (or only its exit status is left)."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def start_time(pid: int) -> int:
    """When a process was started, which distinguishes it from a later one of the same id; 0 when it runs no more."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if state in "ZX" else int(rest[18])


def send(pid: int, number: int) -> None:
    """Signal a process that may have ended already."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def end(pid: int, first: int = signal.SIGTERM, seconds: float = 15) -> None:
    """End a process by signal `first`, and by SIGKILL when that did not do within `seconds`."""
    for number in (first, signal.SIGKILL):
        send(pid, number)
        if wait_until(lambda: not _runs(pid), seconds):
            return


def _runs(pid: int) -> bool:
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return bool(start_time(pid))


def short_name(directory: Path) -> str:
    """A name that belongs to this directory alone."""
    return hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:10]


def last_lines(path: Path, count: int = 8) -> str:
    """The end of a log, to show with an error."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return ""
