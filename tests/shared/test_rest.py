"""Money, orders, menu, couriers and mails, asked as clients do; internal endpoints, straight at their functions."""

import json
import re
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from tests.clients import API, TIME, as_json, order_of, without
from tests.conftest import User
from tests.fakes import FakeFunction
from tests.system import eventually
from triggers.stack import load

ADD, WITHDRAW, GET = (f"{API}/external/user/balance/{name}" for name in ("add", "withdraw", "get"))
PUBLISHED_ADD = f"{API}/user/balance/add"
MAILS, MENU, SLOTS = f"{API}/external/user/notification", f"{API}/external/menu", f"{API}/external/delivery/slots"
ORDER, FIND, LIST = f"{API}/external/order", f"{API}/external/order/find", f"{API}/external/order/list"

MOVES = [ADD, PUBLISHED_ADD, WITHDRAW]
SIMPLE = [*MOVES, ORDER]
ENVELOPES = [GET, MAILS, FIND, LIST]
NAMED = [*SIMPLE, *ENVELOPES]
BEARER = [*NAMED, MENU, SLOTS]
OPEN = ["/health", "/health/readiness", "/info"]

ENDPOINTS = ["billing-internal-add", "billing-internal-withdraw", "billing-internal-get", "billing-client-create"]
INTERNAL = [*ENDPOINTS, "notification-find-email", "notification-missing"]

OK = {"status": "OK", "error": ""}
ENVELOPE = ["errorCode", "errorMessage", "operationTime"]
LARGEST = "9999999999.99"


def error(reason):
    """A refusal of a Simple answer."""
    return {"status": "ERROR", "error": reason}


def good_body(path, user):
    """What the method at `path` takes from `user`."""
    if path == ORDER:
        return order_of(user)
    if path in MOVES:
        return {"username": user.username, "amount": 1}
    if path == FIND:
        return {"userName": user.username, "msgId": "none"}
    if path == SLOTS:
        return {"date": "01.01.2050"}
    return {"userName" if path == LIST else "username": user.username}


@pytest.fixture
def guest(new_user):
    """A client without money."""
    return new_user()


@pytest.fixture
def ask(gateway):
    """Post a body as a user."""
    return lambda path, user, body: gateway.post(path, json=body, token=user.token)


@pytest.fixture
def pay_in(ask):
    """Ask for an amount to be added."""
    return lambda user, amount, path=ADD: ask(path, user, {"username": user.username, "amount": amount})


@pytest.fixture
def take_out(ask):
    """Ask for an amount to be withdrawn."""
    return lambda user, amount: ask(WITHDRAW, user, {"username": user.username, "amount": amount})


@pytest.fixture
def balance(ask):
    """A user's balance, as it is written in the answer."""
    return lambda user: re.search(r'"amount":([^,}]+)', ask(GET, user, {"username": user.username}).text)[1]


@pytest.fixture
def internal(system):
    """Ask an internal function at its own address."""
    return lambda name, body: system.function(name).post(json=body)


@pytest.fixture
def ended(ask):
    """Wait until an order has ended; gives it as its owner is shown it."""

    def wait(user, order_id):
        def over():
            order = ask(FIND, user, {"userName": user.username, "orderId": order_id}).json["order"]
            return order["endedAt"] and order

        return eventually(over, f"the end of order {order_id}")

    return wait


# Every method's bad ones


def test_every_method_is_asked_here_or_among_auths():
    others = [function for function in load() if function.method and function.owner != "auth"]
    assert {path for one in others if one.is_public for path in one.paths} == {*BEARER, *OPEN}
    # Metrics are asked for in test_metrics.py.
    internal = {one.name for one in others if one.caller == "internal" and one.target != "metrics"}
    assert internal == {*INTERNAL}


@pytest.mark.parametrize("path", BEARER)
def test_who_brings_no_token_is_asked_for_one(gateway, path):
    answer = gateway.post(path, json={})
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json == {
        "error": "unauthorized",
        "error_description": "Full authentication is required to access this resource",
    }


