"""The benchmark: what it finds out is true, and a wrong outcome is an error."""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from itertools import islice
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.system import System
from tools.bench import (
    __main__,
    cold_start,
    course,
    measure,
    million,
    outcomes,
    report,
    resources,
    round_trips,
    session,
    soak,
    statements,
)
from tools.bench.client import Answer, Connection, message
from tools.bench.load import Load, Sent
from tools.bench.orders import Book, Guest, Order, Outcome, Slot, Supplies, order, parsed_mix, slots
from tools.bench.outcomes import End
from tools.bench.scenarios import Pace, arrival_times, parsed
from tools.bench.target import Target
from tools.bench.watch import Watch
from tools.migrate import connected

# measurements


def test_a_percentile_is_a_value_that_so_many_do_not_exceed():
    values = [float(n) for n in range(1, 101)]
    random.Random(3).shuffle(values)

    assert [1, 50, 95, 99, 100] == [outcomes.percentile(values, percent) for percent in (0, 50, 95, 99, 100)]
    assert 7.0 == outcomes.percentile([7.0], 50)
    assert 2.0 == outcomes.percentile([1.0, 2.0, 3.0], 50)


def test_latencies_are_milliseconds():
    measurements = outcomes.latencies("settled", [0.010, 0.020])

    assert (10, 20, 20) == tuple(pytest.approx(measurements[f"settled_ms.{name}"]) for name in ("p50", "p99", "max"))


def test_an_intended_start_counts_the_wait_before_the_request():
    sent, end = sent_order("1", Outcome.COMPLETED, began=100.0), End("", accepted=103.0, ended=104.0, notified=105.0)

    by_intent = outcomes.all_latencies([sent], {"1": end}, by_intent=True)
    by_acceptance = outcomes.all_latencies([sent], {"1": end}, by_intent=False)

    assert (4000, 1000) == (by_intent["settled_ms.p50"], by_acceptance["settled_ms.p50"])
    assert (5000, 2000) == (by_intent["total_ms.p50"], by_acceptance["total_ms.p50"])
    assert 1000 == by_intent["notification_ms.p50"] == by_acceptance["notification_ms.p50"]


def reported(**measurements: float | None) -> report.Report:
    found = report.Report({})
    found.add("burst-9", measure.Result(measurements))
    return found


def test_a_comparison_shows_the_ratio_to_the_earlier_measurement(tmp_path: Path):
    report.write(reported(settled_per_second=50.0), tmp_path / "before.json")

    lines = list(report.table(reported(settled_per_second=100.0), report.medians(tmp_path / "before.json")))

    assert ["settled_per_second", "100", "x2.00"] == lines[1].split()


def test_several_runs_are_told_by_median_and_range():
    found = reported(orders=10.0)
    for orders in (30.0, 20.0):
        found.add("burst-9", measure.Result({"orders": orders}))

    assert report.Spread(20.0, 10.0, 30.0) == found.spreads("burst-9")["orders"]
    assert ["orders", "20", "[10..30]"] == list(report.table(found))[1].split()


def test_what_could_not_be_measured_is_not_available():
    assert "sql.statements  not available" == list(report.table(reported(**{"sql.statements": None})))[1]


def test_an_order_costs_the_difference_of_two_readings_and_not_the_client():
    by_process = measure.by_process("cpu_ms", {"order": 2.0, "PostgreSQL": 3.0, "client": 5.0, session.OWN_SQL: 7.0})

    assert 5.0 == by_process["cpu_ms.sum"]
    assert 7.0 == by_process[f"cpu_ms.{session.OWN_SQL}"]


# outcomes


def sent_order(msg_id: str, outcome: Outcome, began: float = 0.0) -> Sent:
    return Sent(msg_id, outcome, msg_id, began, 0.001)


def test_an_order_that_ends_as_it_was_meant_to_is_no_mistake():
    sent = [sent_order(outcome.label, outcome) for outcome in Outcome]

    assert [] == outcomes.mistakes(sent, {each.label: End(each.value, 0.0, 1.0, 2.0) for each in Outcome})


