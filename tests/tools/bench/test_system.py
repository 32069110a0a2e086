"""Every scenario against a system at work."""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.system import System
from tests.tools.bench.conftest import sent_order
from tools.bench import __main__, cold_start, course, measure, outcomes, session, soak
from tools.bench.load import Load
from tools.bench.orders import Outcome
from tools.bench.scenarios import Pace, parsed
from tools.bench.target import Target
from tools.bench.watch import Watch
from tools.migrate import connected


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
def test_a_burst_ends_in_all_four_ways_and_shows_what_it_cost(bench: session.Bench):
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
    assert 50 < result.measurements[f"cold_start_ms.{function}"] < result.measurements[f"ready_ms.{function}"]
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
def test_the_command_prints_a_table_and_the_same_as_json(command: Callable):
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