@pytest.mark.parametrize("path", BEARER)
def test_an_expired_token_is_refused_without_being_repeated(gateway, signed, path):
    answer = gateway.post(path, json={}, token=signed(exp=int(time.time()) - 1))
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert answer.json == {"error": "invalid_token", "error_description": "Access token expired"}


@pytest.mark.parametrize("path", BEARER)
def test_a_token_that_another_key_signed_is_refused(gateway, signed, foreign_key, path):
    answer = gateway.post(path, json={}, token=signed(key=foreign_key))
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.json == {"error": "invalid_token", "error_description": "Cannot convert access token to JSON"}


@pytest.mark.parametrize("path", BEARER)
def test_a_token_that_is_only_text_is_refused(gateway, path):
    answer = gateway.post(path, json={}, token="nonsense")
    assert (answer.status, answer.json["error"]) == (401, "invalid_token")


@pytest.mark.parametrize("path", BEARER)
def test_who_is_no_client_may_do_nothing(gateway, signed, path):
    answer = gateway.post(path, json={}, token=signed(authorities=["ROLE_ADMIN"]))
    assert answer.status == 403
    assert answer.json == {"error": "access_denied", "error_description": "Access is denied"}


@pytest.mark.parametrize("path", SIMPLE)
def test_in_anothers_name_nothing_is_done(ask, guest, new_user, balance, path):
    other = new_user(balance="7.00")
    answer = ask(path, guest, good_body(path, other))
    assert (answer.status, answer.json) == (200, error("Access denied"))
    assert balance(other) == "7.00"


@pytest.mark.parametrize("path", ENVELOPES)
def test_in_anothers_name_nothing_is_told(ask, guest, new_user, path):
    answer = ask(path, guest, good_body(path, new_user(balance="7.00")))
    assert answer.status == 200
    assert list(answer.json)[:3] == ENVELOPE
    assert (answer.json["errorCode"], answer.json["errorMessage"]) == (-8513, "Access denied")
    assert set(without(answer.json, *ENVELOPE).values()) == {None}


@pytest.mark.parametrize("path", ENVELOPES)
def test_without_a_name_it_is_anothers(ask, guest, path):
    body = without(good_body(path, guest), "username", "userName")
    assert ask(path, guest, body).json["errorCode"] == -8513


