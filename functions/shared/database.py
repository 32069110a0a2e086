"""The owner's Postgres: connections that are kept, prepared statements, and errors sorted by what a caller can do.

A statement alone is its own transaction (`autocommit`): one trip. `transaction` is for what takes several. Timeouts
are settings of the owner's role (tools/migrate.py). Nothing here outlives a transaction but prepared statements, so a
pooler that lends a connection for each transaction may stand between (PgBouncer 1.21 or newer, which knows them).

PostgreSQL's error codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from collections import deque, namedtuple
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

from functions.shared.settings import DatabaseSettings, read, read_again

CONNECT_TIMEOUT = 10


def driver() -> ModuleType:
    """What speaks with PostgreSQL; loaded by the first connection, not by a function's start."""
    from functions.shared import pipeline

    return pipeline


class Unavailable(Exception):
    """No database now (away, starting, shutting down, full): nothing was done, try again later."""


class Uncertain(Unavailable):
    """The connection broke when a commit was on its way: nobody knows whether it was done."""


class Outdated(Unavailable):
    """A table has changed under a prepared statement, or the statement is gone: a new connection knows."""


class NotLetIn(Unavailable):
    """PostgreSQL knows another password; while it is changed, another of the addresses may have it."""


class Conflict(Exception):
    """Another transaction was first (duplicate key, deadlock, lock timeout): nothing was done, try again."""


class Duplicate(Conflict):
    """A unique key exists already; `constraint` names it."""

    def __init__(self, message: str, constraint: str):
        super().__init__(message)
        self.constraint = constraint


class Refused(Exception):
    """A constraint or a type says no: the same statement with the same values never works."""


def _sorted_error(problem: Exception) -> Exception:
    details = problem.args[0] if problem.args and isinstance(problem.args[0], dict) else {"M": str(problem)}
    code, message = details.get("C", ""), details.get("M", "")
    if code == "23505":
        return Duplicate(message, details.get("n", ""))
    if code in {"40001", "40P01", "55P03", "57014"}:
        return Conflict(message)
    if code in {"28P01", "28000"}:
        return NotLetIn(message)
    if code in {"0A000", "26000"}:
        return Outdated(message)
    if code[:2] in {"08", "25", "28", "53", "57", "58", "3D"}:
        return Unavailable(message)
    return Refused(f"{message} ({code})")


class _Prepared:
    """A statement as the server knows it, and how a row of it looks."""

    def __init__(self, connection: Any, sql: str):
        self.statement = connection.prepare(sql)
        columns = self.statement.cols or ()
        self.row = namedtuple("Row", [column["name"] for column in columns])._make

    def rows(self, context: Any) -> list[Any]:
        return [self.row(row) for row in context.rows or ()]


Statement = tuple[str, dict[str, Any]]
BEGIN: Statement = ("BEGIN", {})
COMMIT: Statement = ("COMMIT", {})


class Database:
    """Runs SQL with named parameters (`:name`)."""

    def __init__(self) -> None:
        self._after_commit: list[Callable[[], None]] = []

    def after_commit(self, action: Callable[[], None]) -> None:
        """Do `action` once after this transaction has committed, and not at all if it does not."""
        if action not in self._after_commit:
            self._after_commit.append(action)

    def committed(self) -> list[Callable[[], None]]:
        """What is to be done now."""
        actions, self._after_commit = self._after_commit, []
        return actions

    def rows(self, sql: str, **values: Any) -> list[Any]:
        """Run `sql` and give its rows, columns by name (`row.balance`)."""
        return self.together([(sql, values)])[0]

    def row(self, sql: str, **values: Any) -> Any | None:
        """Run `sql` and give its first row, or None."""
        return next(iter(self.rows(sql, **values)), None)

    def together(self, statements: Sequence[Statement]) -> list[list[Any]]:
        """Run statements in their order, in one trip, and give the rows of each."""
        raise NotImplementedError


