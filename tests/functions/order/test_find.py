"""Where an order stands, and where all of a client's orders stand."""

import re

import pytest

from tests.clients import order_of, without
from tests.functions.paths import ENVELOPE, FIND, LIST, ORDER

STATE = [
    "orderId", "msgId", "amount", "status", "reason", "payStatus", "storeStatus", "deliveryStatus",
    "acceptedAt", "endedAt", "needsAttention",
]  # fmt: skip
MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}\+00:00")


def test_a_canceled_order_says_why(ask, guest, ended):
    order = order_of(guest)
    order_id = ask(ORDER, guest, order).json["orderId"]
    found = ended(guest, order_id)
    assert list(found) == STATE
    assert MOMENT.fullmatch(found["acceptedAt"])
    assert MOMENT.fullmatch(found["endedAt"])
    assert without(found, "acceptedAt", "endedAt") == {
        "orderId": order_id,
        "msgId": order["msgId"],
        "amount": 76.09,
        "status": "Canceled",
        "reason": "Недостаточно средств на балансе клиента",
        "payStatus": "NotEnoughMoney",
        "storeStatus": "Skipped",
        "deliveryStatus": "Skipped",
        "needsAttention": False,
    }


@pytest.mark.usefixtures("restocked")
def test_a_completed_order_has_its_three_steps(ask, new_user, ended):
    user = new_user(balance=100)
    order_id = ask(ORDER, user, order_of(user, amount=76.1)).json["orderId"]
    found = ended(user, order_id)
    assert (found["status"], found["reason"]) == ("Completed", "Заказ успешно создан")
    assert [found[f"{step}Status"] for step in ("pay", "store", "delivery")] == ["Ok"] * 3
    assert '"amount":76.10,' in ask(FIND, user, {"userName": user.username, "orderId": order_id}).text


def test_an_order_is_found_by_its_message_as_by_its_id(ask, guest, ended):
    order = order_of(guest)
    order_id = ask(ORDER, guest, order).json["orderId"]
    ended(guest, order_id)
    by_id = ask(FIND, guest, {"userName": guest.username, "orderId": order_id}).json
    by_message = ask(FIND, guest, {"userName": guest.username, "msgId": order["msgId"]}).json
    assert list(by_id) == [*ENVELOPE, "order"]
    assert (by_id["errorCode"], by_id["errorMessage"]) == (0, "")
    assert by_id["order"] == by_message["order"]


@pytest.mark.parametrize("names", [{}, {"orderId": "x", "msgId": "y"}, {"orderId": None, "msgId": None}])
def test_an_order_is_asked_for_by_one_name(ask, guest, names):
    answer = ask(FIND, guest, {"userName": guest.username} | names)
    assert answer.status == 400
    assert answer.json["error"].startswith("expected either orderId or msgId")


@pytest.mark.parametrize("value", ["", "a b", "x" * 65, 7, "ы"])
def test_what_is_no_order_id_is_refused(ask, guest, value):
    answer = ask(FIND, guest, {"userName": guest.username, "orderId": value})
    assert answer.status == 400
    assert answer.json["error"].startswith("orderId: expected")


@pytest.mark.parametrize("name", [{"orderId": "nosuch"}, {"msgId": "nosuch"}, {"msgId": ""}])
def test_an_unknown_order_is_not_found(ask, guest, name):
    answer = ask(FIND, guest, {"userName": guest.username} | name)
    assert answer.status == 200
    assert without(answer.json, "operationTime") == {
        "errorCode": -8514, "errorMessage": "Order not found", "order": None
    }  # fmt: skip


def test_anothers_order_is_not_found(ask, guest, new_user):
    other = new_user()
    order_id = ask(ORDER, other, order_of(other)).json["orderId"]
    assert ask(FIND, guest, {"userName": guest.username, "orderId": order_id}).json["errorCode"] == -8514


def test_orders_are_listed_newest_first(ask, guest, ended):
    sent = [ask(ORDER, guest, order_of(guest)).json["orderId"] for _ in range(3)]
    for order_id in sent:
        ended(guest, order_id)
    answer = ask(LIST, guest, {"userName": guest.username})
    assert list(answer.json) == [*ENVELOPE, "orders"]
    assert [list(order) for order in answer.json["orders"]] == [STATE] * 3
    assert [order["orderId"] for order in answer.json["orders"]] == sent[::-1]


def test_who_has_not_ordered_has_no_orders(ask, guest):
    answer = ask(LIST, guest, {"userName": guest.username})
    assert (answer.json["errorCode"], answer.json["orders"]) == (0, [])
