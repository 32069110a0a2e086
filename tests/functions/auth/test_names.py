"""One name in many forms: composed or not, with blanks around it, in capitals."""

import unicodedata
import uuid
from urllib.parse import quote

import pytest

from tests.clients import API, order_of, person
from tests.conftest import User


def composed(name):
    """As most keyboards type it."""
    return unicodedata.normalize("NFC", name)


def decomposed(name):
    """As some systems hand it on: letter and accent apart."""
    return unicodedata.normalize("NFD", name)


@pytest.fixture
def name():
    """A name of two forms that nobody has yet."""
    return f"Йосé-{uuid.uuid4().hex[:12]}"


FORMS = [composed, decomposed, lambda name: f" {name}", lambda name: f"{decomposed(name)}\u00a0 "]


@pytest.mark.parametrize("typed", FORMS)
@pytest.mark.parametrize("typed_before", FORMS)
def test_who_registers_in_one_form_acts_in_every_other(gateway, register, log_in, name, typed_before, typed):
    facts, who = register(username=typed_before(name)), {"username": typed(name)}
    token = log_in(facts, **who).json["access_token"]

    answer = gateway.post(f"{API}/external/user/balance/add", json=who | {"amount": 5}, token=token)
    assert {"status": "OK", "error": ""} == answer.json
    answer = gateway.post(f"{API}/external/user/balance/get", json=who, token=token)
    assert (composed(name), 5) == (answer.json["username"], answer.json["amount"])
    answer = gateway.post(f"{API}/external/user/find", json=who, token=token)
    assert composed(name) == answer.json["username"]


@pytest.mark.parametrize("typed", FORMS)
def test_a_name_that_is_taken_in_one_form_is_taken_in_all(gateway, register, name, typed):
    register(username=name)
    answer = gateway.post(f"{API}/auth/registration", json=person(username=typed(name)))
    assert "Duplicate username" == answer.json["error"]


def test_a_message_in_another_form_of_the_name_is_the_same_order(gateway, register, log_in, name):
    facts = register(username=name)
    token = log_in(facts).json["access_token"]
    order = order_of(User(composed(name), "", "", token))
    orders = [order, order | {"userName": decomposed(name)}]
    first, second = (gateway.post(f"{API}/external/order", json=one, token=token).json for one in orders)
    assert ("OK", first) == (first["status"], second)


def test_capitals_are_another_name(register, log_in, name):
    facts = register(username=name.lower())
    assert "Wrong password or login" == log_in(facts, username=name.upper()).json["error"]
    register(username=name.upper())


def test_who_came_when_names_were_kept_as_they_were_typed_stays(gateway, register, log_in, database, name):
    """Users of then: their stored name is in another form, and everything of theirs is found by it."""
    facts, old = register(username=name), decomposed(name) + " "
    for table in ("auth.users", "billing.clients"):
        change = f"UPDATE {table} SET username = :old WHERE username = :new"
        database("auth").rows(change, old=old, new=composed(name))
    token = log_in(facts, username=old).json["access_token"]
    for typed in (old, name):
        body = {"username": typed, "amount": 1}
        assert "OK" == gateway.post(f"{API}/external/user/balance/add", json=body, token=token).json["status"]
    answer = gateway.post(f"{API}/external/user/balance/get", json={"username": old}, token=token)
    assert (old, 2) == (answer.json["username"], answer.json["amount"])


def test_a_name_of_blanks_alone_is_none(gateway):
    answer = gateway.post(f"{API}/auth/registration", json=person(username="\u00a0 \u2003"))
    assert 400 == answer.status
    assert answer.json["error"].startswith("username: expected a text that is not blank")


def test_a_name_is_as_long_as_it_is_kept(gateway, register):
    # These letters are three each when they are composed.
    answer = gateway.post(f"{API}/auth/registration", json=person(username="\U0001d160" * 20))
    assert (400, True) == (answer.status, answer.json["error"].startswith("username: expected"))
    register(username=" " * 60 + uuid.uuid4().hex)


def test_administrators_find_a_user_by_any_form_of_its_name(administer, register, name):
    register(username=name)
    found = dict(administer("GET", f"/users/username/{quote(decomposed(name))}"))
    assert composed(name) == found["username"]
    changed = dict(administer("POST", "/users/edit", {"username": decomposed(name), "firstName": "Анна"}))
    assert (0, composed(name), "Анна") == (changed["errorCode"], changed["username"], changed["firstName"])
