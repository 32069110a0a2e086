"""A decision is the memory: what comes twice, at once, or is cut off is decided once and answered alike."""

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
import urllib3

from functions.order.submit import submit
from functions.shared import database, exact_json
from functions.shared.database import Database
from functions.shared.decisions import Decisions
from functions.shared.pipeline import PipelinedConnection
from functions.shared.step import step
from schemas.events import ALL, Sale
from tests.fakes import FakeFunction
from tests.kit import STRUCTURED, Reply, ask, event, send, timeless
from tests.processes import child, start
from tests.system import Http, Rows, eventually
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


@pytest.fixture(scope="module")
def held(admin: Rows) -> Iterator[Kept]:
    """The module's database, with the triggers that wait for the test."""
    kept = Kept(admin.url)
    kept.rows(HOLD)
    for table in TABLES:
        owner, name = table.split(".")
        kept.rows(
            f'CREATE TRIGGER hold AFTER INSERT OR UPDATE ON "{owner}".{name} FOR EACH ROW'
            " WHEN (NEW.order_id LIKE 'held%') EXECUTE FUNCTION public.hold()"
        )
    kept.rows(
        'CREATE TRIGGER hold_message AFTER INSERT ON "order".orders FOR EACH ROW'
        " WHEN (NEW.msg_id LIKE 'held-%') EXECUTE FUNCTION public.hold()"
    )
    yield kept
    kept.connection.close()


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

    def send(self, short: str, *orders: str) -> Reply:
        """The event about one order, or a batch about several."""
        return send(self.functions[short], *(self.event(short, order) for order in orders))

    @staticmethod
    def event(short: str, order: str) -> dict[str, Any]:
        data = dict(DATA.get(short, {}))
        if short == "order.newOrder":
            data["msgId"] = order
        if short == "delivery.bookingCourier":
            data["deliveryHour"] = sum(order.encode()) % 24
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


@pytest.fixture
def bench(held: Kept, become: Callable, broker: FakeFunction) -> Bench:
    """With a broker that is away, so that what a step wants to have sent stays where it can be seen."""
    broker.behave = lambda _: (503, {}, b"")
    return Bench(held, become)


def same(reply: Reply, others: Sequence[Reply]) -> bool:
    """Whether all are the same answer."""
    return {_content(reply)} == {_content(other) for other in others}


def _content(reply: Reply) -> tuple[Any, ...]:
    if reply.text.startswith("["):
        return reply.status, json.dumps([timeless(json.loads(json.dumps(one, default=str))) for one in reply.json])
    return reply.status, reply.text, reply.event


# One event, one effect


@every_step
@alone_or_in_batches
def test_an_event_that_comes_three_times_has_one_effect_and_one_answer(bench, short, others):
    orders = ["x", "y", "z"][: others + 1]
    bench.afresh(short, *orders)
    first, rows = bench.send(short, *orders), bench.rows(short)
    assert first.status in (200, 204)
    assert same(first, [bench.send(short, *orders) for _ in range(2)])
    assert rows == bench.rows(short)


@every_decision
def test_three_of_one_event_in_a_batch_have_the_effect_of_one(bench, short):
    bench.afresh(short, "x")
    bench.send(short, "x")
    facts = bench.facts(short)
    bench.afresh(short, "x")
    replies = bench.send(short, "x", "x", "x").json
    assert facts == bench.facts(short)
    assert len({json.dumps(timeless(json.loads(json.dumps(one, default=str)))) for one in replies}) <= 1


@every_decision
def test_a_batch_has_the_effects_and_the_answers_of_its_events_alone(bench, short):
    bench.afresh(short, "x", "y")
    alone = [bench.send(short, order) for order in ("x", "y")]
    facts = bench.facts(short)
    bench.afresh(short, "x", "y")
    batch = bench.send(short, "x", "y").json
    assert facts == bench.facts(short)
    assert [reply.event[1] for reply in alone if reply.status == 200] == [one["id"] for one in batch]


@every_decision
def test_an_event_changes_something(bench, short):
    """Otherwise the tests of this file could be content with nothing."""
    bench.afresh(short, "x")
    before = bench.facts(short)
    bench.send(short, "x")
    assert before != bench.facts(short)


# One event, one statement

