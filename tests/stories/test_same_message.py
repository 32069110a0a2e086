"""A client sends the same order again, because it never saw the answer, or because somebody is impatient."""

from tests.conftest import API
from tests.stories.conftest import END, FORWARD, Stage


def test_the_same_message_twice_is_one_order(stage: Stage):
    guest, dish = stage.new_user(100), stage.dish()
    body = stage.body(guest, dish)
    first = stage.order(guest, body)
    stage.settled(first)

    assert stage.order(guest, body) == first
    assert stage.trace(first) == [*FORWARD, *END]
    assert stage.balance(guest) == "74.50"
    assert stage.mails(guest) == ["Заказ успешно создан"]


def test_the_same_message_a_hundred_times_at_once_is_one_order(stage: Stage):
    guest, dish = stage.new_user(100), stage.dish()
    (order,) = set(stage.orders_at_once(guest, [stage.body(guest, dish)] * 100))

    assert stage.settled(order) == ["Completed"]
    assert stage.payments(order) == [("SALE", "25.50", "933")]
    assert stage.balance(guest) == "74.50"
    assert stage.mails(guest) == ["Заказ успешно создан"]


def test_the_same_message_with_another_body_is_refused_and_changes_nothing(stage: Stage):
    guest, dish = stage.new_user(100), stage.dish()
    body = stage.body(guest, dish)
    order = stage.order(guest, body)
    answer = stage.system.gateway.post(f"{API}/external/order", json=body | {"amount": 1}, token=guest.token)

    assert (answer.status, answer.json["status"]) == (200, "ERROR")
    assert "msgId" in answer.json["error"]
    assert stage.settled(order) == ["Completed"]
    assert stage.balance(guest) == "74.50"


def test_two_guests_may_use_the_same_message(stage: Stage):
    anna, boris, dish = stage.new_user(100), stage.new_user(100), stage.dish()
    body = stage.body(anna, dish)
    orders = stage.order(anna, body), stage.order(boris, body | {"userName": boris.username})

    assert len(set(orders)) == 2
    assert stage.settled(*orders) == ["Completed", "Completed"]
