"""Which error becomes which answer: one table for steps, REST methods, scheduled functions and dead letters.

503 with Retry-After  the function is unavailable: the sender pauses, and counts no try
503 alone             this one conflicted with another or came too early: it is redelivered, others are not held up
500 with X-Retry      never: it can never be handled, so our dispatcher makes it a dead letter at once
500 alone             a bug: it may work the next time
504                   nobody knows whether it was done, and doing it twice is not doing it once
"""

from dataclasses import dataclass, field
from logging import ERROR, WARNING

from functions.shared import database
from functions.shared.answers import RETRY_AFTER
from functions.shared.request import TooLarge, Unacceptable
from functions.shared.telemetry.logs import log

NEVER_RETRY = {"X-Retry": "never"}


class NotYet(Exception):
    """What this event builds on has not been handled here yet: nothing was done, send it again later."""


class Busy(Exception):
    """There is too much to do already: nothing was done, and the client may ask again in a moment."""


@dataclass(frozen=True)
class Trouble:
    """What an error means: a word for metrics, the answer's status and headers, and the level in the log."""

    outcome: str
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    level: int = WARNING

    @property
    def may_pass(self) -> bool:
        """Nothing was done, and the same request may well work later."""
        return self.status == 503


UNAVAILABLE = Trouble("not_now", 503, RETRY_AFTER)
CONFLICT = Trouble("not_now", 503)
NOT_YET = Trouble("not_yet", 503)
NEVER = Trouble("never", 500, NEVER_RETRY)
UNCERTAIN = Trouble("not_known", 504)
FAILED = Trouble("failed", 500, level=ERROR)


def trouble_of(problem: Exception, repeatable: bool = True) -> Trouble:
    """What `problem` means, where doing it again changes nothing or does; an error that is not listed is a bug."""
    match problem:
        case database.Uncertain() if not repeatable:
            return UNCERTAIN
        case database.Unavailable() | Busy():
            return UNAVAILABLE
        case database.Conflict():
            return CONFLICT
        case NotYet():
            return NOT_YET
        case Unacceptable() | database.Refused() | TooLarge():
            return NEVER
        case _:
            return FAILED


def report(trouble: Trouble, problem: Exception, function: str) -> None:
    """Write it to the log; a bug with its traceback."""
    if trouble.may_pass:
        log("not now", level=trouble.level, function=function, reason=str(problem))
    elif trouble is UNCERTAIN:
        log("not known", level=trouble.level, function=function, reason=str(problem))
    elif isinstance(problem, Unacceptable | TooLarge):
        log("refused", level=trouble.level, function=function, reason=str(problem))
    else:
        log("failed", level=ERROR, trace=True, function=function, reason=str(problem))