DECISION = "the step's statement"


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Every trip to PostgreSQL, with the statements that went together."""
    found, execute = [], PipelinedConnection.execute

    def counted(connection: PipelinedConnection, executions: Sequence[Any]) -> list[Any]:
        texts = [statement.statement for statement, _ in executions]
        found.append([text if text in ("BEGIN", "COMMIT", "ROLLBACK") else DECISION for text in texts])
        return execute(connection, executions)

    monkeypatch.setattr(PipelinedConnection, "execute", counted)
    return found


@every_decision
def test_an_event_alone_is_one_statement_in_one_trip(bench, short, trips):
    bench.afresh(short, "x")
    trips.clear()
    bench.send(short, "x")
    assert [[DECISION]] == trips


@every_decision
def test_a_batch_is_one_trip_and_its_commit(bench, short, trips):
    bench.afresh(short, "x", "y", "z")
    trips.clear()
    bench.send(short, "x", "y", "z")
    assert [["BEGIN", *[DECISION] * 3], ["COMMIT"]] == trips


def test_a_step_that_decides_nothing_makes_no_trip(bench, trips):
    assert [200, 200] == [bench.send("pay.sale", *orders).status for orders in (["x"], ["x", "y"])]
    assert [] == trips


@pytest.mark.parametrize("payStatus", ["NotEnoughMoney", "ClientNotFound"])
def test_where_nothing_is_to_be_booked_no_trip_is_made(bench, payStatus, trips):
    bench.become("pay")
    reply = send(bench.functions["pay.confirmSale"], event("pay.confirmSale", "x", data_={"payStatus": payStatus}))
    assert (200, payStatus, []) == (reply.status, reply.json["payStatus"], trips)


@step
def greedy(order: Sale, db: Decisions) -> None:
    """A step that asks twice."""
    db.row("INSERT INTO emails (order_id, username, email, message) VALUES (:o, 'u', 'e', 'm')", o=order.order_id)
    db.row("SELECT 1 AS one")


@pytest.mark.parametrize("orders", [["x"], ["x", "y"]])
def test_a_second_statement_is_a_bug(bench, orders):
    bench.afresh("notification.email")
    reply = send(greedy, *(event("pay.sale", order) for order in orders))
    assert 500 == reply.status
    assert "RuntimeError in /shared/test_decisions: a step decides in one statement" in reply.json["error"]


def test_of_a_batch_in_which_a_step_asks_twice_nothing_happened(bench):
    bench.afresh("notification.email")
    send(greedy, *(event("pay.sale", order) for order in ("x", "y")))
    assert [] == [fact for fact in bench.facts("notification.email") if fact.startswith("emails")]


def test_a_step_says_by_its_parameters_whether_it_decides():
    assert ["pay.sale"] == [entry.contract.takes.short_type for entry in steps() if not entry.contract.decides]


# Two runs at once


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


@every_decision
@alone_or_in_batches
@pytest.mark.parametrize("others_of_second", [0, 2], ids=["beside one alone", "beside a batch"])
def test_two_runs_of_one_event_at_once_have_one_effect_and_one_answer(bench, short, others, others_of_second):
    first, second = (["held", *("x", "y")[:n]] for n in (others, others_of_second))
    bench.afresh(short, *{*first, *second})
    bench.send(short, *sorted({*first, *second}, reverse=True))
    facts = bench.facts(short)

    bench.afresh(short, *{*first, *second})
    with two_at_once(bench, lambda: bench.send(short, *first), lambda: bench.send(short, *second)) as runs:
        replies = [run.result() for run in runs]
    assert {reply.status for reply in replies} <= {200, 204}
    assert facts == bench.facts(short)
    rows = bench.rows(short)
    assert same(replies[0], [bench.send(short, *first)])
    assert same(replies[1], [bench.send(short, *second)])
    assert rows == bench.rows(short)


@every_decision
def test_two_runs_of_one_event_at_once_are_both_answered_whatever_the_first_left(bench, short):
    """The beaten run is answered from the other's decision, though alone it would have decided otherwise now."""
    bench.afresh(short, "held")
    bench.admin.rows("UPDATE billing.clients SET opening = 76.09, balance = 76.09 - coalesce((SELECT sum(amount)"
                     " FROM billing.charges), 0)")  # fmt: skip
    bench.admin.rows("UPDATE store.dishes SET in_stock = 2 WHERE in_stock > 2")
    with two_at_once(bench, *[lambda: bench.send(short, "held")] * 2) as runs:
        first, second = (run.result() for run in runs)
    assert first.status in (200, 204)
    assert same(first, [second, bench.send(short, "held")])


