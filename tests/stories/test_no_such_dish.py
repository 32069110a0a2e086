"""The store does not know a dish: what was paid goes back."""

from tests.stories.conftest import BACK, END, FORWARD, Stage


def test_an_unknown_dish_cancels_the_order_and_the_money_is_back(stage: Stage):
    guest, dish = stage.new_user(100), stage.dish(stock=10)
    dishes = [{"menuId": dish, "count": 1}, {"menuId": 2_147_483_647, "count": 1}]
    order = stage.order(guest, stage.body(guest, dish, dishs=dishes))

    assert stage.settled(order) == ["Canceled"]
    assert stage.statuses(guest, order) == ("Canceled", "Ok", "NotAvailable", "Skipped")
    assert stage.trace(order) == [*FORWARD, *BACK, "billing.refund", *END]
    assert stage.payments(order) == [("SALE", "25.50", "933"), ("REFUND", "25.50", "933")]
    assert stage.balance(guest) == "100.00"
    assert stage.stock(dish) == 10
    assert stage.mails(guest) == ["Выбранное блюдо недоступно"]
