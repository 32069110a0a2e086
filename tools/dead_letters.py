"""List, show and replay the events that no retry could get handled.

A replay posts the event, as it was, to the broker; every step recognises what it has handled, so that is always safe.
The database is ADMIN_DATABASE_URL (or DATABASE_URL) and the broker BROKER_URL; else those of the system that runs
here.
"""

import argparse
import sys
from typing import Any

import simplejson
import urllib3
from pg8000.native import Connection, Error

from functions.shared import exact_json
from functions.shared.events import STRUCTURED
from tools.targets import NotFound, admin_database, broker

TIMEOUT = 10

# Without a number or a reason: all that wait.
WAITING = """
    SELECT number, function, type, subject, reason, attempts, times, last_at, replayed_at, event
      FROM ops.dead_letters
     WHERE (CAST(:number AS bigint) IS NULL OR number = :number)
       AND (:number IS NOT NULL OR CAST(:everything AS boolean) OR replayed_at IS NULL)
       AND strpos(lower(reason), lower(:reason)) > 0
     ORDER BY number
"""

REPLAYED = "UPDATE ops.dead_letters SET replayed_at = now() WHERE number = :number"


class ReplayFailed(Exception):
    """The broker did not take the event; the dead letter stays as it was."""


def find(
    connection: Connection, number: int | None = None, reason: str = "", everything: bool = False
) -> list[dict[str, Any]]:
    """The dead letters that wait, or one by its number, or those whose reason has the words, or really all."""
    rows = connection.run(WAITING, number=number, reason=reason, everything=everything)
    names = [column["name"] for column in connection.columns]
    return [dict(zip(names, row, strict=True)) for row in rows]


def replay(connection: Connection, dead_letter: dict[str, Any], address: str) -> None:
    """Post the event to the broker and mark the dead letter. Raises ReplayFailed, and then marks nothing."""
    headers = {"Content-Type": STRUCTURED}
    try:
        answer = urllib3.request(
            "POST", address, body=dead_letter["event"].encode(), headers=headers, retries=False, timeout=TIMEOUT
        )
    except urllib3.exceptions.HTTPError as problem:
        raise ReplayFailed(f"the broker at {address} cannot be reached: {problem}") from None
    if answer.status not in (200, 202):
        raise ReplayFailed(f"the broker answered {answer.status} {answer.data.decode(errors='replace')}".strip())
    connection.run(REPLAYED, number=dead_letter["number"])


# The commands


def list_dead_letters(connection: Connection, arguments: argparse.Namespace) -> None:
    """A line for each dead letter."""
    found = find(connection, everything=arguments.all)
    for dead_letter in found:
        state = "replayed" if dead_letter["replayed_at"] else f"{dead_letter['times']}x"
        where = f"{dead_letter['type']} order {dead_letter['subject'] or '-'} at {dead_letter['function']}"
        last = f"{dead_letter['last_at']:%Y-%m-%d %H:%M:%S}"
        print(
            f"{dead_letter['number']:>6}  {last}  {state:<8}  {where}: {dead_letter['reason']}"
        )
    if not found:
        print("no dead letters" + ("" if arguments.all else " that wait (--all shows replayed ones too)"))


def show_dead_letters(connection: Connection, arguments: argparse.Namespace) -> None:
    """Everything about one dead letter, its event last."""
    dead_letter = _known(find(connection, arguments.number), arguments.number)[0]
    event = dead_letter.pop("event")
    for name, value in dead_letter.items():
        print(f"{name + ':':<13}{'-' if value is None else value}")
    print(_readable(event))


def replay_dead_letters(connection: Connection, arguments: argparse.Namespace) -> None:
    """Replay one, those of a reason, or all that wait; ends at the first that the broker does not take."""
    found = find(connection, arguments.number, arguments.reason or "")
    if arguments.number is not None:
        _known(found, arguments.number)
    address = broker()
    for dead_letter in found:
        replay(connection, dead_letter, address)
        print(f"{dead_letter['number']}: {dead_letter['type']} replayed")
    if not found:
        print("nothing to replay")


def _readable(event: str) -> str:
    return simplejson.dumps(exact_json.loads(event), use_decimal=True, ensure_ascii=False, indent=2)


def _known(found: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    if not found:
        raise NotFound(f"expected the number of a dead letter, got {number}: `list --all` shows them")
    return found


def _arguments() -> argparse.Namespace:
    form = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tools.dead_letters", description=__doc__, formatter_class=form)
    commands = parser.add_subparsers(required=True, metavar="list | show | replay")
    listing = commands.add_parser("list", help="those that wait")
    listing.add_argument("--all", action="store_true", help="replayed ones too")
    listing.set_defaults(command=list_dead_letters)
    showing = commands.add_parser("show", help="one of them, with its event")
    showing.add_argument("number", type=int)
    showing.set_defaults(command=show_dead_letters)
    replaying = commands.add_parser("replay", help="send to the broker again")
    which = replaying.add_mutually_exclusive_group(required=True)
    which.add_argument("number", type=int, nargs="?")
    which.add_argument("--reason", help="those whose reason has these words")
    which.add_argument("--all", action="store_true", help="all that wait")
    replaying.set_defaults(command=replay_dead_letters)
    return parser.parse_args()


def main() -> None:
    """See the module's text."""
    arguments = _arguments()
    try:
        with admin_database() as connection:
            arguments.command(connection, arguments)
    except (NotFound, ReplayFailed, Error, OSError) as problem:
        sys.exit(f"dead letters: {problem}")


if __name__ == "__main__":
    main()