@pytest.mark.parametrize("path", BEARER)
@pytest.mark.parametrize("text", ['{"username": ', "", "[]", '"text"', "7", "null", "NaN", "[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(gateway, signed, path, text):
    answer = gateway.post(path, data=text, headers=as_json(), token=signed())
    assert answer.status == 400
    assert list(answer.json) == ["status", "error"]
    assert answer.json["status"] == "ERROR"
    assert answer.json["error"].startswith("expected")


@pytest.mark.parametrize("path", BEARER)
def test_another_content_type_is_refused(gateway, signed, path):
    answer = gateway.post(path, data="{}", headers={"Content-Type": "text/plain"}, token=signed())
    assert (answer.status, answer.headers["Accept-Post"]) == (415, "application/json")
    assert list(answer.json) == ["timestamp", "status", "error", "path"]
    assert without(answer.json, "timestamp") == {"status": 415, "error": "Unsupported Media Type", "path": path}


@pytest.mark.parametrize("path", BEARER)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_another_method_is_refused_and_the_right_one_named(gateway, signed, path, method):
    answer = gateway.request(method, path, token=signed())
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert without(answer.json, "timestamp") == {"status": 405, "error": "Method Not Allowed", "path": path}


@pytest.mark.parametrize("path", BEARER)
def test_a_huge_body_is_refused(gateway, signed, path):
    answer = gateway.post(path, json={"username": "x" * 2_000_000}, token=signed())
    assert (answer.status, answer.json["error"]) == (413, "Request Entity Too Large")


@pytest.mark.parametrize("path", BEARER)
def test_fields_that_nobody_knows_are_ignored(ask, guest, path):
    assert ask(path, guest, good_body(path, guest) | {"nosuch": [1]}).status == 200


@pytest.mark.parametrize("path", OPEN)
def test_what_is_open_is_only_read(gateway, path):
    answer = gateway.post(path, json={})
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")


WRONG_FIELDS = [
    *((path, "username", value) for path in (*MOVES, GET, MAILS) for value in (7, True, [], {}, "a\x00b", "x" * 256)),
    *((path, "userName", value) for path in (ORDER, FIND, LIST) for value in (7, False, ["x"], {}, "a\nb")),
    *((FIND, "msgId", value) for value in (7, [], "x" * 101)),
    *((SLOTS, "date", value) for value in (None, "", "31.02.2023", "2023-02-03", "1.1.2023", 1, [], "01.01.2023 ")),
    *((ORDER, "msgId", value) for value in (None, 7, "", "   ", "x" * 101, "a\x00b", [])),
    *((ORDER, "deliveryDate", value) for value in (None, "31.02.2023", "2023-02-03", "3.2.2023", 20230203, "")),
    *((ORDER, "deliveryHour", value) for value in (None, 24, -1, 5.5, "x", True, [])),
    *((ORDER, "dishs", value) for value in (None, [], {}, "1", [{"menuId": 1, "count": 1}] * 101)),
    *((ORDER, "quantity", value) for value in (0, -1, 1.5, "x", 10_001, True)),
    *((ORDER, "discount", value) for value in (-0.01, 0.001, "x", True, "NaN")),
]


@pytest.mark.parametrize(("path", "field", "value"), WRONG_FIELDS)
def test_a_field_of_the_wrong_form_is_refused_by_its_name(ask, guest, path, field, value):
    answer = ask(path, guest, good_body(path, guest) | {field: value})
    assert (answer.status, answer.json["status"]) == (400, "ERROR")
    assert answer.json["error"].startswith(f"{field}: expected")


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        *((path, ["username", "amount"]) for path in MOVES),
        (ORDER, ["msgId", "amount", "dishs", "deliveryDate", "deliveryHour"]),
        (SLOTS, ["date"]),
    ],
)
def test_all_missing_fields_are_named_at_once(ask, guest, path, fields):
    answer = ask(path, guest, {})
    assert answer.status == 400
    assert answer.json == error("; ".join(f"{field}: expected a value, got nothing" for field in fields))


@pytest.mark.parametrize(
    ("dish", "reason"),
    [
        ({"menuId": "x", "count": 1}, "dishs.0.menuId: expected a valid integer"),
        ({"menuId": 0, "count": 1}, "dishs.0.menuId: expected greater than or equal to 1, got 0"),
        ({"menuId": 1.5, "count": 1}, "dishs.0.menuId: expected a whole number, got 1.5"),
        ({"menuId": True, "count": 1}, "dishs.0.menuId: expected a whole number, got true"),
        ({"menuId": 2**31, "count": 1}, "dishs.0.menuId: expected less than or equal to 2147483647"),
        ({"count": 1}, "dishs.0.menuId: expected a value, got nothing"),
        ({"menuId": 1, "count": 0}, "dishs.0.count: expected greater than or equal to 1, got 0"),
        ({"menuId": 1, "count": -1}, "dishs.0.count: expected greater than or equal to 1, got -1"),
        ({"menuId": 1, "count": 10_001}, "dishs.0.count: expected less than or equal to 10000, got 10001"),
        ({"menuId": 1}, "dishs.0.count: expected a value, got nothing"),
        ("x", "dishs.0: expected"),
    ],
)
def test_a_wrong_dish_is_refused_by_its_place(ask, guest, dish, reason):
    answer = ask(ORDER, guest, order_of(guest, dishs=[dish]))
    assert answer.status == 400
    assert answer.json["error"].startswith(reason)


def test_only_what_is_wrong_about_the_dishes_is_told(ask, guest):
    one = ask(ORDER, guest, order_of(guest, dishs=[{"menuId": 0, "count": 1}])).json
    assert one == error("dishs.0.menuId: expected greater than or equal to 1, got 0")
    none = ask(ORDER, guest, order_of(guest, dishs=[])).json
    assert none == error("dishs: expected 1 to 100 dishes, got a list")


