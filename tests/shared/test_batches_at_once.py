"""Batches whose orders share clients, dishes or hours, in opposite order: neither waits for the other for ever.

The first batch is held when its first order is decided and not yet committed; then the second one comes.
"""

from typing import Any

import pytest

from tests.shared.deciding import BEFORE, DECIDING, SHARING, Bench, two_at_once
from tools.audit import findings


def of_client(name: str) -> dict[str, Any]:
    return {"userName": name}


def of_dish(*ids: int) -> dict[str, Any]:
    return {"dishs": [{"menuId": id, "count": 1} for id in ids]}


def at_hour(hour: int) -> dict[str, Any]:
    return {"deliveryHour": hour}


# What two orders share, as the events say it: this and another one.
SHARED = {
    "billing": (of_client("user1"), of_client("user2")),
    "store": (of_dish(1), of_dish(2)),
    "delivery": (at_hour(1), at_hour(2)),
}
SECOND_CLIENT = "INSERT INTO billing.clients (username, opening, balance) VALUES ('user2', 1000, 1000)"
ORDERS = ("held-a", "x", "held-b", "y")
PAIRS = [
    ("billing.withdraw", "billing.withdraw"),
    ("billing.refund", "billing.refund"),
    ("billing.withdraw", "billing.refund"),
    ("store.bookingFood", "store.bookingFood"),
    ("store.cancelBookingFood", "store.cancelBookingFood"),
    ("store.bookingFood", "store.cancelBookingFood"),
    ("delivery.bookingCourier", "delivery.bookingCourier"),
]  # fmt: skip


@pytest.fixture
def ready(bench: Bench):
    """The bench, with two clients and what the steps need to have been decided before."""

    def prepare(*shorts: str, **data_of: dict[str, Any]) -> Bench:
        bench.afresh(shorts[0])
        bench.admin.rows("DELETE FROM billing.clients WHERE username = 'user2'")
        bench.admin.rows(SECOND_CLIENT)
        for short, orders in zip(shorts, (ORDERS[:2], ORDERS[2:]), strict=True):
            if before := BEFORE.get(short):
                for order in orders:
                    assert 200 == bench.send(before, order, **data_of).status
        return bench

    yield prepare
    bench.admin.rows("DELETE FROM billing.movements WHERE username = 'user2'")
    bench.admin.rows("DELETE FROM billing.charges WHERE username = 'user2'")
    bench.admin.rows("DELETE FROM billing.clients WHERE username = 'user2'")


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=[" beside ".join(pair) for pair in PAIRS])
def test_two_batches_that_share_rows_in_opposite_order_are_both_done(ready, first, second):
    one, another = SHARED[first.partition(".")[0]]
    data_of = dict(zip(ORDERS, (one, another, another, one), strict=True))
    bench = ready(first, second, **data_of)
    runs = [lambda: bench.send(first, *ORDERS[:2], **data_of), lambda: bench.send(second, *ORDERS[2:], **data_of)]
    with two_at_once(bench, *runs) as replies:
        assert [200, 200] == [reply.result().status for reply in replies]
    assert [] == [found for found in contradictions(bench) if found.check != "effect_without_an_order"]


def test_orders_of_several_dishes_in_opposite_order_are_all_done(ready):
    data_of = dict(zip(ORDERS, (of_dish(1, 5), of_dish(2, 3), of_dish(2, 4), of_dish(5, 3, 1)), strict=True))
    short = "store.bookingFood"
    bench = ready(short, short, **data_of)
    runs = [lambda: bench.send(short, *ORDERS[:2], **data_of), lambda: bench.send(short, *ORDERS[2:], **data_of)]
    with two_at_once(bench, *runs) as replies:
        assert [200, 200] == [reply.result().status for reply in replies]
    assert [] == [found for found in contradictions(bench) if found.check != "effect_without_an_order"]


def test_replies_keep_the_order_of_their_events(ready):
    bench = ready("billing.withdraw", "billing.withdraw")
    replies = bench.send("billing.withdraw", "x", "b", "c", "a").json
    assert ["x", "b", "c", "a"] == [reply["subject"] for reply in replies]


def test_every_step_that_shares_rows_with_others_is_looked_at():
    assert {short for pair in PAIRS for short in pair} == SHARING <= {*DECIDING}


def contradictions(bench: Bench) -> list[Any]:
    with bench.admin.connected() as connection:
        return findings(connection, open_is_fine=True)
