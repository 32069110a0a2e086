"""Requests that come together: what they ask the database for at the same time is one trip, and one commit.

A statement is whole or not at all, as if its request had come alone: where one of them fails, each is asked for by
itself, so nobody is refused for what somebody else has asked.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Self, TypeVar

from functions.shared import database
from functions.shared.database import Database, Statement
from functions.shared.pausing import Ask, Pausing

T = TypeVar("T")

_ask: ContextVar[Ask | None] = ContextVar("ask", default=None)


def together(works: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """Do each of `works`; gives what each returns or raises, in their order."""
    if len(works) == 1:
        return [_outcome(works[0])]
    runs = [Pausing(_joining(work)) for work in works]
    while waiting := [run for run in runs if run.pauses]:
        _answer(waiting)
    return [run.done for run in runs]


def autocommit() -> "database.autocommit | _Joined":
    """Each statement is a transaction of its own; in work that is done together, in the others' company."""
    ask = _ask.get()
    return database.autocommit() if ask is None else _Joined(ask)


class _Joined(Database):
    """The database as one of many sees it."""

    def __init__(self, ask: Ask):
        super().__init__()
        self._ask = ask

    def together(self, statements: Sequence[Statement]) -> list[list[Any]]:
        return self._ask(statements)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for action in [] if kind else self.committed():
            action()


def _joining(work: Callable[[], T]) -> Callable[[Ask], T | Exception]:
    def joined(ask: Ask) -> T | Exception:
        _ask.set(ask)
        return _outcome(work)

    return joined


def _outcome(work: Callable[[], T]) -> T | Exception:
    try:
        return work()
    except Exception as problem:
        return problem


def _answer(waiting: Sequence[Pausing]) -> None:
    """Ask for what they wait for, and let them go on."""
    # Everywhere in the same order: two that lock the same rows never wait for each other.
    waiting = sorted(waiting, key=lambda run: repr(run.asked))
    try:
        with database.autocommit() as db:
            rows = iter(db.together([statement for run in waiting for statement in run.asked]))
    except Exception as problem:
        _answer_each(waiting, problem)
        return
    for run in waiting:
        run.go_on([next(rows) for _ in run.asked])


def _answer_each(waiting: Sequence[Pausing], problem: Exception) -> None:
    is_nobodys = isinstance(problem, database.Unavailable) and not isinstance(problem, database.Outdated)
    for run in waiting:
        if len(waiting) == 1 or is_nobodys:
            run.fail(problem)
        else:
            _answer([run])