@every_decision
def test_batches_with_the_same_orders_in_opposite_order_have_one_effect(bench, short):
    """Each waits for the other: PostgreSQL ends one of them, and nothing of that one happened."""
    bench.afresh(short, "held", "x")
    plain = bench.send(short, "x", "held")
    facts = bench.facts(short)

    bench.afresh(short, "held", "x")
    with two_at_once(bench, lambda: bench.send(short, "held", "x"), lambda: bench.send(short, "x", "held")) as runs:
        replies = [run.result() for run in runs]
    assert 200 in {reply.status for reply in replies} <= {200, 503}
    assert facts == bench.facts(short)
    assert same(plain, [bench.send(short, "x", "held")])


def test_a_result_that_its_own_repetition_overtakes_is_looked_at_once_more(bench):
    bench.afresh("order.result", "held")
    with two_at_once(bench, *[lambda: bench.send("order.result", "held")] * 2) as runs:
        assert [204, 204] == [run.result().status for run in runs]


@pytest.mark.parametrize("short", BEFORE)
@alone_or_in_batches
def test_what_comes_too_early_is_looked_at_twice_and_sent_back(bench, short, others, trips):
    bench.afresh(short)
    facts = bench.facts(short)
    assert 503 == bench.send(short, *["x", "y", "z"][: others + 1]).status
    assert ([[DECISION]] if others == 0 else [["BEGIN", *[DECISION] * 3], ["ROLLBACK"]]) * 2 == trips
    assert facts == bench.facts(short)




# A crash


@contextmanager
def cut(bench: Bench, owner: str, when: str, statement: str | None) -> Iterator[None]:
    """PostgreSQL ends the owner's connection just before or after a statement (any, if none is named), once."""
    together, patch, ended = Database.together, pytest.MonkeyPatch(), []

    def end() -> None:
        ended.append(True)
        bench.admin.rows(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = :owner", owner=owner
        )

    def run(db: Database, statements: Sequence[Any]) -> Any:
        is_it = not ended and statement in (None, statements[0][0])
        if is_it and when == "before":
            end()
        done = together(db, statements)
        if is_it and when == "after":
            end()
            db.broken = True
            raise database.Unavailable("the answer did not arrive")
        return done

    patch.setattr(Database, "together", run)
    try:
        yield
    finally:
        patch.undo()
    assert ended


@every_decision
@alone_or_in_batches
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_step_whose_connection_ends_around_its_commit_does_its_work_once(bench, short, others, when):
    orders, owner = ["x", "y", "z"][: others + 1], short.partition(".")[0]
    bench.afresh(short, *orders)
    plain, facts = bench.send(short, *orders), bench.facts(short)

    bench.afresh(short, *orders)
    untouched = bench.facts(short)
    with cut(bench, owner, when, "COMMIT" if others else None):
        assert 503 == bench.send(short, *orders).status
    assert (facts if when == "after" else untouched) == bench.facts(short)
    assert same(plain, [bench.send(short, *orders)])
    assert facts == bench.facts(short)


