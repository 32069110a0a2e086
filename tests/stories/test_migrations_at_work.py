"""Tables change while orders are under way: running functions go on, without a restart and without a dead letter."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.stories.conftest import Stage
from tests.stories.test_crashes import insist

TABLES = """
    SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables
     WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')
       AND table_name <> 'migrations' ORDER BY 1
"""
# What running statements give back of them has another type from one moment to the next.
RETYPED = {'"order".orders': ("reason", "username"), "billing.clients": ("username",), "pay.payments": ("currency",)}
DEAD = "SELECT count(*) FROM ops.dead_letters"


@pytest.fixture
def changed(stage: Stage) -> Iterator[Stage]:
    """Afterwards the tables are as they were, whatever happened."""
    yield stage
    for table in tables(stage):
        stage.system.sql.rows(f"ALTER TABLE {table} DROP COLUMN IF EXISTS added_later")
    for table, columns in RETYPED.items():
        for column in columns:
            stage.system.sql.rows(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE text")


def tables(stage: Stage) -> list[str]:
    return [row.name for row in stage.system.sql.rows(TABLES)]


def test_orders_end_while_every_table_gets_a_column_and_some_columns_another_type(changed: Stage):
    stage = changed
    guest, dish, dead = stage.new_user(100_000), stage.dish(stock=10_000), stage.system.sql.value(DEAD)
    over = threading.Event()

    def client() -> list[str]:
        orders = []
        while not over.is_set() or not orders:
            orders.append(insist(stage, guest, stage.body(guest, dish)))
        return orders

    with ThreadPoolExecutor(max_workers=2) as clients:
        sent = [clients.submit(client) for _ in range(2)]
        try:
            for table in tables(stage):
                stage.system.sql.rows(f"ALTER TABLE {table} ADD COLUMN added_later integer NOT NULL DEFAULT 7")
            for table, columns in RETYPED.items():
                for column in columns:
                    stage.system.sql.rows(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE varchar(300)")
        finally:
            over.set()
        orders = [order for some in sent for order in some.result()]
    # And at once: nobody is told to come again because a function's connections know the table as it was.
    stage.system.sql.rows('ALTER TABLE "order".orders ALTER COLUMN reason TYPE varchar(299)')
    orders.append(stage.order(guest, stage.body(guest, dish)))

    assert stage.settled(*orders, seconds=90) == ["Completed"] * len(orders)
    assert stage.system.sql.value(DEAD) == dead
    assert len(stage.mails(guest)) == len(orders) > 0
