"""How many couriers are free."""

import pytest

from tests.clients import order_of
from tests.functions.paths import ENVELOPE, ORDER, SLOTS


@pytest.mark.usefixtures("restocked")
def test_every_hour_has_its_free_couriers(ask, new_user, ended):
    user = new_user(balance=100)
    order = order_of(user, deliveryHour=7)
    ended(user, ask(ORDER, user, order).json["orderId"])
    answer = ask(SLOTS, user, {"date": order["deliveryDate"]})
    assert list(answer.json) == [*ENVELOPE, "date", "slots"]
    assert answer.json["date"] == order["deliveryDate"]
    assert answer.json["slots"] == [{"hour": hour, "free": 2 if hour == 7 else 3} for hour in range(24)]