class Connection(Database):
    """A database by a connection of its own; every statement is prepared once on it."""

    def __init__(self, url: str):
        super().__init__()
        parts = urlsplit(url)
        try:
            self._connection = driver().PipelinedConnection(
                user=unquote(parts.username or ""),
                password=unquote(parts.password) if parts.password else None,
                host=parts.hostname or "localhost",
                port=parts.port or 5432,
                database=parts.path.lstrip("/") or None,
                timeout=CONNECT_TIMEOUT,
            )
        except driver().BROKEN as problem:
            raise Unavailable(f"no connection to PostgreSQL at {parts.hostname}: {problem}") from problem
        except driver().DatabaseError as problem:
            raise _sorted_error(problem) from problem
        self._prepared: dict[str, _Prepared] = {}
        self._begin = False
        self._open = False
        self.broken = False

    def together(self, statements: Sequence[Statement]) -> list[list[Any]]:
        """Run statements in their order, in one trip, and give the rows of each."""
        begun, self._begin = self._begin, False
        sent = [BEGIN, *statements] if begun else statements
        executed = False
        try:
            prepared = [self._prepare(sql) for sql, _ in sent]
            executions = [(one.statement, values) for one, (_, values) in zip(prepared, sent, strict=True)]
            executed = True
            contexts = self._connection.execute(executions)
        except driver().DatabaseError as problem:
            error = _sorted_error(problem)
            self.broken = isinstance(error, Unavailable)
            if isinstance(error, Outdated):
                # Those that wait know the table as it was, too.
                pool.close()
            raise error from problem
        except driver().BROKEN as problem:
            self.broken = True
            commits = executed and (statements[-1] == COMMIT or not (begun or self._open))
            error = Uncertain if commits else Unavailable
            raise error(f"the connection to PostgreSQL broke: {problem}") from problem
        self._open = self._open or begun
        found = [one.rows(context) for one, context in zip(prepared, contexts, strict=True)]
        return found[1:] if begun else found

    def _prepare(self, sql: str) -> _Prepared:
        known = self._prepared.get(sql)
        if known is None:
            known = self._prepared[sql] = _Prepared(self._connection, sql)
        return known

    def begin(self) -> None:
        """Open a transaction, in the same trip as its first statement."""
        self._begin = True

    def end(self, how: str) -> None:
        """COMMIT or ROLLBACK; nothing to do where no statement has opened the transaction."""
        if self._begin:
            self._begin = False
        else:
            self.rows(how)
            self._open = False

    @property
    def is_usable(self) -> bool:
        """Not broken, nor ended by the server while nobody looked."""
        return not self.broken and not self._connection.was_ended

    def forget_actions(self) -> None:
        """Nothing was committed, so nothing is done after it."""
        self._after_commit.clear()

    def close(self) -> None:
        """Close the connection; one that is broken already is let go."""
        self.broken = True
        try:
            self._connection.close()
        except (driver().Error, *driver().BROKEN):
            pass


def _connected() -> Connection:
    """A new connection, by the first address that lets us in; what was read at the start may be another day's.

    Raises Unavailable.
    """
    for reading in (read, read_again):
        for url in reading(DatabaseSettings).database_url.split():
            try:
                return Connection(url)
            except NotLetIn as problem:
                refused = problem
    raise refused


class _Pool:
    """The connections of this process: as many as were ever used at a time, the last one used first.

    A thread takes one for a transaction or a statement. One for each thread would be as many as threads have ever
    had work, each with its own prepared statements, here and in a process of the server.
    """

    def __init__(self) -> None:
        self._idle: deque[Connection] = deque()

    def take(self) -> Connection:
        """One that works; those that the server has ended meanwhile are let go."""
        while True:
            try:
                database = self._idle.pop()
            except IndexError:
                return _connected()
            if database.is_usable:
                return database
            database.close()

    def give_back(self, database: Connection) -> None:
        """It may be used again, unless it is broken."""
        database.forget_actions()
        if database.broken:
            database.close()
        else:
            self._idle.append(database)

    def close(self) -> None:
        """Close those that nobody uses."""
        while self._idle:
            self._idle.pop().close()


pool = _Pool()


class autocommit:
    """A connection on which each statement is a transaction of its own: what it did stays done.

    Raises Unavailable, Conflict or Refused, from the statements.
    """

    # Not a generator, as `transaction` is: each event that comes alone goes through here, in two calls and not six.

    def __enter__(self) -> Database:
        self._database = pool.take()
        return self._database

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        actions = [] if kind else self._database.committed()
        pool.give_back(self._database)
        _do(actions)


@contextmanager
def transaction() -> Iterator[Database]:
    """One transaction on a connection: commits at the end, rolls back on any exception.

    Raises Unavailable, Conflict or Refused, from the statements or from the commit.
    """
    database = pool.take()
    try:
        database.begin()
        yield database
        database.end("COMMIT")
        actions = database.committed()
    except BaseException:
        _roll_back(database)
        raise
    finally:
        pool.give_back(database)
    _do(actions)


def _do(actions: list[Callable[[], None]]) -> None:
    for action in actions:
        action()


def _roll_back(database: Connection) -> None:
    if not database.broken:
        try:
            database.end("ROLLBACK")
        except (Unavailable, Conflict, Refused):
            database.broken = True