@pytest.mark.parametrize(
    ("end", "mistake"),
    [
        (End(Outcome.BUSY.value, 0.0, 1.0, 2.0), "expected 'Заказ успешно создан', got 'Все курьеры заняты."),
        (End(None, 0.0, None, None), "not ended"),
        (End(Outcome.COMPLETED.value, 0.0, 1.0, None), "not told"),
        (None, "not in the database"),
    ],
)
def test_an_order_that_ends_otherwise_is_a_mistake(end: End | None, mistake: str):
    sent = [sent_order("1", Outcome.COMPLETED), sent_order("2", Outcome.COMPLETED)]

    (text,) = outcomes.mistakes(sent, {"1": end, "2": end} if end else {})

    assert text.startswith("2 x completed: ")
    assert mistake in text


# orders


def supplies() -> Supplies:
    free = slots(Slot(date(3000, 1, 1), 0))
    return Supplies([Guest("rich", "")], [Guest("poor", "")], [1, 2], 9, next(free), free)


@pytest.mark.parametrize(
    ("outcome", "guest", "dishes", "busy"),
    [
        (Outcome.COMPLETED, "rich", {1, 2}, False),
        (Outcome.NO_MONEY, "poor", {1, 2}, False),
        (Outcome.SOLD_OUT, "rich", {9}, False),
        (Outcome.BUSY, "rich", {1, 2}, True),
    ],
)
def test_an_order_can_end_in_one_way_only(outcome: Outcome, guest: str, dishes: set[int], busy: bool):
    body = json.loads(order(supplies(), outcome, "1", random.Random()).body)

    assert guest == body["userName"]
    assert {dish["menuId"] for dish in body["dishs"]} <= dishes
    assert busy == ((body["deliveryDate"], body["deliveryHour"]) == ("01.01.3000", 0))


def test_no_hour_comes_twice():
    found = list(islice(slots(Slot(date(3000, 2, 28), 22)), 50))

    assert 50 == len(set(found))
    assert Slot(date(3000, 3, 1), 0) == found[2]


def test_a_book_follows_its_mix():
    book = Book(supplies(), {Outcome.COMPLETED: 50, Outcome.BUSY: 50}, "tag")

    meant = [book.next() for _ in range(200)]

    assert {Outcome.COMPLETED, Outcome.BUSY} == {each.outcome for each in meant}
    assert 200 == len({each.msg_id for each in meant})


def test_a_mix_is_typed_by_names():
    assert {Outcome.COMPLETED: 90, Outcome.NO_MONEY: 10} == parsed_mix("completed=90,no-money=10")
    with pytest.raises(ValueError, match="expected some of completed, no-money, sold-out, busy; got happy"):
        parsed_mix("happy=100")
    with pytest.raises(ValueError, match="above 0"):
        parsed_mix("completed=0")


# scenarios


def test_a_kind_stands_for_its_known_scenarios_and_any_number_will_do():
    assert ["closed-1", "closed-4", "closed-16", "closed-64"] == course.chosen("closed", False)
    assert ["burst-7", "cold-start"] == course.chosen("burst-7,cold-start", False)
    with pytest.raises(ValueError, match="expected burst-N"):
        course.chosen("storm", False)


def test_all_is_more_than_the_usual():
    assert {"burst-20000", "closed-4"} == set(course.chosen(None, True)) - set(course.chosen(None, False))


def test_before_an_open_loop_the_maximum_is_found_out():
    assert ["closed-64", "open-50"] == course.with_maximum(["open-50"])
    assert ["closed-64", "open-50"] == course.with_maximum(["open-50", "closed-64"])
    assert ["burst-9", "open-50"] == course.with_maximum(["burst-9", "open-50"])
    assert ["closed-1"] == course.with_maximum(["closed-1"])


def test_arrivals_come_at_the_given_rate():
    times = list(arrival_times(Pace(100, 50)))

    assert 5000 == pytest.approx(len(times), rel=0.05)
    assert times == sorted(times)


# the client


@asynccontextmanager
async def server(*answers: bytes | None):
    """Gives these answers, one after the other; for None it hangs up. Tells how many connections there were."""
    left, met = iter(answers), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(writer)
        while await reader.readuntil(b"\r\n\r\n") and (answer := next(left)):
            await reader.readexactly(2)
            writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1")
    async with listening:
        yield listening.sockets[0].getsockname(), met


