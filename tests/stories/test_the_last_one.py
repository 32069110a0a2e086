"""Fifty orders at once for the last of something: exactly one gets it."""

import pytest

from tests.stories.conftest import Stage

MANY = 50


def won_and_lost(statuses: list[str]) -> tuple[int, int]:
    return statuses.count("Completed"), statuses.count("Canceled")


def test_the_last_coin_buys_one_order(stage: Stage):
    guest, dish = stage.new_user("25.50"), stage.dish(stock=1000)
    orders = stage.orders_at_once(guest, [stage.body(guest, dish) for _ in range(MANY)])

    assert won_and_lost(stage.settled(*orders, seconds=120)) == (1, MANY - 1)
    assert stage.balance(guest) == "0.00"
    assert stage.stock(dish) == 998


def test_the_last_portion_goes_to_one_order(stage: Stage):
    guest, dish = stage.new_user(10_000), stage.dish(stock=3)
    orders = stage.orders_at_once(guest, [stage.body(guest, dish) for _ in range(MANY)])

    assert won_and_lost(stage.settled(*orders, seconds=120)) == (1, MANY - 1)
    assert stage.balance(guest) == "9974.50"
    assert stage.stock(dish) == 1


@pytest.mark.parametrize("taken", [2, 0])
def test_the_last_couriers_go_to_as_many_orders(stage: Stage, taken: int):
    guest, dish, day = stage.new_user(10_000), stage.dish(stock=1000), stage.busy_day(taken)
    orders = stage.orders_at_once(guest, [stage.body(guest, dish, deliveryDate=day) for _ in range(MANY)])

    assert won_and_lost(stage.settled(*orders, seconds=120)) == (3 - taken, MANY - 3 + taken)
    assert stage.stock(dish) == 1000 - 2 * (3 - taken)
