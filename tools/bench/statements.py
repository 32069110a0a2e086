"""What PostgreSQL did: statements by owner, commits, bytes of its log. Counts grow; a difference is what was used.

Statements need the extension pg_stat_statements, loaded by the server: `make run` does that, and Debian's package
brings it. Where it is missing there is no measurement.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from pg8000.native import Connection, DatabaseError

SCHEMA = "bench"
MOST_EXPENSIVE = 10
CONTROL = {"BEGIN", "COMMIT", "ROLLBACK", "START"}

PREPARE = (
    f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
    f"CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA {SCHEMA}",
)

# The measuring side is the administrator: what it asks itself does not count.
STATEMENTS = f"""
    SELECT r.rolname, s.query, sum(s.calls), sum(s.total_exec_time)
      FROM {SCHEMA}.pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid
     WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND r.rolname <> session_user
     GROUP BY r.rolname, s.query
"""

# A transaction that writes takes a number, at once; xact_commit counts all, some of them seconds late.
TRANSACTIONS = """
    SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint), xact_commit,
           pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')
      FROM pg_stat_database WHERE datname = current_database()
"""


@dataclass(frozen=True)
class Statement:
    """One statement of one owner; constants are taken out of its text."""

    owner: str
    text: str

    @property
    def controls(self) -> bool:
        """Whether it only begins or ends a transaction."""
        return self.text.split()[0].rstrip(";").upper() in CONTROL


@dataclass
class Counts:
    """All counts at one moment; `calls` is None where the server does not count statements."""

    writing: int
    commits: int
    wal: int
    calls: Counter[Statement] | None
    milliseconds: dict[Statement, float] = field(default_factory=dict)


def count_statements(connection: Connection) -> bool:
    """Have statements counted, if the server can."""
    try:
        for sql in PREPARE:
            connection.run(sql)
        connection.run(STATEMENTS)
    except DatabaseError:
        return False
    return True


def counts(connection: Connection, with_statements: bool) -> Counts:
    """As they are now."""
    writing, commits, wal = map(int, connection.run(TRANSACTIONS)[0])
    if not with_statements:
        return Counts(writing, commits, wal, None)
    rows = [(Statement(owner, text), int(calls), float(ms)) for owner, text, calls, ms in connection.run(STATEMENTS)]
    calls = Counter({statement: calls for statement, calls, _ in rows})
    return Counts(writing, commits, wal, calls, {statement: ms for statement, _, ms in rows})


def measurements(before: Counts, after: Counts, orders: int, own: int = 0) -> dict[str, float | None]:
    """What an order took; `own` are the commits of the measuring side."""
    found = {
        "sql.writing_transactions": (after.writing - before.writing) / orders,
        "sql.commits": (after.commits - before.commits - own) / orders,
        "sql.wal_bytes": (after.wal - before.wal) / orders,
    }
    if before.calls is None or after.calls is None:
        return {"sql.statements": None} | found
    return _statements(after.calls - before.calls, orders) | found


def _statements(calls: Counter[Statement], orders: int) -> dict[str, float]:
    owners: dict[str, float] = defaultdict(float)
    for statement, count in calls.items():
        owners[f"sql.statements.{statement.owner}"] += count / orders
    control = sum(count for statement, count in calls.items() if statement.controls)
    whole = {"sql.statements": calls.total() / orders, "sql.statements_begin_commit": control / orders}
    return whole | dict(sorted(owners.items()))


def most_expensive(before: Counts, after: Counts, orders: int) -> list[dict[str, Any]]:
    """Those that took most time, the first one most."""
    if before.calls is None or after.calls is None:
        return []
    took = {each: ms - before.milliseconds.get(each, 0.0) for each, ms in after.milliseconds.items()}
    return [
        {
            "owner": each.owner,
            "ms_an_order": took[each] / orders,
            "calls_an_order": (after.calls[each] - before.calls[each]) / orders,
            "sql": " ".join(each.text.split()),
        }
        for each in sorted(took, key=took.get, reverse=True)[:MOST_EXPENSIVE]
    ]
