"""The steps of the saga in the test's own process, in front of one database: sent to, held, cut off, looked into."""

import json
import os
import signal
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from functions.order.submit import submit
from functions.shared import database, exact_json
from functions.shared.database import Connection
from schemas.events import ALL
from tests.kit import Reply, ask, event, send, timeless
from tests.processes import child, start
from tests.system import OURS, Http, Rows, eventually
from tools.declared import steps
from tools.inject import snapshot_by
from tools.local.children import Child
from tools.local.processes import free_port
from triggers.stack import by_event

LOST = {"payStatus": "Ok", "storeStatus": "Ok", "deliveryStatus": "AllBusy"}
# What an event says where its example would have nothing to do, and what must have been decided before.
DATA = {"store.cancelBookingFood": LOST, "pay.refund": LOST, "billing.refund": LOST}
BEFORE = {
    "store.cancelBookingFood": "store.bookingFood",
    "pay.refund": "pay.confirmSale",
    "billing.refund": "billing.withdraw",
    "order.result": "order.newOrder",
}
DECIDING = [short for short in ALL if short != "pay.sale"]
DECISION = "the step's statement"
LOCKING = "the rows of all orders of a batch are locked"
# The steps whose statements lock rows that several orders share.
SHARING = {"billing.withdraw", "billing.refund", "store.bookingFood", "store.cancelBookingFood",
           "delivery.bookingCourier"}  # fmt: skip
every_step = pytest.mark.parametrize("short", ALL)
every_decision = pytest.mark.parametrize("short", DECIDING)
alone_or_in_batches = pytest.mark.parametrize("others", [0, 2], ids=["alone", "in batches"])

# The test holds a lock; a decision about an order whose id begins with `held` waits for it when its statement is done
# and not yet committed.
LOCK = 7_001
HOLD = f"""
    CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock({LOCK}); RETURN NULL; END';
"""
TABLES = ("order.orders", "billing.charges", "pay.payments", "store.reservations", "delivery.bookings",
          "notification.emails")  # fmt: skip
WAITING = """
    SELECT pid FROM pg_stat_activity
     WHERE datname = current_database() AND wait_event_type = 'Lock' AND query NOT LIKE '%autovacuum%'
     ORDER BY state_change
"""
RESET = """
    DELETE FROM "order".outbox; DELETE FROM "order".orders;
    DELETE FROM billing.movements; DELETE FROM billing.charges; DELETE FROM billing.clients;
    DELETE FROM pay.payments WHERE type = 'REFUND'; DELETE FROM pay.payments;
    DELETE FROM store.bookings; DELETE FROM store.reservations;
    DELETE FROM delivery.bookings; DELETE FROM notification.emails;
    INSERT INTO billing.clients (username, opening, balance) VALUES ('user1', 1000, 1000);
    UPDATE store.dishes SET in_stock = opening_stock;
"""


class Kept(Rows):
    """SQL as the administrator, over one connection: these tests ask often."""

    def __init__(self, url: str):
        super().__init__(url)
        self.connection = self.connected()

    def rows(self, sql: str, **values: Any) -> list[Any]:
        found = self.connection.run(sql, **values)
        if not found:
            return []
        return [*map(namedtuple("Row", [column["name"] for column in self.connection.columns])._make, found)]


@dataclass
class Bench:
    """The functions of the chain in this process, in front of one database that starts afresh when asked to."""

    admin: Kept
    become: Callable[[str], None]
    functions: dict[str, Callable] = field(
        default_factory=lambda: {entry.contract.takes.short_type: entry.handle for entry in steps()}
    )

    def afresh(self, short: str, *orders: str) -> None:
        """The step's database, with what must have been decided about these orders before, and nothing else."""
        self.admin.rows(RESET)
        self.become(short.partition(".")[0])
        if before := BEFORE.get(short):
            for order in orders:
                assert self.send(before, order).status == 200

    def send(self, short: str, *orders: str, **data_of: dict[str, Any]) -> Reply:
        """The event about one order, or a batch about several; `data_of` changes what some of them say."""
        return send(self.functions[short], *(self.event(short, order, **data_of.get(order, {})) for order in orders))

    @staticmethod
    def event(short: str, order: str, **changes: Any) -> dict[str, Any]:
        data = {**DATA.get(short, {}), **changes}
        if short == "order.newOrder":
            data["msgId"] = order
        if short == "delivery.bookingCourier":
            data.setdefault("deliveryHour", sum(order.encode()) % 24)
        return event(short, order, data_=data)

    def rows(self, short: str) -> dict[str, set[str]]:
        """Every row that the step's owner has, as it is: nothing may touch it again."""
        return snapshot_by(self.admin.connection, short.partition(".")[0])

    def facts(self, short: str) -> list[str]:
        """The same rows as another run would leave them: times only as that they are there, no numbers of rows."""
        tables = self.rows(short)
        return sorted(f"{table} {_plain(table, row)}" for table, rows in tables.items() for row in rows)


