"""Money that is held for an order can always go back, whatever has come onto the balance meanwhile."""

from decimal import Decimal

import pytest

from functions.billing.internal_add import internal_add
from functions.billing.internal_get import internal_get
from functions.billing.refund import refund
from functions.billing.withdraw import withdraw
from schemas.fields import LARGEST
from tests.kit import ask, event, send
from tools.audit import findings

RICH = "UPDATE billing.clients SET opening = 9999999999.99, balance = 9999999999.99"


def add(amount: object) -> dict:
    return ask(internal_add, f'{{"username": "user1", "amount": {amount}}}', Content_Type="application/json").json


def balance() -> Decimal:
    return ask(internal_get, '{"username": "user1"}', Content_Type="application/json").json["amount"]


@pytest.fixture
def rich(billing):
    billing.rows("DELETE FROM billing.movements")
    billing.rows("DELETE FROM billing.charges")
    billing.rows(RICH)
    return billing


@pytest.mark.usefixtures("rich")
def test_a_refund_fits_onto_a_balance_that_was_filled_up_again():
    assert 200 == send(withdraw, event("billing.withdraw", "a", data_={"amount": 9_999_999_999.99})).status
    assert "OK" == add(9_999_999_999.99)["status"]
    assert 200 == send(refund, event("billing.refund", "a")).status
    assert 2 * LARGEST == balance()


def test_what_is_above_the_largest_balance_can_be_spent_and_not_grow(rich):
    rich.rows("UPDATE billing.clients SET balance = 2 * 9999999999.99")
    assert "Too much money: a balance holds 9999999999.99 at the most" == add("0.01")["error"]
    reply = send(withdraw, event("billing.withdraw", "b", data_={"amount": 9_999_999_999.99}))
    assert ("Ok", LARGEST) == (reply.json["payStatus"], balance())


def test_the_audit_finds_money_that_would_not_fit_back(rich):
    send(withdraw, event("billing.withdraw", "a"))
    assert [] == refunds_that_do_not_fit(rich)
    rich.rows("ALTER TABLE billing.clients ALTER COLUMN balance TYPE numeric(12,2)")
    rich.rows("UPDATE billing.clients SET balance = 9999999999.99")
    (found,) = refunds_that_do_not_fit(rich)
    assert ("user1", Decimal("76.09")) == (found["username"], found["held"])
    rich.rows("ALTER TABLE billing.clients ALTER COLUMN balance TYPE numeric(38,2)")


def refunds_that_do_not_fit(rows) -> list[dict]:
    with rows.connected() as connection:
        return [found.row for found in findings(connection) if found.check == "refund_does_not_fit"]
