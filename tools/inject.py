"""Run one step: post an event to its function, show the answer and what changed in its owner's tables.

Without options the event is the example that the schemas keep. Where the local system runs, its function is used;
otherwise the database and this one function are started for the occasion. The same injection again is the same
event, so it is answered from what was decided and changes nothing.

A function elsewhere (--url) wants its installation's token: INSTALLATION_TOKEN, or INSTALLATION_TOKEN_FILE.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pg8000.native
import urllib3

from functions.shared import exact_json
from functions.shared.events import STRUCTURED, derived_id, make
from tools.install import install
from tools.local.children import Child, stop
from tools.local.environment import HOST, Environment
from tools.local.installation import DATABASE, Installation
from tools.local.processes import StartFailed, free_port, last_lines, wait_until
from tools.local.settings import LocalSettings
from tools.migrate import MigrationFailed, connected, create_database, migrate
from tools.targets import NotFound, TargetSettings, installation_headers
from tools.targets import broker as broker_address
from triggers.stack import PREFIX, Function, Unknown, by_event

SOURCE = "/injector"
ROWS_SHOWN = 10_000
PATIENCE = 20
# Through the broker nobody tells that a step has found nothing to change: this long a change is waited for.
CHANGE_WITHIN = 5
UNCHANGED = "no row changed: decided before, or nothing to decide"
NOT_SEEN = f"no row changed within {CHANGE_WITHIN} s: decided before, nothing to decide, or still on its way"

DEAD_LETTER = "SELECT number, reason FROM ops.dead_letters WHERE id = :id AND function = :function"

TABLES = """
    SELECT table_name FROM information_schema.tables
     WHERE table_schema = :owner AND table_type = 'BASE TABLE' AND table_name <> 'migrations'
     ORDER BY table_name
"""

Snapshot = dict[str, set[str]]


def example_of(event: str) -> dict[str, Any]:
    """The data of the example of an event type in short form."""
    from schemas.events import ALL

    return dict(ALL[event].example)


def data_of(event: str, order: str | None, user: str | None, amount: str | None, file: Path | None) -> dict[str, Any]:
    """The example's data, or the file's, with what the options say about it."""
    data = exact_json.loads(file.read_bytes()) if file else example_of(event)
    changes = {"orderId": order, "userName": user, "amount": Decimal(amount) if amount else None}
    return data | {name: value for name, value in changes.items() if value is not None}


def event_of(function: Function, data: dict[str, Any]) -> str:
    """The CloudEvent in structured form; the same data give the same event."""
    text = exact_json.dumps(data)
    subject = str(data.get("orderId") or "unknown")
    id = derived_id(SOURCE, function.event_type, text)
    event = make(type=function.event_type, source=SOURCE, id=id, subject=subject, causation=id, data=data)
    return exact_json.dumps({name: event[name] for name in event} | {"data": data})


def snapshot(database: str, owner: str) -> Snapshot:
    """The rows of the owner's tables, as JSON texts."""
    with connected(database) as connection:
        return snapshot_by(connection, owner)


def snapshot_by(connection: pg8000.native.Connection, owner: str) -> Snapshot:
    """The same, by a connection that there is."""
    tables = [name for (name,) in connection.run(TABLES, owner=owner)]
    return {table: _rows(connection, owner, table) for table in tables}


def _rows(connection: pg8000.native.Connection, owner: str, table: str) -> set[str]:
    name = f"{pg8000.native.identifier(owner)}.{pg8000.native.identifier(table)}"
    return {text for (text,) in connection.run(f"SELECT to_jsonb(t)::text FROM {name} t LIMIT {ROWS_SHOWN}")}


def difference(before: Snapshot, after: Snapshot) -> list[str]:
    """What changed, a line a row: `- ` as it was, `+ ` as it is."""
    lines = []
    for table in after:
        gone = sorted(before.get(table, set()) - after[table])
        come = sorted(after[table] - before.get(table, set()))
        if gone or come:
            lines += [table, *(f"  - {row}" for row in gone), *(f"  + {row}" for row in come)]
    return lines


@contextmanager
def function_and_database(function: Function, url: str | None) -> Iterator[tuple[str, str | None]]:
    """The addresses of the function and of the database, started here if nothing runs."""
    running = Installation.from_environment().running() or {}
    database = TargetSettings.now().admin_database_url or running.get("database")
    if url:
        yield url, database
    elif running:
        yield running["functions"][function.name], database
    else:
        with _database() as found, _alone(function, found) as address:
            yield address, found


@contextmanager
def _database() -> Iterator[str]:
    """The database at DATABASE_URL, or the local one, started for as long as it is needed."""
    installation = Installation.from_environment()
    install(installation.secrets)
    given = LocalSettings.now().database_url
    server = None if given else installation.postgres()
    try:
        if server:
            click.echo("starting PostgreSQL ...", err=True)
            server.start()
        url = given or server.url(DATABASE)
        create_database(url)
        password = (installation.secrets / "admin-password").read_text().strip()
        migrate(url, json.loads((installation.secrets / "roles.json").read_text()), admin_password=password)
        yield url
    finally:
        if server:
            server.stop()