def test_a_refused_order_leaves_nothing(ask, guest, database):
    ask(ORDER, guest, order_of(guest, deliveryDate="31.02.2023"))
    rows = database("order").rows('SELECT order_id FROM "order".orders WHERE username = :name', name=guest.username)
    assert rows == []


# What the public host does not show


@pytest.mark.parametrize("path", sorted({path for one in load() if one.caller == "internal" for path in one.paths}))
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_internal_paths_are_unknown_to_the_public_host(gateway, admin_token, path, method):
    answer = gateway.request(method, path, json={}, token=admin_token)
    assert answer.status == 404
    assert without(answer.json, "timestamp") == {"status": 404, "error": "Not Found", "path": path}


@pytest.mark.parametrize("name", [one.name for one in load()])
@pytest.mark.parametrize("prefix", ["/function/", "/async-function/", "/"])
def test_no_function_is_reached_by_its_name_on_the_public_host(gateway, admin_token, prefix, name):
    assert gateway.post(prefix + name, json={}, token=admin_token).status == 404


@pytest.mark.parametrize(
    "path",
    [
        f"{ADD}//",
        ADD.upper(),
        "/nosuch",
        "/",
        "/_/ready",
    ],
)
def test_a_path_that_is_nobodys_is_unknown(gateway, guest, path):
    answer = gateway.post(path, json={"username": guest.username, "amount": 1}, token=guest.token)
    assert answer.status == 404


# The internal endpoints


@pytest.mark.parametrize("name", INTERNAL)
def test_an_internal_function_is_only_posted_to(system, name):
    answer = system.function(name).get()
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize("name", INTERNAL)
@pytest.mark.parametrize("text", ['{"username": ', "", '"text"', "7", '{"username": 7, "orderIds": 7}'])
def test_an_internal_function_refuses_what_it_cannot_read(system, name, text):
    answer = system.function(name).post(data=text, headers=as_json())
    assert (answer.status, answer.json["status"]) == (400, "ERROR")
    assert "expected" in answer.json["error"]


@pytest.mark.parametrize("name", INTERNAL)
def test_an_internal_function_takes_json_only(system, name):
    assert system.function(name).post(data="{}", headers={"Content-Type": "text/plain"}).status == 415


@pytest.mark.parametrize("name", INTERNAL)
def test_an_internal_function_refuses_a_huge_body(system, name):
    assert system.function(name).post(json=["x" * 2_000_000]).status == 413


def test_a_new_client_has_nothing_and_may_be_made_again(internal):
    name = uuid.uuid4().hex
    assert internal("billing-client-create", {"username": name}).text == '{"status":"OK","error":""}'
    internal("billing-internal-add", {"username": name, "amount": 5})
    assert internal("billing-client-create", {"username": name}).json == OK
    assert '"amount":5.00' in internal("billing-internal-get", {"username": name}).text


@pytest.mark.parametrize("name", ["", "  ", "x" * 51, None, 7])
def test_a_client_needs_a_name_that_can_be_one(internal, name):
    answer = internal("billing-client-create", {"username": name})
    assert answer.status == 400
    assert answer.json["error"].startswith("username: expected")


def test_the_internal_doors_move_any_clients_money(internal, guest, balance):
    body = {"username": guest.username, "amount": "10.50"}
    assert internal("billing-internal-add", body).text == '{"status":"OK","error":""}'
    assert internal("billing-internal-withdraw", body | {"amount": 0.25}).json == OK
    assert internal("billing-internal-withdraw", body).json == error("Not enough money")
    assert balance(guest) == "10.25"


def test_an_unknown_client_is_not_found(internal):
    body = {"username": "nosuch", "amount": 1}
    assert internal("billing-internal-add", body).json == error("Client not found")
    assert internal("billing-internal-withdraw", body).json == error("Client not found")
    answer = internal("billing-internal-get", body).json
    assert list(answer) == [*ENVELOPE, "username", "amount"]
    assert list(without(answer, "operationTime").values()) == [-9000, "Client not found", None, None]