def _plain(table: str, row: str) -> str:
    left_out = {"id"} if table in ("movements", "emails") else {"position"}
    facts = json.loads(row).items()
    return json.dumps({name: bool(v) if name.endswith("_at") else v for name, v in facts if name not in left_out})


def same(reply: Reply, others: Sequence[Reply]) -> bool:
    """Whether all are the same answer."""
    return {_content(reply)} == {_content(other) for other in others}


def _content(reply: Reply) -> tuple[Any, ...]:
    if reply.text.startswith("["):
        return reply.status, json.dumps([timeless(json.loads(json.dumps(one, default=str))) for one in reply.json])
    return reply.status, reply.text, reply.event


@contextmanager
def holding(admin: Rows) -> Iterator[Callable[[], None]]:
    """The lock that decisions about held orders wait for; gives what releases it."""
    connection = admin.connected()
    connection.run(f"SELECT pg_advisory_lock({LOCK})")
    try:
        yield lambda: connection.run(f"SELECT pg_advisory_unlock({LOCK})")
    finally:
        connection.close()


def waiting(admin: Rows, count: int) -> list[int]:
    """Until so many runs wait inside PostgreSQL; gives their processes, the first first."""

    def found() -> list[int]:
        pids = [row.pid for row in admin.rows(WAITING)]
        return pids if len(pids) == count else []

    return eventually(found, f"{count} runs to wait", every=0.005)


@contextmanager
def two_at_once(bench: Bench, first: Callable, second: Callable) -> Iterator[tuple[Future, Future]]:
    """The first waits when its statement is done and uncommitted, the second runs into it, then both go on."""
    with ThreadPoolExecutor(2) as threads, holding(bench.admin) as release:
        one = threads.submit(first)
        waiting(bench.admin, 1)
        two = threads.submit(second)
        waiting(bench.admin, 2)
        release()
        yield one, two


@contextmanager
def cut(bench: Bench, owner: str, when: str, statement: str | None) -> Iterator[None]:
    """PostgreSQL ends the owner's connection just before or after a statement (any, if none is named), once."""
    together, patch, ended = Connection.together, pytest.MonkeyPatch(), []

    def end() -> None:
        ended.append(True)
        bench.admin.rows(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = :owner", owner=owner
        )

    def run(db: Connection, statements: Sequence[Any]) -> Any:
        is_it = not ended and statement in (None, statements[0][0])
        if is_it and when == "before":
            end()
        done = together(db, statements)
        if is_it and when == "after":
            end()
            db.broken = True
            raise database.Unavailable("the answer did not arrive")
        return done

    patch.setattr(Connection, "together", run)
    try:
        yield
    finally:
        patch.undo()
    assert ended


@dataclass
class Process:
    """A step in a process of its own, as images start it."""

    child: Child
    http: Http


def process_of(short: str, directory: Path, number: int) -> Process:
    function, port = by_event(short), free_port()
    environment = {name: os.environ[name] for name in ("DATABASE_URL", "BROKER_URL")}
    environment |= {"FUNCTION_SOURCE": function.source, "FUNCTION_TARGET": function.target, "PORT": str(port)}
    command = [sys.executable, "-m", "triggers.serve_function"]
    address = f"http://127.0.0.1:{port}"
    made = child(f"{function.name}-{number}", command, directory, f"{address}/_/ready", **environment)
    return Process(start(made), Http(address, OURS))


@contextmanager
def ended_afterwards(*processes: Process) -> Iterator[None]:
    try:
        yield
    finally:
        for process in processes:
            process.child.signal(signal.SIGKILL)


OPENING = "homework.arch.order.newOrder"


ORDERS = "/ui-api-service/api/v1/external/order"


@dataclass
class Counter:
    """Where clients order."""

    bench: Bench
    token: str

    def request(self, message: str, **changes: Any) -> tuple[str, dict[str, str]]:
        """Body and headers."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        return exact_json.dumps({**body_of(message), **changes}), headers

    def order(self, message: str, **changes: Any) -> Reply:
        body, headers = self.request(message, **changes)
        return ask(submit, body, path=ORDERS, **headers)

    def accepted(self) -> list[tuple[str, str]]:
        """The messages of all orders, each with the type of the event that waits for it."""
        joined = 'SELECT msg_id, q.type FROM "order".orders LEFT JOIN "order".outbox q USING (order_id) ORDER BY 1'
        return [tuple(row) for row in self.bench.admin.rows(joined)]


def body_of(message: str) -> dict[str, Any]:
    data = event("pay.sale", "x")["data"]
    return {"msgId": message, **{name: value for name, value in data.items() if name != "orderId"}}


OPENING = "homework.arch.order.newOrder"
