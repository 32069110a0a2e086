"""The internal endpoints of billing."""

import uuid

import pytest

from tests.clients import without
from tests.functions.paths import ADD, ENVELOPE, GET, OK, WITHDRAW, error


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


def test_the_internal_endpoints_move_any_clients_money(internal, guest, balance):
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
