"""What is measured beside our system stays apart from it, and runs the very statements that our steps run."""

import ast
import re
from pathlib import Path

import pytest

from functions.billing import withdraw
from functions.order import result
from tests.peers import engines
from tests.peers.measure import Run
from tests.peers.storehouse import Storehouse
from tests.system import System
from tools import bench_beside, bench_chain
from tools.bench.target import Target
from tools.bench_chain import Order, tables_of, with_schema
from tools.migrate import connected

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "tests" / "peers"
FOLDERS = ("functions", "schemas", "tools", "triggers", "tests")
SOURCES = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
ORDERED = {
    "msgId": "first", "userName": "anna", "amount": 76.09, "discount": 16.91, "quantity": 3,
    "dishs": [{"menuId": 1, "count": 2}, {"menuId": 4, "count": 1}], "deliveryDate": "31.12.2026", "deliveryHour": 20,
}  # fmt: skip


def imports(path: Path) -> set[str]:
    nodes = [*ast.walk(ast.parse(path.read_text("utf-8")))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


def test_nothing_else_imports_the_peers():
    others = [path for path in SOURCES if PEERS not in path.parents and path != Path(__file__)]
    assert [] == [path for path in others if any(name.startswith("tests.peers") for name in imports(path))]


@pytest.mark.parametrize("peer", ["on_dbos", "on_restate"])
def test_an_environment_is_pinned(peer: str):
    lines = (PEERS / peer / "requirements.txt").read_text().split()
    assert [] == [line for line in lines if not re.fullmatch(r"[\w\-\[\],]+==[\w.]+", line)]


def test_the_statements_are_the_steps_own():
    assert bench_chain.CHARGE == with_schema("billing", withdraw.CHARGE)
    assert bench_chain.END == with_schema("order", result.END)


@pytest.mark.parametrize("owner", ["order", "pay", "billing", "store", "delivery", "notification"])
def test_no_table_is_left_without_its_schema(owner: str):
    names = "|".join(tables_of(owner))
    left = [sql for name, sql in vars(bench_chain).items() if name.isupper() and isinstance(sql, str)]
    assert [] == [sql for sql in left if re.search(rf"\b(FROM|JOIN|INTO|UPDATE) ({names})\b", sql)]


def test_reasons_are_those_of_the_last_step():
    assert bench_chain.COMPLETED == result.COMPLETED
    assert bench_chain.REASONS.items() <= {str(status): text for status, text in result.REASONS.items()}.items()


def test_a_statement_that_is_not_there_is_named():
    with pytest.raises(LookupError, match=r"functions/billing/withdraw.py: expected a statement NONE"):
        bench_chain.statement("billing/withdraw.py", "NONE")


def test_every_parameter_of_a_statement_has_a_value():
    order = Order.of(ORDERED, "{}")
    asked = [
        *(step(order) for step in (
            bench_chain.accept, bench_chain.new_order, bench_chain.withdraw, bench_chain.confirm_sale,
            bench_chain.booking_food, bench_chain.booking_courier, bench_chain.cancel_booking_food,
            bench_chain.refund_payment, bench_chain.refund_balance,
        )),
        bench_chain.result(order, "Ok", "Ok", "Ok"),
        bench_chain.send_email("1", "anna", "text"),
    ]  # fmt: skip
    wanted = [set(re.findall(r"(?<!:):(\w+)", sql)) for sql, _ in asked]
    assert wanted == [set(values) for _, values in asked]


def test_our_own_system_is_measured_in_the_same_way(system: System, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bench_beside, "GUESTS", 2)
    pids = {process.name: process.pid for process in system.processes} | {"PostgreSQL": system.postgres.pid}
    target = Target(system.gateway.base, system.database_url, pids)
    storehouse = Storehouse(None, target.database)
    with engines.ours(target, storehouse) as ours, connected(ours.database) as one, connected(ours.database) as other:
        run = Run(ours, one, other, system.postgres.pid)
        found = [run.closed(2, 0.5), run.burst(20)]
    assert [[], []] == [measurements.problems for measurements in found]
    assert 20 == found[1].orders
    assert all(measurements.settled_per_second > 0 and measurements.cpu_ms > 0 for measurements in found)
