"""Check by SQL what must always hold, over the tables of all owners.

The checks are in audit.sql beside this file. The database is ADMIN_DATABASE_URL (or DATABASE_URL), else the one of
the system that runs here. Exit code 0: nothing found; 1: something was; 2: the database could not be asked.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
from pg8000.native import Connection, Error

from tools.targets import NotFound, admin_database

SQL = Path(__file__).with_suffix(".sql")
NAME = re.compile(r"^-- name: (\w+)( \(settled\))?\n", re.MULTILINE)
SHOWN = 20


@dataclass(frozen=True)
class Check:
    """A question whose good answer is no row; a `settled` one has it only when every order has ended."""

    name: str
    settled: bool
    meaning: str
    sql: str


@dataclass(frozen=True)
class Finding:
    """A row that contradicts what must hold."""

    check: str
    row: dict[str, Any]

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.row.items())


@cache
def checks() -> tuple[Check, ...]:
    """All checks in the order of the file."""
    _, *parts = NAME.split(SQL.read_text("utf-8"))
    return tuple(_check(*part) for part in zip(parts[::3], parts[1::3], parts[2::3], strict=True))


def _check(name: str, settled: str | None, text: str) -> Check:
    lines = text.strip().splitlines()
    meaning = [line.removeprefix("-- ") for line in lines if line.startswith("--")]
    sql = [line for line in lines if not line.startswith("--")]
    return Check(name, bool(settled), " ".join(meaning), "\n".join(sql).strip().rstrip(";"))


def findings(connection: Connection, open_is_fine: bool = False) -> list[Finding]:
    """Everything that contradicts, in one snapshot; with `open_is_fine` orders may still be under way."""
    found: list[Finding] = []
    with _snapshot(connection):
        for check in asked(open_is_fine):
            rows = connection.run(check.sql)
            names = [column["name"] for column in connection.columns]
            found += [Finding(check.name, dict(zip(names, row, strict=True))) for row in rows]
    return found


def asked(open_is_fine: bool) -> list[Check]:
    """The checks that apply."""
    return [check for check in checks() if not (check.settled and open_is_fine)]


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    connection.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        connection.run("ROLLBACK")


def report(found: list[Finding]) -> str:
    """The findings by check, each check with what it means."""
    lines = []
    for check in checks():
        rows = [finding for finding in found if finding.check == check.name]
        if rows:
            lines += [f"{check.name}: {len(rows)}", f"  {check.meaning}", *(f"  - {row}" for row in rows[:SHOWN])]
            lines += [f"  and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
    return "\n".join(lines)


@click.command(help=__doc__)
@click.option("--open-is-fine", is_flag=True, help="orders may be under way: for a system at work")
def main(open_is_fine: bool) -> None:
    """See the module's text."""
    try:
        with admin_database() as connection:
            found = findings(connection, open_is_fine)
    except (NotFound, Error, OSError) as problem:
        click.echo(f"audit: {problem}", err=True)
        sys.exit(2)
    if found:
        click.echo(report(found))
        sys.exit(1)
    click.echo(f"{len(asked(open_is_fine))} checks, nothing found")


if __name__ == "__main__":
    main()
