"""Balances: money in, money out, exact and never below zero."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from tests.clients import TIME, as_json
from tests.conftest import User
from tests.functions.paths import (
    ADD,
    ENVELOPE,
    GET,
    LARGEST,
    OK,
    PUBLISHED_ADD,
    SIMPLE,
    error,
    good_body,
)


@pytest.mark.parametrize("path", [ADD, PUBLISHED_ADD])
def test_added_money_is_there(pay_in, guest, balance, path):
    assert pay_in(guest, 1000, path).text == '{"status":"OK","error":""}'
    assert balance(guest) == "1000.00"


def test_a_balance_has_its_owner_and_two_places(ask, guest):
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
