"""A guest has money, the kitchen has food, a courier is free: the order is completed."""

from tests.stories.conftest import END, FORWARD, Stage


def test_an_order_is_paid_cooked_delivered_and_notified(stage: Stage):
    guest, dish = stage.new_user(100), stage.dish(stock=10)
    order = stage.order(guest, stage.body(guest, dish))

    assert stage.settled(order) == ["Completed"]
    assert stage.statuses(guest, order) == ("Completed", "Ok", "Ok", "Ok")
    assert stage.trace(order) == [*FORWARD, *END]
    assert stage.payments(order) == [("SALE", "25.50", "933")]
    assert stage.balance(guest) == "74.50"
    assert stage.stock(dish) == 8
    assert stage.couriers(order) == 1
    assert stage.mails(guest) == ["Заказ успешно создан"]


def test_a_dish_that_is_named_twice_is_reserved_in_one(stage: Stage):
    guest, dish = stage.new_user(100), stage.dish(stock=10)
    twice = [{"menuId": dish, "count": 2}, {"menuId": dish, "count": 3}]
    order = stage.order(guest, stage.body(guest, dish, dishs=twice))

    assert stage.settled(order) == ["Completed"]
    assert stage.stock(dish) == 5
