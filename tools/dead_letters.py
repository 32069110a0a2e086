"""List, show and replay the events that no retry could get handled.

A replay posts the event, as it was, to the broker; every step recognises what it has handled, so that is always safe.
The database is ADMIN_DATABASE_URL (or DATABASE_URL) and the broker BROKER_URL; else those of the system that runs
here, and so is the installation's token, which INSTALLATION_TOKEN (or INSTALLATION_TOKEN_FILE) gives otherwise.
"""

import base64
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import urllib3
from pg8000.native import Connection, Error

from functions.shared import exact_json
from functions.shared.events import STRUCTURED
from tools.targets import NotFound, admin_database, broker, installation_headers

TIMEOUT = 10

# An event may have a megabyte: so many are read at a time.
AT_A_TIME = 100
UNREADABLE = "homework.arch.ops.unreadable"

# Without a number or a reason: all that wait.
WAITING = """
    SELECT number, function, type, subject, reason, attempts, times, last_at, replayed_at, event
      FROM ops.dead_letters
     WHERE (CAST(:number AS bigint) IS NULL OR number = :number)
       AND (:number IS NOT NULL OR CAST(:everything AS boolean) OR replayed_at IS NULL)
       AND strpos(lower(reason), lower(:reason)) > 0
       AND number > :after
     ORDER BY number LIMIT :limit
"""

REPLAYED = "UPDATE ops.dead_letters SET replayed_at = now() WHERE number = :number"


class ReplayFailed(Exception):
    """The broker could not take the event; the dead letter stays as it was."""


class NotReplayable(ReplayFailed):
    """This event the broker never takes; others it may."""


def find(
    connection: Connection, number: int | None = None, reason: str = "", everything: bool = False
) -> Iterator[dict[str, Any]]:
    """The dead letters that wait, or one by its number, or those whose reason has the words, or really all."""
    asked = {"number": number, "reason": reason, "everything": everything, "limit": AT_A_TIME}
    rows, after = [()] * AT_A_TIME, 0
    while len(rows) == AT_A_TIME:
        rows = connection.run(WAITING, **asked, after=after)
        names = [column["name"] for column in connection.columns]
        for row in rows:
            yield dict(zip(names, row, strict=True))
        after = rows[-1][0] if rows else after


def replay(connection: Connection, dead_letter: dict[str, Any], address: str) -> None:
    """Post the event to the broker and mark the dead letter. Raises ReplayFailed, and then marks nothing."""
    if dead_letter["type"] == UNREADABLE:
        raise NotReplayable("it is no CloudEvent, and no function could take it; show tells what it is")
    headers = {"Content-Type": STRUCTURED, **installation_headers()}
    try:
        answer = urllib3.request(
            "POST", address, body=dead_letter["event"].encode(), headers=headers, retries=False, timeout=TIMEOUT
        )
    except urllib3.exceptions.HTTPError as problem:
        raise ReplayFailed(f"the broker at {address} cannot be reached: {problem}") from None
    if answer.status not in (200, 202):
        kind = NotReplayable if answer.status in (400, 413, 415) else ReplayFailed
        raise kind(f"the broker answered {answer.status} {answer.data.decode(errors='replace')}".strip())
    connection.run(REPLAYED, number=dead_letter["number"])


@click.group(help=__doc__)
def main() -> None:
    """See the module's text."""


@main.command("list")
@click.option("--all", "everything", is_flag=True, help="replayed ones too")
def list_dead_letters(everything: bool) -> None:
    """Those that wait, a line for each."""
    found = False
    with _database() as connection:
        for dead_letter in find(connection, everything=everything):
            click.echo(_line(dead_letter))
            found = True
    if not found:
        click.echo("no dead letters" + ("" if everything else " that wait (--all shows replayed ones too)"))


def _line(dead_letter: dict[str, Any]) -> str:
    state = "replayed" if dead_letter["replayed_at"] else f"{dead_letter['times']}x"
    where = f"{dead_letter['type']} order {dead_letter['subject'] or '-'} at {dead_letter['function']}"
    last = f"{dead_letter['last_at']:%Y-%m-%d %H:%M:%S}"
    return f"{dead_letter['number']:>6}  {last}  {state:<8}  {where}: {dead_letter['reason']}"


@main.command("show")
@click.argument("number", type=int)
def show_dead_letter(number: int) -> None:
    """One of them, its event last."""
    with _database() as connection:
        dead_letter = _known(connection, number)
    event = dead_letter.pop("event")
    for name, value in dead_letter.items():
        click.echo(f"{name + ':':<13}{'-' if value is None else value}")
    click.echo(_readable(event))


@main.command("replay")
@click.argument("number", type=int, required=False)
@click.option("--reason", help="those whose reason has these words")
@click.option("--all", "everything", is_flag=True, help="all that wait")
def replay_dead_letters(number: int | None, reason: str | None, everything: bool) -> None:
    """Send one, those of a reason, or all that wait to the broker again; what it refuses stays, and is named."""
    if [number is not None, reason is not None, everything].count(True) != 1:
        raise click.UsageError("expected one of NUMBER, --reason and --all")
    replayed = refused = 0
    with _database() as connection:
        if number is not None:
            _known(connection, number)
        address = broker()
        for dead_letter in find(connection, number, reason or ""):
            name = f"{dead_letter['number']}: {dead_letter['type']}"
            try:
                replay(connection, dead_letter, address)
                replayed += 1
                click.echo(f"{name} replayed")
            except NotReplayable as problem:
                refused += 1
                click.echo(f"{name} not replayed: {problem}", err=True)
    if refused:
        sys.exit(f"dead letters: {refused} not replayed, {replayed} replayed")
    if not replayed:
        click.echo("nothing to replay")


@contextmanager
def _database() -> Iterator[Connection]:
    """The database; what cannot be done there is said in one line."""
    try:
        with admin_database() as connection:
            yield connection
    except (NotFound, ReplayFailed, Error, OSError) as problem:
        sys.exit(f"dead letters: {problem}")


def _readable(event: str) -> str:
    """In lines; of data that are no JSON also what they say, as far as they are text."""
    shown = exact_json.loads(event)
    text = exact_json.dumps(shown, indent=2)
    if "data_base64" in shown:
        text += "\n" + base64.b64decode(shown["data_base64"]).decode(errors="backslashreplace")
    return text


def _known(connection: Connection, number: int) -> dict[str, Any]:
    found = next(find(connection, number), None)
    if found is None:
        raise NotFound(f"expected the number of a dead letter, got {number}: `list --all` shows them")
    return found


if __name__ == "__main__":
    main()