def test_a_client_without_a_balance_is_not_found(gateway, signed):
    name = uuid.uuid4().hex
    body, token = {"username": name, "amount": 1}, signed(user_name=name)
    assert gateway.post(ADD, json=body, token=token).json == error("Client not found")
    assert gateway.post(WITHDRAW, json=body, token=token).json == error("Client not found")
    assert gateway.post(GET, json=body, token=token).json["errorCode"] == -9000


def test_mails_of_nobody_are_none(internal):
    answer = internal("notification-find-email", {"username": "nosuch"}).json
    assert list(answer) == [*ENVELOPE, "emails"]
    assert (answer["errorCode"], answer["emails"]) == (0, [])


def test_the_orders_without_mail_are_told(internal, ask, guest, ended):
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


# Balances


@pytest.mark.parametrize("path", [ADD, PUBLISHED_ADD])
def test_added_money_is_there(pay_in, guest, balance, path):
    assert pay_in(guest, 1000, path).text == '{"status":"OK","error":""}'
    assert balance(guest) == "1000.00"


def test_a_balance_is_told_with_its_owner_and_two_places(ask, guest):
    answer = ask(GET, guest, {"username": guest.username})
    assert answer.headers["Content-Type"] == "application/json"
    assert list(answer.json) == [*ENVELOPE, "username", "amount"]
    assert TIME.fullmatch(answer.json["operationTime"])
    assert answer.text.startswith('{"errorCode":0,"errorMessage":"","operationTime":"')
    assert answer.text.endswith(f'"username":"{guest.username}","amount":0.00}}')


def test_money_in_and_out_leaves_the_difference(pay_in, take_out, guest, balance):
    pay_in(guest, 1000)
    pay_in(guest, "6.51")
    assert take_out(guest, 71.73).text == '{"status":"OK","error":""}'
    assert balance(guest) == "934.78"


WRONG_AMOUNTS = [
    ("0", "expected an amount above zero"),
    ("-0.0", "expected an amount above zero"),
    ("-1", "expected an amount above zero"),
    ('"-0.01"', "expected an amount above zero"),
    ("1.005", "expected a number with at most two places"),
    ("0.001", "expected a number with at most two places"),
    ('"1.005"', "expected a number with at most two places"),
    ("1e-3", "expected a number with at most two places"),
    ("1e400", "expected a number with at most two places"),
    ("1" * 400, "expected a number with at most two places"),
    ("10000000000", "expected a number with at most two places"),
    ('"NaN"', "expected a number with at most two places"),
    ('"Infinity"', "expected a number with at most two places"),
    ("true", "expected a number with at most two places"),
    ('"abc"', "expected a number with at most two places"),
    ('""', "expected a number with at most two places"),
    ("null", "expected a number with at most two places"),
    ("[1]", "expected a number with at most two places"),
    ('{"value":1}', "expected a number with at most two places"),
]


@pytest.mark.parametrize("path", SIMPLE)
@pytest.mark.parametrize(("amount", "reason"), WRONG_AMOUNTS)
def test_an_amount_that_is_none_is_refused(gateway, signed, path, amount, reason):
    user = User("somebody", "", "", signed())
    text = json.dumps(good_body(path, user) | {"amount": "?"}).replace('"?"', amount)
    answer = gateway.post(path, data=text, headers=as_json(), token=user.token)
    assert (answer.status, answer.json["status"]) == (400, "ERROR")
    assert answer.json["error"].startswith(f"amount: {reason}")


@pytest.mark.parametrize("path", SIMPLE)
@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_words_that_json_does_not_know_are_no_amounts(gateway, guest, path, word):
    text = json.dumps(good_body(path, guest) | {"amount": "?"}).replace('"?"', word)
    answer = gateway.post(path, data=text, headers=as_json(), token=guest.token)
    assert answer.status == 400
    assert answer.json["error"].startswith("expected JSON")


