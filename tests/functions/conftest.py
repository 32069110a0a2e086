"""A client of the system, and what it asks for."""

import re

import pytest

from tests.functions.paths import (
    ADD,
    FIND,
    GET,
    WITHDRAW,
)
from tests.system import eventually


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
