"""List, show, send again or drop the events of the order's outbox that the broker has refused.

A refused event stays in its row until somebody has looked: why it was refused is there, and is to be mended first.
Sending it again is always safe: the flush, which runs every few seconds, takes it up, and every step recognises what
it has handled. The database is ADMIN_DATABASE_URL (or DATABASE_URL), else that of the system that runs here.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from pg8000.native import Connection, Error

from tools.targets import NotFound, admin_database

AT_A_TIME = 500

REFUSED = """
    SELECT position, id, type, order_id, written_at, refusal, event
      FROM "order".outbox
     WHERE refusal IS NOT NULL AND position > :after
     ORDER BY position LIMIT :limit
"""

ONE = """
    SELECT id, type, order_id, written_at, refusal, event, traceparent
      FROM "order".outbox WHERE id = :id AND refusal IS NOT NULL
"""

RESEND = """
    UPDATE "order".outbox SET refusal = NULL
     WHERE refusal IS NOT NULL AND (CAST(:id AS text) IS NULL OR id = :id)
       AND strpos(lower(refusal), lower(:reason)) > 0
    RETURNING id
"""

DROP = 'DELETE FROM "order".outbox WHERE id = :id AND refusal IS NOT NULL RETURNING id'


def refused(connection: Connection) -> Iterator[dict[str, Any]]:
    """The events that the broker has refused, oldest first."""
    rows, after = [()] * AT_A_TIME, 0
    while len(rows) == AT_A_TIME:
        rows = _rows(connection, REFUSED, after=after, limit=AT_A_TIME)
        yield from rows
        after = rows[-1]["position"] if rows else after


def resend(connection: Connection, id: str | None = None, reason: str = "") -> list[str]:
    """Have refused events sent by the next flush: one by its id, those whose refusal has the words, or all."""
    return [row["id"] for row in _rows(connection, RESEND, id=id, reason=reason)]


@click.group(help=__doc__)
def main() -> None:
    """See the module's text."""


@main.command("list")
def list_refused() -> None:
    """Those that the broker has refused, a line for each."""
    found = False
    with _database() as connection:
        for row in refused(connection):
            found = True
            what = f"{row['type'] or 'an event'} order {row['order_id'] or '-'}"
            click.echo(f"{row['id']}  {row['written_at']:%Y-%m-%d %H:%M:%S}  {what}: {row['refusal']}")
    if not found:
        click.echo("no refused events")


@main.command("show")
@click.argument("id")
def show_refused(id: str) -> None:
    """Everything about one of them."""
    with _database() as connection:
        (row,) = _rows(connection, ONE, id=id) or [None]
        if row is None:
            raise _unknown(id)
    for name, value in row.items():
        click.echo(f"{name + ':':<13}{'-' if value is None else value}")


@main.command("resend")
@click.argument("id", required=False)
@click.option("--reason", help="those whose refusal has these words")
@click.option("--all", "everything", is_flag=True, help="all that were refused")
def resend_refused(id: str | None, reason: str | None, everything: bool) -> None:
    """Have one, those of a reason, or all sent again by the next flush."""
    if [id is not None, reason is not None, everything].count(True) != 1:
        raise click.UsageError("expected one of ID, --reason and --all")
    with _database() as connection:
        sent = resend(connection, id, reason or "")
        if id is not None and not sent:
            raise _unknown(id)
    for one in sent:
        click.echo(f"{one}: will be sent")
    if not sent:
        click.echo("nothing to send")


@main.command("drop")
@click.argument("id")
def drop_refused(id: str) -> None:
    """Delete one that nobody needs any more."""
    with _database() as connection:
        if not _rows(connection, DROP, id=id):
            raise _unknown(id)
    click.echo(f"{id}: dropped")


def _unknown(id: str) -> NotFound:
    return NotFound(f"expected the id of a refused event, got {id}: `list` shows them")


def _rows(connection: Connection, sql: str, **values: Any) -> list[dict[str, Any]]:
    rows = connection.run(sql, **values)
    names = [column["name"] for column in connection.columns]
    return [dict(zip(names, row, strict=True)) for row in rows]


@contextmanager
def _database() -> Iterator[Connection]:
    """The database; what cannot be done there is said in one line."""
    try:
        with admin_database() as connection:
            yield connection
    except (NotFound, Error, OSError) as problem:
        sys.exit(f"outbox: {problem}")


if __name__ == "__main__":
    main()