HEAD = b"POST / HTTP/1.1\r\nContent-Length: "
OK = b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"orderId":"7"}'
LATER = b"HTTP/1.1 503 Later\r\nRetry-After: 0\r\nContent-Length: 2\r\n\r\n{}"
REFUSED = b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{"status":"ERROR"}'


def test_a_connection_is_kept():
    async def ask_twice() -> tuple[list[Answer], int]:
        async with server(OK, LATER, None) as (address, met):
            connection = Connection(*address)
            found = [await connection.ask(message(HEAD, b"{}")) for _ in range(2)]
            connection.close()
            return found, len(met)

    assert ([Answer(200, b'{"orderId":"7"}'), Answer(503, b"{}", 0.0)], 1) == asyncio.run(ask_twice())


def test_a_request_whose_connection_was_lost_is_sent_again():
    async def ask() -> tuple[Answer, int]:
        async with server(None, OK, None) as (address, _):
            connection = Connection(*address)
            found = await connection.ask(message(HEAD, b"{}"))
            connection.close()
            return found, connection.lost

    assert (Answer(200, b'{"orderId":"7"}'), 1) == asyncio.run(ask())


def placed(*answers: bytes | None) -> tuple[Load, Sent | None]:
    async def installation() -> tuple[Load, Sent | None]:
        async with server(*answers, None) as (address, _):
            load = Load(address, None, None, 1)
            guest = Guest("anna", "", head=HEAD)
            found = await load.place(load.connections[0], Order("1", Outcome.COMPLETED, guest, b"{}"))
            load.connections[0].close()
            return load, found

    return asyncio.run(installation())


def test_a_503_is_waited_out_and_counted():
    load, sent = placed(LATER, LATER, OK)

    assert (2, "7", 1) == (load.counts.refused, sent.order_id, len(load.counts.sent))
    assert not load.counts.problems


def test_an_order_that_is_not_taken_is_a_problem():
    load, sent = placed(REFUSED)

    assert (None, {'200 {"status":"ERROR"}': 1}) == (sent, dict(load.counts.problems))


# processes


def test_a_childs_time_counts_for_its_parent_when_it_has_ended_too():
    named = {os.getpid(): "us"}
    before = resources.cpu_ms(named)["us"]

    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True)

    assert 300 <= resources.cpu_ms(named)["us"] - before < 3000


def test_a_named_child_counts_for_itself():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        together = resources.memory_mib({os.getpid(): "us"})
        apart = resources.memory_mib({os.getpid(): "us", child.pid: "child"})
        child.communicate(b"\n")

    assert {"us"} == set(together)
    assert {"us", "child"} == set(apart)


def test_a_cold_start_is_told_beside_the_bare_one():
    bare = [cold_start.Started(seconds, 30.0) for seconds in (0.1, 0.2, 0.9)]
    function = [cold_start.Started(seconds, 40.0) for seconds in (0.3, 0.4, 0.5)]

    measurements = cold_start.measurements("pay-sale", bare, function)

    assert 400 == pytest.approx(measurements["cold_start_ms.pay-sale"])
    assert 2 == pytest.approx(measurements["cold_start_ratio.pay-sale"])


# soak


def sample(at: int, memory: float, rows: int) -> soak.Sample:
    return soak.Sample(at * 600.0, at * 1000, {"order": memory}, {"order.outbox": rows}, {"order.outbox": rows * 100})


def test_what_stays_flat_is_not_named():
    steady = [sample(at, memory, at * 1000) for at, memory in enumerate([50, 60, 60, 60, 60])]

    assert [] == soak.growing(steady)
    assert {1.0} == {soak.growth(steady)[f"rows_an_order.order.outbox.{half}"] for half in ("first", "second")}


def test_memory_and_tables_that_grow_are_named():
    leaking = [sample(at, 50 + 6 * at, at * at * 1000) for at in range(5)]

    assert 36.0 == pytest.approx(soak.slopes(leaking)["memory_mib_an_hour.order"])
    assert [
        "order grows: 36.0 MiB an hour in the second half",
        "rows_an_order.order.outbox: 2.00 in the first half, 6.00 in the second",
        "bytes_an_order.order.outbox: 200.00 in the first half, 600.00 in the second",
    ] == soak.growing(leaking)


