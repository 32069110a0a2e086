"""One of the dishes is sold out: none is reserved, what was paid goes back."""

from tests.stories.conftest import BACK, END, FORWARD, Stage


def test_all_dishes_are_reserved_or_none(stage: Stage):
    guest, plenty, scarce = stage.new_user(100), stage.dish(stock=10), stage.dish(stock=1)
    dishes = [{"menuId": plenty, "count": 3}, {"menuId": scarce, "count": 2}]
    order = stage.order(guest, stage.body(guest, plenty, dishs=dishes))

    assert stage.settled(order) == ["Canceled"]
    assert stage.statuses(guest, order) == ("Canceled", "Ok", "NotAvailable", "Skipped")
    assert stage.trace(order) == [*FORWARD, *BACK, "billing.refund", *END]
    assert stage.payments(order) == [("SALE", "25.50", "933"), ("REFUND", "25.50", "933")]
    assert (stage.stock(plenty), stage.stock(scarce)) == (10, 1)
    assert stage.balance(guest) == "100.00"
    assert stage.mails(guest) == ["Выбранное блюдо недоступно"]
