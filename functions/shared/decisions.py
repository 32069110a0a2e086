"""What a step decides: one statement for an event, alone or together with those of a batch.

An event alone is one statement in autocommit: one trip, one transaction, and whole or not at all. Of a batch the
statements go to the server in one trip, within one transaction that is committed when every step has its answer. For
that each event of a batch runs in a greenlet, so that its step reads like any other function.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from functions.shared import database
from functions.shared.database import Statement

T = TypeVar("T")


class Decisions:
    """A step's way to its owner's tables: one statement for each event."""

    def __init__(self, ask: Callable[[Statement], list[Any]]):
        self._ask = ask
        self._asked = False
        self.afterwards: list[Callable[[], None]] = []

    def row(self, sql: str, **values: Any) -> Any | None:
        """Run the step's one statement and give its first row, columns by name, or None."""
        if self._asked:
            # Two statements of an event alone would be two transactions, and a crash could come between them.
            raise RuntimeError("a step decides in one statement; put both into one, or ask in one WITH")
        self._asked = True
        return next(iter(self._ask((sql, values))), None)

    def after_commit(self, action: Callable[[], None]) -> None:
        """Do `action` when what was decided is committed, and not at all if it is not."""
        self.afterwards.append(action)


def alone(work: Callable[[Decisions], T]) -> T:
    """Run one event's work. Raises what it raises, and database's Unavailable, Conflict or Refused."""
    with database.autocommit() as db:
        decisions = Decisions(lambda statement: db.together([statement])[0])
        done = work(decisions)
    _afterwards([decisions])
    return done


def together(works: Sequence[Callable[[Decisions], T]]) -> list[T]:
    """Run the work of many events as one transaction; raises as `alone`, and then nothing has happened."""
    with database.transaction() as db:
        runs = [_Run(work) for work in works]
        waiting = [run for run in runs if run.statement]
        if waiting:
            found = db.together([run.statement for run in waiting])
            for run, rows in zip(waiting, found, strict=True):
                run.go_on(rows)
    _afterwards([run.decisions for run in runs])
    return [run.done for run in runs]


def _afterwards(decisions: Sequence[Decisions]) -> None:
    for one in decisions:
        for action in one.afterwards:
            action()


class _Run:
    """One event's work: it runs until it asks for its statement, waits, and goes on with the rows."""

    def __init__(self, work: Callable[[Decisions], Any]):
        # Only here: a function that never sees a batch must not pay for loading it.
        from greenlet import getcurrent, greenlet

        self.statement: Statement | None = None
        self.done: Any = None
        self.decisions = Decisions(getcurrent().switch)
        self._greenlet = greenlet(work)
        self._arrived(self._greenlet.switch(self.decisions))

    def go_on(self, rows: list[Any]) -> None:
        """Hand over the rows that it waits for."""
        self.statement = None
        self._arrived(self._greenlet.switch(rows))

    def _arrived(self, at: Any) -> None:
        if self._greenlet.dead:
            self.done = at
        else:
            self.statement = at