# with a database


@pytest.fixture
def database(fresh_database: Callable[[], str]) -> str:
    return fresh_database()


def test_filled_tables_pass_the_audit_and_are_emptied_again(database: str):
    with connected(database) as connection:
        for count in (300, 500, 500, 200):
            million.fill(connection, count)
            assert (count, []) == (million.filled(connection), measure.audited(connection))
        million.remove(connection)

        assert (0, []) == (million.filled(connection), measure.audited(connection))
        assert [[0]] == connection.run("SELECT count(*) FROM billing.movements")
        assert [[5]] == connection.run("SELECT count(*) FROM store.dishes")


def test_a_column_that_a_table_does_not_have_is_not_filled():
    sql = million.insert("pay.payments", {"order_id": "n", "gone": "0"}, {"order_id", "amount"})

    assert sql.startswith("INSERT INTO pay.payments (order_id) SELECT n FROM")


def test_round_trips_are_counted_where_they_arrive(database: str):
    with connected(database) as connection:
        port = connection.run(session.PORT)[0][0]
        statement = connection.prepare("SELECT CAST(:n AS integer)")
        statement.run(n=0)
        before = round_trips.counts(database)
        for n in range(10):
            statement.run(n=n)
        after = round_trips.counts(database)

    assert 10 == round_trips.round_trips(before, after, set())
    assert 0 == round_trips.round_trips(before, after, {port})


def test_statements_are_counted_by_owner_and_not_our_own(database: str, function_environment: Callable):
    owner = function_environment("billing")["DATABASE_URL"].rpartition("/")[0] + "/" + database.rpartition("/")[2]
    with connected(database) as admin, connected(owner) as billing:
        assert statements.count_statements(admin)
        before = statements.counts(admin, True)
        for _ in range(20):
            billing.run("SELECT count(*) FROM charges")
        after = statements.counts(admin, True)

    measurements = statements.measurements(before, after, orders=10)
    assert (2, 2) == (measurements["sql.statements"], measurements["sql.statements.billing"])
    assert "SELECT count(*) FROM charges" == statements.most_expensive(before, after, 10)[0]["sql"]


def test_a_server_that_counts_no_statements_still_tells_of_commits():
    before, after = (statements.Counts(writing, writing * 2, 0, None) for writing in (10, 20))

    measurements = statements.measurements(before, after, orders=10, own=5)

    expected = {"sql.statements": None, "sql.writing_transactions": 1, "sql.commits": 1.5, "sql.wal_bytes": 0}
    assert expected == measurements


# a system at work


@pytest.fixture(scope="module")
def target(system: System) -> Target:
    pids = {process.name: process.pid for process in system.processes}
    pids |= {"PostgreSQL": system.postgres.pid, "RabbitMQ": system.rabbitmq.pid, "client": os.getpid()}
    scraped = {name: f"http://{address}{path}" for name, (address, path) in system.plan.scraped.items()}
    return Target(system.gateway.base, system.database_url, pids, scraped, system.plan.environment)


@pytest.fixture(scope="module")
def bench(target: Target) -> Iterator[session.Bench]:
    even = dict.fromkeys(Outcome, 25)
    with session.prepared(target, session.Options(3, 3, even, connections=4, patience=60)) as prepared:
        yield prepared


@pytest.mark.usefixtures("audited")
def test_a_burst_ends_in_all_four_ways_and_tells_what_it_cost(bench: session.Bench):
    result = measure.measure(bench, parsed("burst-40"), "real", Pace(0))

    measurements, found = result.measurements, outcomes.ends(bench.connection, bench.names, "real")
    assert ([], 40) == (result.problems, measurements["orders"])
    assert {outcome.value for outcome in Outcome} == {end.reason for end in found.values()}
    for name in ("cpu_ms.sum", "cpu_ms.PostgreSQL", "memory_mib.RabbitMQ", "sql.statements.billing", "sql.wal_bytes",
                 "sql.round_trips", "messages.delivered", "settled_ms.p99", "settled_per_second"):  # fmt: skip
        assert measurements[name] > 0, name
    assert 7 < measurements["messages.delivered"] < 12
    assert measurements["settled_ms.p50"] < measurements["total_ms.p99"]


