"""Metrics that are looked up in tables when they are asked for."""

from functools import partial
from typing import Any

import pytest

from tests.metrics import Metrics
from tests.shared.telemetry.events import LONG_AGO, ORDER, ago
from tools.local.processes import free_port

pytestmark = pytest.mark.usefixtures("audited")


def looked_up(function: Any) -> Metrics:
    return Metrics(function.get("/internal/metrics").text)


def test_orders_are_counted_by_where_they_stand_and_the_open_ones_by_their_age(alone):
    function, sql = alone("order")
    metrics = partial(looked_up, function)
    assert (0, 0) == (metrics().sum("orders_open"), metrics().sum("orders_oldest_open_age_seconds"))

    stories = [("Accepted", None, None, None), ("Created", None, None, ago()), ("Canceled", "why", ago(), None)]
    for number, (status, reason, ended, lost) in enumerate([*stories, ("Canceled", "why", LONG_AGO, None)]):
        sql.rows(ORDER, id=str(number), status=status, reason=reason, ended=ended, lost=lost)

    assert [1, 1] == [metrics().sum("orders_open", status=status) for status in ("Accepted", "Created")]
    assert [1] == metrics().of("orders_ended_last_day", status="Canceled", reason="why")
    assert 1 == metrics().sum("orders_needing_attention")
    assert 3600 <= metrics().sum("orders_oldest_open_age_seconds") < 3700


def test_what_waits_in_the_outbox_has_an_age_and_what_was_refused_is_counted_apart(alone):
    function, sql = alone("order")
    metrics = partial(looked_up, function)
    assert (0, 0) == (metrics().sum("order_outbox_rows"), metrics().sum("order_outbox_oldest_age_seconds"))

    put = """INSERT INTO "order".outbox (id, event, written_at, refusal) VALUES (:id, '{}', :at, :refusal)"""
    sql.rows(put, id="refused", at=LONG_AGO, refusal="400 no event")
    sql.rows(put, id="waits", at=ago(minutes=9), refusal=None)

    assert (1, 1) == (metrics().sum("order_outbox_rows"), metrics().sum("order_outbox_refused_rows"))
    assert 540 <= metrics().sum("order_outbox_oldest_age_seconds") < 700


def test_dead_letters_that_wait_are_counted_by_who_failed(alone):
    function, sql = alone("ops")
    metrics = partial(looked_up, function)
    keep = """
        INSERT INTO ops.dead_letters (function, source, id, type, event, reason, attempts, first_at, replayed_at)
        VALUES ('pay-sale', '/test', :id, 't', '{}', 'r', 1, :first, :replayed)
    """
    sql.rows(keep, id="waits", first=ago(hours=1), replayed=None)
    sql.rows(keep, id="replayed", first=LONG_AGO, replayed=LONG_AGO)

    assert [1] == metrics().of("dead_letters_waiting_of_function", function="pay-sale")
    assert 1 == metrics().sum("dead_letters_waiting")
    assert 3600 <= metrics().sum("dead_letters_oldest_age_seconds") < 3800


def test_the_system_exports_the_orders_of_its_tables(system, exported, ended_order):
    found = """SELECT count(*) FROM "order".orders WHERE ended_at > now() - interval '1 day'"""

    assert ended_order
    assert system.sql.value(found) == exported("order-metrics").sum("orders_ended_last_day")


@pytest.mark.parametrize("owner", ["order", "ops"])
def test_without_a_database_the_metrics_are_not_now(started_alone, owner):
    client = started_alone(owner, "metrics", DATABASE_URL=f"postgresql://x:x@127.0.0.1:{free_port()}/none")

    assert 503 == client.get("/internal/metrics").status_code
    assert 200 == client.get("/_/metrics").status_code
