"""Mails: asked for by their owner and inside the system."""

import pytest

from tests.clients import order_of
from tests.functions.paths import ENVELOPE, MAILS, ORDER
from tests.system import eventually


def test_mails_of_nobody_are_none(internal):
    answer = internal("notification-find-email", {"username": "nosuch"}).json
    assert list(answer) == [*ENVELOPE, "emails"]
    assert (answer["errorCode"], answer["emails"]) == (0, [])


def test_the_orders_without_mail_are_listed(internal, ask, guest, ended):
    order_id = ask(ORDER, guest, order_of(guest)).json["orderId"]
    ended(guest, order_id)
    eventually(lambda: internal("notification-missing", {"orderIds": [order_id]}).json["orderIds"] == [], "the mail")
    answer = internal("notification-missing", {"orderIds": ["a-1", order_id, "b-2"]})
    assert answer.text == '{"orderIds":["a-1","b-2"]}'


@pytest.mark.parametrize("value", [None, "x", [7], ["a b"], [""], ["x"] * 1001])
def test_what_are_no_order_ids_is_refused(internal, value):
    answer = internal("notification-missing", {"orderIds": value})
    assert answer.status == 400
    assert answer.json["error"].startswith("orderIds")


def test_who_has_not_ordered_has_no_mails(ask, guest):
    answer = ask(MAILS, guest, {"username": guest.username})
    assert list(answer.json) == [*ENVELOPE, "emails"]
    assert (answer.json["errorCode"], answer.json["errorMessage"], answer.json["emails"]) == (0, "", [])


def test_the_mail_of_an_ended_order_is_at_both_endpoints(ask, internal, guest):
    ask(ORDER, guest, order_of(guest))
    query = {"username": guest.username}
    (mail,) = eventually(lambda: ask(MAILS, guest, query).json["emails"], "the mail")
    assert list(mail.items()) == [
        ("username", guest.username),
        ("message", "Недостаточно средств на балансе клиента"),
        ("email", guest.email),
        ("status", "DELIVERED"),
    ]
    assert internal("notification-find-email", query).json["emails"] == [mail]


@pytest.mark.usefixtures("restocked")
def test_mails_come_oldest_first(ask, pay_in, guest, ended):
    ended(guest, ask(ORDER, guest, order_of(guest)).json["orderId"])
    expected = eventually(lambda: ask(MAILS, guest, {"username": guest.username}).json["emails"], "the first mail")
    pay_in(guest, 100)
    ask(ORDER, guest, order_of(guest))

    def both():
        mails = ask(MAILS, guest, {"username": guest.username}).json["emails"]
        return len(mails) == 2 and mails

    mails = eventually(both, "the second mail")
    assert (mails[0], mails[1]["message"]) == (expected[0], "Заказ успешно создан")