@pytest.mark.parametrize("name", ["closed-2", "no-wait-2", "open-50"])
@pytest.mark.usefixtures("audited")
def test_a_scenario_ends_with_every_order_as_it_was_meant(bench: session.Bench, name: str):
    result = measure.measure(bench, parsed(name), name, Pace(1, 20))

    assert [] == result.problems
    assert result.measurements["orders"] > 1


@pytest.mark.usefixtures("audited")
def test_a_wrong_outcome_is_a_problem(bench: session.Bench):
    in_stock = replace(bench.supplies, sold_out=bench.supplies.dishes[0])
    wrong = replace(bench, supplies=in_stock, options=replace(bench.options, mix={Outcome.SOLD_OUT: 1}))

    result = measure.measure(wrong, parsed("burst-3"), "wrong", Pace(0))

    assert ["3 x sold-out: expected 'Выбранное блюдо недоступно', got 'Заказ успешно создан'"] == result.problems


def test_a_client_waits_no_longer_than_it_is_patient(database: str):
    async def wait(watch: Watch) -> Load:
        load = Load(("127.0.0.1", 1), None, watch, 0)
        async with load.at_work():
            await load.ended(sent_order("never", Outcome.COMPLETED))
        return load

    with connected(database) as connection:
        load = asyncio.run(wait(Watch(connection, every=0.001, patience=0.05)))

    assert {"an order did not end within 0.05 s": 1} == load.counts.problems
    assert load.watch.questions > 1


@pytest.mark.usefixtures("audited")
def test_a_finding_of_the_audit_is_a_problem(database: str):
    with connected(database) as connection:
        connection.run("UPDATE store.dishes SET in_stock = 9 WHERE id = 1")

        (problem,) = measure.audited(connection, patience=0)

    assert problem.startswith("audit: stock_differs_from_bookings: dish_id=1")


@pytest.mark.usefixtures("audited")
def test_a_soak_looks_at_memory_and_tables(bench: session.Bench):
    result = soak.soak(bench, "soak", rate=20, minutes=0.03, every=0.3)

    assert [] == result.problems
    assert {"order.orders", "billing.charges"} <= result.details["samples"][0]["rows"].keys()
    assert "memory_mib_an_hour.order" in result.measurements


def test_a_function_starts_alone_beside_a_bare_one(target: Target, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cold_start, "one_of_each_kind", lambda functions: functions[:1])

    result = cold_start.cold_starts(target, False, turns=1)

    (function,) = (name.partition(".")[2] for name in result.measurements if name.startswith("cold_start_ratio."))
    assert result.measurements[f"cold_start_ms.{function}"] > 50
    assert result.measurements[f"alone_mib.{function}"] > 10
    assert "DATABASE_URL" in result.details["environment"]["auth"]


@pytest.fixture
def command(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    monkeypatch.setattr(__main__, "running", lambda _: target)
    file = tmp_path / "bench.json"

    def run(*arguments: str) -> tuple[int, str, dict]:
        words = ["--json", str(file), "--guests", "2", "--dishes", "2", "--patience", "60", *arguments]
        done = CliRunner().invoke(__main__.main, words, catch_exceptions=False)
        return done.exit_code, done.stdout, json.loads(file.read_text())

    return run


@pytest.mark.usefixtures("audited")
def test_the_command_tells_a_table_and_the_same_as_json(command: Callable):
    status, text, found = command("--only", "burst-5", "--runs", "2")

    assert (0, []) == (status, found["problems"])
    assert ["orders", "5"] == next(line.split() for line in text.splitlines() if line.startswith("orders"))
    assert 5 == found["scenarios"]["burst-5"]["measurements"]["orders"]["median"]
    assert 2 == len(found["scenarios"]["burst-5"]["runs"])
    assert {"date", "commit", "python", "postgres", "rabbitmq", "cpus"} <= found["environment"].keys()


def test_the_command_ends_with_1_when_something_was_wrong(command: Callable, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(course, "measure", lambda *_: measure.Result({"orders": 1}, ["a wrong end"]))

    status, text, found = command("--only", "burst-5")

    assert (1, ["burst-5: a wrong end"]) == (status, found["problems"])
    assert "error: burst-5: a wrong end" in text