@pytest.mark.parametrize(
    ("amount", "expected"),
    [("5.50", "5.50"), (5, "5.00"), ("1e2", "100.00"), (0.1, "0.10"), ("0.01", "0.01"), (LARGEST, LARGEST)],
)
def test_an_amount_may_be_a_number_or_one_in_a_string(pay_in, guest, balance, amount, expected):
    assert pay_in(guest, amount).json == OK
    assert balance(guest) == expected


def test_ten_times_ten_hundredths_are_one(pay_in, guest, balance):
    for _ in range(10):
        pay_in(guest, 0.10)
    assert balance(guest) == "1.00"


def test_many_additions_at_once_are_all_there(pay_in, guest, balance):
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda cents: pay_in(guest, f"0.{cents:02}"), range(1, 100)))
    assert [answer.json for answer in answers] == [OK] * 99
    assert balance(guest) == "49.50"


def test_more_than_there_is_cannot_be_withdrawn(pay_in, take_out, guest, balance):
    pay_in(guest, "10.00")
    answer = take_out(guest, "10.01")
    assert (answer.status, answer.json) == (200, error("Not enough money"))
    assert take_out(guest, "10.00").json == OK
    assert balance(guest) == "0.00"


def test_a_full_balance_takes_no_more(pay_in, guest, balance):
    pay_in(guest, "9999999999.98")
    full = error(f"Too much money: a balance holds {LARGEST} at the most")
    assert pay_in(guest, "0.02").json == full
    assert pay_in(guest, LARGEST, PUBLISHED_ADD).json == full
    assert pay_in(guest, "0.01").json == OK
    assert balance(guest) == LARGEST


def test_of_fifty_withdrawals_of_the_last_money_at_once_as_many_succeed_as_it_pays_for(
    new_user, take_out, balance, database
):
    user = new_user(balance="7.50")
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: take_out(user, 1), range(50)))
    assert Counter(answer.json["error"] for answer in answers) == {"": 7, "Not enough money": 43}
    assert balance(user) == "0.50"
    moved = database("billing").value(
        "SELECT sum(amount) FROM billing.movements WHERE username = :name AND kind = 'withdraw'", name=user.username
    )
    assert moved == Decimal("7.00")


# Orders


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


# Where an order stands

STATE = [
    "orderId", "msgId", "amount", "status", "reason", "payStatus", "storeStatus", "deliveryStatus",
    "acceptedAt", "endedAt", "needsAttention",
]  # fmt: skip
MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}\+00:00")


def test_a_canceled_order_tells_why(ask, guest, ended):
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
def test_a_completed_order_is_told_with_its_three_steps(ask, new_user, ended):
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


# Menu, couriers, mails


def test_the_menu_shows_every_dish_with_its_price(ask, guest):
    answer = ask(MENU, guest, {})
    assert list(answer.json) == [*ENVELOPE, "dishs"]
    dishes = [dish for dish in answer.json["dishs"] if dish["menuId"] <= 5]
    assert [list(dish) for dish in dishes] == [["menuId", "name", "description", "weight", "price", "inStock"]] * 5
    assert [(dish["menuId"], dish["name"], dish["price"], dish["weight"]) for dish in dishes] == [
        (1, "Дорадо на мангале", 39.0, 375),
        (2, "Люля-кебаб из телятины", 26.0, 245),
        (3, "Люля-кебаб из ягненка", 26.0, 235),
        (4, "Овощи на мангале", 15.0, 172),
        (5, "Шашлык рибай из молочного ягнёнка", 29.0, 295),
    ]
    assert all(dish["description"] for dish in dishes)
    assert '"price":39.00,"inStock":' in answer.text


@pytest.mark.usefixtures("restocked")
def test_the_menu_shows_what_is_left(ask, new_user, ended):
    user = new_user(balance=100)
    before = {dish["menuId"]: dish["inStock"] for dish in ask(MENU, user, {}).json["dishs"]}
    ended(user, ask(ORDER, user, order_of(user)).json["orderId"])
    after = {dish["menuId"]: dish["inStock"] for dish in ask(MENU, user, {}).json["dishs"]}
    assert {id: before[id] - after[id] for id in (1, 2, 3, 4, 5)} == {1: 2, 2: 0, 3: 0, 4: 1, 5: 0}


