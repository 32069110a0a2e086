"""All couriers are busy at that hour: food and money go back."""

from tests.stories.conftest import BACK, END, FORWARD, Stage


def test_without_a_courier_food_and_money_go_back(stage: Stage):
    day = stage.busy_day()
    guest, dish = stage.new_user(100), stage.dish(stock=10)
    order = stage.order(guest, stage.body(guest, dish, deliveryDate=day))

    assert stage.settled(order) == ["Canceled"]
    assert stage.statuses(guest, order) == ("Canceled", "Ok", "Ok", "AllBusy")
    assert stage.trace(order) == [*FORWARD, *BACK, "billing.refund", *END]
    assert stage.payments(order) == [("SALE", "25.50", "933"), ("REFUND", "25.50", "933")]
    assert stage.balance(guest) == "100.00"
    assert stage.stock(dish) == 10
    assert stage.couriers(order) == 0
    assert stage.mails(guest) == ["Все курьеры заняты. Выберите  другое время доставки."]


def test_another_hour_of_the_same_day_is_free(stage: Stage):
    day = stage.busy_day()
    guest, dish = stage.new_user(100), stage.dish(stock=10)
    order = stage.order(guest, stage.body(guest, dish, deliveryDate=day, deliveryHour=13))

    assert stage.settled(order) == ["Completed"]
