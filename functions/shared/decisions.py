"""What a step decides: one statement for an event, alone or together with those of a batch.

An event alone is one statement in autocommit: one trip, one transaction, and whole or not at all. Of a batch the
statements go to the server in one trip, within one transaction that is committed when every step has its answer. For
that each event of a batch runs in a greenlet, so that its step reads like any other function.

Two batches must not wait for each other. So a batch first locks the rows that several orders share, those of all its
events in one statement and in one order; then it decides order by order, in the order of their ids.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from functions.shared import database
from functions.shared.database import Statement
from functions.shared.pausing import Ask, Pausing

T = TypeVar("T")


@dataclass(frozen=True)
class Locks:
    """Rows that a step's statement locks and other orders' statements too: `sql` locks those of `:keys`, in order."""

    sql: str
    keys: Sequence[Any]


class Decisions:
    """A step's way to its owner's tables: one statement for each event."""

    def __init__(self, ask: Callable[[Statement, Locks | None], list[Any]]):
        self._ask = ask
        self._asked = False
        self.afterwards: list[Callable[[], None]] = []

    def row(self, sql: str, locks: Locks | None = None, **values: Any) -> Any | None:
        """Run the step's one statement and give its first row, columns by name, or None.

        `locks` says which rows it locks that other orders lock too; an event alone locks them by its statement.
        """
        if self._asked:
            # Two statements of an event alone would be two transactions, and a crash could come between them.
            raise RuntimeError("a step decides in one statement; put both into one, or ask in one WITH")
        self._asked = True
        return next(iter(self._ask((sql, values), locks)), None)

    def after_commit(self, action: Callable[[], None]) -> None:
        """Do `action` when what was decided is committed, and not at all if it is not."""
        self.afterwards.append(action)


def alone(work: Callable[[Decisions], T]) -> T:
    """Run one event's work. Raises what it raises, and database's Unavailable, Conflict or Refused."""
    with database.autocommit() as db:
        decisions = Decisions(lambda statement, _: db.together([statement])[0])
        done = work(decisions)
    _afterwards([decisions])
    return done


def together(works: Sequence[Callable[[Decisions], T]]) -> list[T]:
    """Run the work of many events as one transaction; raises as `alone`, and then nothing has happened."""
    with database.transaction() as db:
        runs = [_Run(work) for work in works]
        waiting = [run for run in runs if run.pauses]
        if waiting:
            # A list: a tuple that is made of a generator is cut to its size, and Python keeps 2,000 of each size.
            statements, locks = zip(*[run.asked for run in waiting], strict=True)
            locking = _locking([one for one in locks if one])
            found = db.together([*locking, *statements])
            for run, rows in zip(waiting, found[len(locking) :], strict=True):
                run.go_on(rows)
    _afterwards([run.decisions for run in runs])
    return [run.done for run in runs]


def _locking(locks: Sequence[Locks]) -> list[Statement]:
    """One statement for all rows of a kind."""
    keys = {sql: {key for one in locks if one.sql == sql for key in one.keys} for sql in {one.sql for one in locks}}
    return [(sql, {"keys": sorted(keys[sql])}) for sql in sorted(keys)]


def _afterwards(decisions: Sequence[Decisions]) -> None:
    for one in decisions:
        for action in one.afterwards:
            action()


class _Run(Pausing[T]):
    """One event's work: it pauses where it asks for its statement, and goes on with the rows."""

    def __init__(self, work: Callable[[Decisions], T]):
        super().__init__(lambda ask: work(self._decisions(ask)))

    def _decisions(self, ask: Ask) -> Decisions:
        self.decisions = Decisions(lambda statement, locks: ask((statement, locks)))
        return self.decisions