@pytest.mark.usefixtures("restocked")
def test_every_hour_tells_its_free_couriers(ask, new_user, ended):
    user = new_user(balance=100)
    order = order_of(user, deliveryHour=7)
    ended(user, ask(ORDER, user, order).json["orderId"])
    answer = ask(SLOTS, user, {"date": order["deliveryDate"]})
    assert list(answer.json) == [*ENVELOPE, "date", "slots"]
    assert answer.json["date"] == order["deliveryDate"]
    assert answer.json["slots"] == [{"hour": hour, "free": 2 if hour == 7 else 3} for hour in range(24)]


def test_who_has_not_ordered_has_no_mails(ask, guest):
    answer = ask(MAILS, guest, {"username": guest.username})
    assert list(answer.json) == [*ENVELOPE, "emails"]
    assert (answer.json["errorCode"], answer.json["errorMessage"], answer.json["emails"]) == (0, "", [])


def test_an_ended_order_is_told_by_a_mail_at_both_endpoints(ask, internal, guest):
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
def test_mails_are_told_oldest_first(ask, pay_in, guest, ended):
    ended(guest, ask(ORDER, guest, order_of(guest)).json["orderId"])
    expected = eventually(lambda: ask(MAILS, guest, {"username": guest.username}).json["emails"], "the first mail")
    pay_in(guest, 100)
    ask(ORDER, guest, order_of(guest))

    def both():
        mails = ask(MAILS, guest, {"username": guest.username}).json["emails"]
        return len(mails) == 2 and mails

    mails = eventually(both, "the second mail")
    assert (mails[0], mails[1]["message"]) == (expected[0], "Заказ успешно создан")


# Health


def test_the_whole_is_up(gateway):
    answer = gateway.get("/health")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/vnd.spring-boot.actuator.v3+json"
    assert answer.text == '{"status":"UP","groups":["liveness","readiness"]}'


def test_readiness_names_the_parts(gateway):
    answer = gateway.get("/health/readiness")
    assert answer.status == 200
    assert answer.text == '{"status":"UP","components":{"database":{"status":"UP"},"broker":{"status":"UP"}}}'


@pytest.mark.parametrize(
    ("setting", "part"),
    [
        ({"BROKER_URL": "http://127.0.0.1:1"}, "broker"),
        ({"DATABASE_URL": "postgresql://x:x@127.0.0.1:1/x"}, "database"),
    ],
)
def test_a_part_that_is_down_is_named_and_takes_the_whole_down(started_alone, setting, part):
    health = started_alone("ops", "health", **setting)
    answer = health.get("/health/readiness")
    assert (answer.status_code, answer.json["status"]) == (503, "DOWN")
    other = {"broker": "database", "database": "broker"}[part]
    assert answer.json["components"] == {part: {"status": "DOWN"}, other: {"status": "UP"}}
    assert health.get("/health").json == {"status": "DOWN", "groups": ["liveness", "readiness"]}


@pytest.mark.parametrize(("answer", "state"), [(200, "UP"), (404, "UP"), (405, "UP"), (500, "DOWN"), (503, "DOWN")])
def test_a_broker_is_up_when_somebody_takes_events_there(started_alone, answer, state):
    ingress = FakeFunction(lambda _: (answer, {}, b"")).start()
    health = started_alone("ops", "health", BROKER_URL=ingress.url)
    assert health.get("/health/readiness").json["components"]["broker"] == {"status": state}
    assert [call.path for call in ingress.calls] == ["/health"]
    ingress.stop()


def test_there_is_no_info(gateway):
    answer = gateway.get("/info")
    assert (answer.status, answer.text) == (200, "{}")
    assert answer.headers["Content-Type"] == "application/vnd.spring-boot.actuator.v3+json"
