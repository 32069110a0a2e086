"""Orders are accepted: once for each message, or refused with a reason."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from functions.order.saga_start import REQUEST
from functions.shared import exact_json
from schemas.order import OrderRequest
from tests.clients import order_of, without
from tests.functions.paths import (
    OK,
    ORDER,
    error,
)


def test_an_accepted_order_gets_its_id(ask, guest):
    answer = ask(ORDER, guest, order_of(guest))
    assert (answer.status, list(answer.json)) == (200, ["status", "error", "orderId"])
    assert without(answer.json, "orderId") == OK
    assert uuid.UUID(answer.json["orderId"])


def test_the_same_message_is_the_same_order(ask, guest):
    order = order_of(guest)
    assert ask(ORDER, guest, order).text == ask(ORDER, guest, order).text


@pytest.mark.parametrize(
    "again",
    [{"amount": "76.090"}, {"deliveryHour": "23"}, {"quantity": "3"}, {"discount": "88.40"}, {"nosuch": 1}],
)
def test_the_same_message_in_other_words_is_the_same_order(ask, guest, again):
    order = order_of(guest)
    assert ask(ORDER, guest, order).text == ask(ORDER, guest, order | again).text


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 76.10},
        {"discount": 0},
        {"quantity": 4},
        {"dishs": [{"menuId": 1, "count": 2}]},
        {"deliveryDate": "01.01.2050"},
        {"deliveryHour": 22},
    ],
)
def test_the_same_message_with_another_body_is_refused(ask, guest, database, change):
    order = order_of(guest)
    first = ask(ORDER, guest, order).json["orderId"]
    answer = ask(ORDER, guest, order | change)
    assert answer.status == 200
    assert answer.json == error("msgId: expected a new one for another order, got one that was used before")
    rows = database("order").rows('SELECT order_id FROM "order".orders WHERE username = :name', name=guest.username)
    assert [row.order_id for row in rows] == [first]


@pytest.fixture
def keep(database):
    """Keep an order's request in another form, as other versions of the code do."""
    row = 'SELECT request FROM "order".orders WHERE order_id = :id'
    write = 'UPDATE "order".orders SET request = :request WHERE order_id = :id'

    def change(order_id, edit):
        kept = edit(exact_json.loads(database("order").value(row, id=order_id)))
        database("order").rows(write, id=order_id, request=kept if isinstance(kept, str) else exact_json.dumps(kept))

    return change


@pytest.mark.parametrize(
    "edit",
    [
        lambda kept: without(kept, "quantity"),
        lambda kept: dict(reversed(kept.items())),
        lambda kept: kept | {"fieldOfTomorrow": None},
        lambda kept: exact_json.dumps(kept, indent=2),
    ],
    ids=["a field fewer", "another order", "a field more", "another layout"],
)
def test_an_order_that_another_version_has_kept_is_still_the_same(ask, guest, keep, edit):
    order = order_of(guest, quantity=None)
    first = ask(ORDER, guest, order)
    keep(first.json["orderId"], edit)
    assert first.text == ask(ORDER, guest, order).text
    assert ask(ORDER, guest, order | {"quantity": 2}).json["status"] == "ERROR"


def test_an_order_that_cannot_be_read_is_another_one(ask, guest, keep):
    order = order_of(guest)
    keep(ask(ORDER, guest, order).json["orderId"], lambda kept: kept | {"deliveryHour": 99})
    assert ask(ORDER, guest, order).json["error"].startswith("msgId: expected a new one")


def test_a_row_keeps_every_field_that_a_client_may_send():
    assert set(OrderRequest.model_fields) == REQUEST


def test_the_same_message_of_another_user_is_another_order(ask, guest, new_user):
    other, order = new_user(), order_of(guest)
    one = ask(ORDER, guest, order).json["orderId"]
    two = ask(ORDER, other, order | {"userName": other.username}).json
    assert two["status"] == "OK"
    assert two["orderId"] != one


def test_a_hundred_times_the_same_message_at_once_is_one_order(ask, guest, database):
    order = order_of(guest)
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: ask(ORDER, guest, order), range(100)))
    assert {answer.status for answer in answers} == {200}
    (text,) = {answer.text for answer in answers}
    rows = database("order").rows('SELECT order_id FROM "order".orders WHERE username = :name', name=guest.username)
    assert [row.order_id for row in rows] == [json.loads(text)["orderId"]]


def test_whole_numbers_may_come_as_text(ask, guest):
    dishs = [{"menuId": "1", "count": "2"}]
    order = order_of(guest, dishs=dishs, deliveryHour="23", quantity="3", amount="76.09")
    assert ask(ORDER, guest, order).json["status"] == "OK"


def test_quantity_and_discount_may_be_left_out(ask, guest):
    assert ask(ORDER, guest, order_of(guest, quantity=None, discount=None)).json["status"] == "OK"


def test_a_day_that_is_over_is_accepted_by_default(ask, guest):
    assert ask(ORDER, guest, order_of(guest, deliveryDate="03.02.2023")).json["status"] == "OK"


def test_a_day_that_is_over_is_refused_where_the_setting_says_so(started_alone, guest, database):
    submit = started_alone("order", "submit", PAST_DELIVERY_DATES="refuse")
    order = order_of(guest, deliveryDate="03.02.2023")
    answer = submit.post("/", json=order, headers={"Authorization": f"Bearer {guest.token}"})
    assert answer.status_code == 200
    assert answer.json == error("deliveryDate: expected today or later, got a day that is over")
    rows = database("order").rows('SELECT order_id FROM "order".orders WHERE username = :name', name=guest.username)
    assert rows == []


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])
def test_today_is_not_over_in_the_zone_that_is_set(started_alone, ask, guest, database, zone):
    today = database("order").value("SELECT to_char(now() AT TIME ZONE :zone, 'DD.MM.YYYY')", zone=zone)
    order = order_of(guest, deliveryDate=today)
    taken = ask(ORDER, guest, order).json
    submit = started_alone("order", "submit", PAST_DELIVERY_DATES="refuse", TIME_ZONE=zone)
    assert submit.post("/", json=order, headers={"Authorization": f"Bearer {guest.token}"}).json == taken
