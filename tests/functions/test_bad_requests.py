"""Requests that every REST method other than auth's refuses: no token, malformed, too large, in another's name."""

import time

import pytest

from tests.clients import as_json, order_of, without
from tests.functions.paths import (
    BEARER,
    ENVELOPE,
    ENVELOPES,
    FIND,
    GET,
    INTERNAL,
    LIST,
    MAILS,
    MOVES,
    OPEN,
    ORDER,
    SIMPLE,
    SLOTS,
    error,
    good_body,
)
from triggers.stack import load


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
def test_in_anothers_name_nothing_is_shown(ask, guest, new_user, path):
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
        ({"menuId": "x", "count": 1}, "dishs.0.menuId: expected a whole number"),
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


def test_only_what_is_wrong_about_the_dishes_is_reported(ask, guest):
    one = ask(ORDER, guest, order_of(guest, dishs=[{"menuId": 0, "count": 1}])).json
    assert one == error("dishs.0.menuId: expected greater than or equal to 1, got 0")
    none = ask(ORDER, guest, order_of(guest, dishs=[])).json
    assert none == error("dishs: expected 1 to 100 dishes, got a list")


def test_a_refused_order_leaves_nothing(ask, guest, database):
    ask(ORDER, guest, order_of(guest, deliveryDate="31.02.2023"))
    rows = database("order").rows('SELECT order_id FROM "order".orders WHERE username = :name', name=guest.username)
    assert rows == []