@contextmanager
def _alone(function: Function, database: str) -> Iterator[str]:
    """The function by itself, with the framework's own command."""
    installation, port = Installation.from_environment(), free_port()
    click.echo(f"starting {function.name} ...", err=True)
    address = f"http://{HOST}:{port}"
    with tempfile.TemporaryDirectory() as folder:
        urls = Path(folder) / "functions.json"
        urls.write_text("{}")
        # Nothing listens where the broker is said to be: what a step puts into its outbox stays there to be seen.
        around = Environment(installation.secrets, urls, database=database, amqp="", broker=f"http://{HOST}:9")
        command = [str(Path(sys.executable).with_name("functions-framework")), "--source", function.source]
        command += ["--target", function.target, "--host", HOST, "--port", str(port)]
        log = Path(folder) / "function.log"
        child = Child(function.name, command, around.of_functions(function.owner), log, f"{address}/_/health")
        child.start()
        try:
            if not wait_until(lambda: child.check() or not child.runs, PATIENCE) or not child.runs:
                raise StartFailed(f"{function.name} did not start:\n{last_lines(log)}")
            yield address
        finally:
            stop([child])


def post(url: str, event: str) -> urllib3.BaseHTTPResponse:
    """Send a structured event. Raises StartFailed, in words, when nobody answers."""
    try:
        headers = {"Content-Type": STRUCTURED, **installation_headers()}
        return urllib3.request("POST", url, body=event.encode(), headers=headers, retries=False, timeout=PATIENCE)
    except urllib3.exceptions.HTTPError as problem:
        raise StartFailed(f"nobody answers at {url}: {problem}") from None


def describe(answer: urllib3.BaseHTTPResponse) -> str:
    """Status, the event's attributes if it is one, and the body, readable."""
    lines = [f"answer {answer.status} {answer.reason or ''}".rstrip()]
    notable = ("x-retry", "retry-after")
    shown = [name for name in answer.headers if name.lower().startswith("ce-") or name.lower() in notable]
    lines += [f"  {name.lower()}: {answer.headers[name]}" for name in shown]
    try:
        body = exact_json.dumps(exact_json.loads(answer.data), indent=2)
    except ValueError:
        body = answer.data.decode(errors="replace")
    return "\n".join([*lines, *(f"  {line}" for line in body.splitlines())])


def through_broker(event: str) -> urllib3.BaseHTTPResponse:
    """Post to the broker's ingress. Raises NotFound where there is none."""
    return post(broker_address(), event)


def inject(function: Function, event: str, url: str | None, broker: bool, say: Callable[[str], None]) -> int:
    """Do it and tell about it; gives the status of the answer."""
    with _addresses(function, url, broker) as (address, database):
        before = snapshot(database, function.owner) if database else {}
        answer = through_broker(event) if broker else post(address, event)
        say(describe(answer))
        if database:
            say(f"\nrows of {function.owner}, - before, + after:")
            say("\n".join(_changes(function, event, database, before, wait=broker and answer.status == 202)))
        else:
            say("\nrows not shown: set ADMIN_DATABASE_URL to the database behind that address")
    return answer.status


def _changes(function: Function, event: str, database: str, before: Snapshot, wait: bool) -> list[str]:
    """What changed in the owner's tables; what the broker has taken may change them later, or be a dead letter."""
    if not wait:
        return difference(before, snapshot(database, function.owner)) or [UNCHANGED]
    found: list[str] = []

    def is_seen() -> bool:
        found[:] = difference(before, snapshot(database, function.owner)) or _dead_letter(function, event, database)
        return bool(found)

    wait_until(is_seen, CHANGE_WITHIN, every=0.1)
    return found or [NOT_SEEN]


def _dead_letter(function: Function, event: str, database: str) -> list[str]:
    with connected(database) as connection:
        found = connection.run(DEAD_LETTER, id=json.loads(event)["id"], function=function.name)
    return [f"dead letter {number}: {reason}" for number, reason in found]


def _addresses(function: Function, url: str | None, broker: bool) -> Any:
    # Through the broker the function's own address is not needed, so none is started.
    return function_and_database(function, url or ("broker" if broker else None))


@click.command(help=__doc__)
@click.option("--event", required=True, help="type of the event, in full or short: billing.withdraw")
@click.option("--order", help="order id instead of the example's")
@click.option("--user", help="user name instead of the example's")
@click.option("--amount", help="amount instead of the example's")
@click.option("--data", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="JSON file with the data")
@click.option("--url", help="address of the function, on Knative, OpenFaaS or anywhere")
@click.option("--broker", is_flag=True, help="through the broker instead of straight to the function")
def main(event: str, url: str | None, broker: bool, **options: Any) -> None:
    """See the module's text."""
    try:
        function = by_event(event)
        short = function.event_type.removeprefix(PREFIX)
        data = data_of(short, options["order"], options["user"], options["amount"], options["data"])
        sent = event_of(function, data)
        click.echo(f"{function.event_type} -> {function.name}\n{sent}\n")
        status = inject(function, sent, url, broker, click.echo)
    except (Unknown, NotFound, StartFailed, MigrationFailed, ValueError, ArithmeticError) as problem:
        raise SystemExit(f"inject: {problem}") from None
    raise SystemExit(0 if 200 <= status < 300 else 1)


if __name__ == "__main__":
    main()