@every_decision
@alone_or_in_batches
def test_a_step_whose_connection_ends_within_its_statement_has_done_nothing_of_it(bench, short, others):
    orders = ["held", "x", "y"][: others + 1]
    bench.afresh(short, *orders)
    untouched = bench.facts(short)
    with ThreadPoolExecutor(1) as threads, holding(bench.admin):
        run = threads.submit(bench.send, short, *orders)
        (pid,) = waiting(bench.admin, 1)
        bench.admin.rows("SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
        assert 503 == run.result().status
    assert untouched == bench.facts(short)
    again = bench.send(short, *orders)
    assert again.status in (200, 204)
    assert same(again, [bench.send(short, *orders)])
    assert untouched != bench.facts(short)


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_order_whose_end_is_not_known_is_told_of_by_nobody_but_the_flush(bench, broker, when):
    bench.afresh("order.result", "x", "y")
    with cut(bench, "order", when, "COMMIT"):
        bench.send("order.result", "x", "y")
    assert [] == broker.calls
    waiting_rows = bench.admin.value('SELECT count(*) FROM "order".outbox')
    assert (0 if when == "before" else 2) == waiting_rows


@every_decision
def test_a_process_that_is_killed_within_its_statement_leaves_one_effect_to_the_next(bench, short, tmp_path):
    """PostgreSQL does not see that its client is gone: the statement goes on, beside its repetition."""
    bench.afresh(short, "held")
    plain, facts = bench.send(short, "held"), bench.facts(short)
    bench.afresh(short, "held")
    sent = {"data": exact_json.dumps(bench.event(short, "held")), "headers": {"Content-Type": STRUCTURED}}
    first, second = (process_of(short, tmp_path, number) for number in (1, 2))
    with ThreadPoolExecutor(2) as threads, holding(bench.admin) as release, ended_afterwards(first, second):
        lost = threads.submit(first.http.post, **sent)
        waiting(bench.admin, 1)
        first.child.signal(signal.SIGKILL)
        assert isinstance(lost.exception(), urllib3.exceptions.HTTPError)
        again = threads.submit(second.http.post, **sent)
        waiting(bench.admin, 2)
        release()
        answer = again.result()
    assert (plain.status, plain.text, plain.event[1]) == (answer.status, answer.text, answer.headers.get("ce-id"))
    assert facts == bench.facts(short)


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
    return Process(start(made), Http(address))


@contextmanager
def ended_afterwards(*processes: Process) -> Iterator[None]:
    try:
        yield
    finally:
        for process in processes:
            process.child.signal(signal.SIGKILL)


# An order is accepted in one statement too


@dataclass
class Counter:
    """Where clients order."""

    bench: Bench
    token: str

    def order(self, message: str, **changes: Any) -> Reply:
        body = {**body_of(message), **changes}
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        return ask(submit, exact_json.dumps(body), path="/ui-api-service/api/v1/external/order", **headers)

    def accepted(self) -> list[tuple[str, str]]:
        """The messages of all orders, each with the type of the event that waits for it."""
        joined = 'SELECT msg_id, q.type FROM "order".orders LEFT JOIN "order".outbox q USING (order_id) ORDER BY 1'
        return [tuple(row) for row in self.bench.admin.rows(joined)]


def body_of(message: str) -> dict[str, Any]:
    data = event("pay.sale", "x")["data"]
    return {"msgId": message, **{name: value for name, value in data.items() if name != "orderId"}}


OPENING = "homework.arch.order.newOrder"


@pytest.fixture
def counter(bench, settings, secrets, signed) -> Counter:
    bench.afresh("order.newOrder")
    settings(JWT_PUBLIC_KEY_FILE=str(secrets / "jwt-public.pem"))
    return Counter(bench, signed(user_name="user1"))


def test_an_order_is_accepted_in_one_statement_and_found_again_in_one(counter, trips):
    first, again = counter.order("m"), counter.order("m")
    assert (200, "OK", first.text) == (first.status, first.json["status"], again.text)
    assert [[DECISION]] * 2 == trips[:2]
    assert [("m", OPENING)] == counter.accepted()


def test_another_order_by_the_same_message_is_refused_in_one_statement(counter, trips):
    counter.order("m")
    assert "ERROR" == counter.order("m", amount=1).json["status"]
    assert [[DECISION]] * 2 == trips[:2]
    assert [("m", OPENING)] == counter.accepted()


@pytest.mark.parametrize(("changes", "status"), [({}, "OK"), ({"amount": 1}, "ERROR")])
def test_of_two_equal_messages_at_once_one_is_the_order(counter, changes, status):
    first, second = lambda: counter.order("held-m"), lambda: counter.order("held-m", **changes)
    with two_at_once(counter.bench, first, second) as runs:
        one, two = (run.result() for run in runs)
    assert ("OK", status) == (one.json["status"], two.json["status"])
    assert (one.text == two.text) == (status == "OK")
    assert [("held-m", OPENING)] == counter.accepted()


@pytest.mark.parametrize(("when", "orders"), [("before", []), ("after", [("m", OPENING)])])
def test_a_client_that_hears_503_orders_again_and_has_one_order(counter, when, orders):
    with cut(counter.bench, "order", when, None):
        assert 503 == counter.order("m").status
    # The answer is lost, and the server may still be busy with the commit that it belongs to.
    eventually(lambda: orders == counter.accepted(), "what the cut has left")
    assert "OK" == counter.order("m").json["status"]
    assert [("m", OPENING)] == counter.accepted()
