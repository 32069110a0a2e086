"""What follows upon a request and is no part of its answer: done when the answer is on its way.

Whoever waits for the answer need not wait for a line in the log, and a thread that is woken up for what follows takes
the interpreter from the one that is to write the answer.
"""

import threading
from collections.abc import Callable

Action = Callable[[], object]


class _Thread(threading.local):
    """What this thread leaves for afterwards; None where nobody says when that is."""

    left: list[Action] | None = None


_thread = _Thread()


def afterwards(action: Action) -> None:
    """Do `action` when the answer is on its way; now, where no server says when that is."""
    if _thread.left is None:
        action()
    else:
        _thread.left.append(action)


def begin() -> list[Action]:
    """For a server: what this thread leaves from now on until `end`, for the server to do."""
    _thread.left = []
    return _thread.left


def end() -> None:
    """For a server: what comes now is done at once again."""
    _thread.left = None
