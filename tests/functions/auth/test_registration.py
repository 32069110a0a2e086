"""Registration: one user and one balance, or a clear refusal."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.clients import API, as_json, person, without


def test_a_registered_user_can_log_in_and_has_a_balance(gateway, register, log_in):
    facts = register()
    token = log_in(facts).json["access_token"]
    answer = gateway.post(f"{API}/external/user/balance/get", json={"username": facts["username"]}, token=token)
    assert (answer.json["errorCode"], answer.json["amount"]) == (0, 0)


def test_a_taken_name_is_a_duplicate_even_with_other_details(gateway, register):
    taken = register()["username"]
    answer = gateway.post(f"{API}/auth/registration", json=person(username=taken))
    assert (answer.status, answer.json) == (200, {"status": "ERROR", "error": "Duplicate username"})


def test_the_same_registration_again_is_a_duplicate_of_the_name(gateway, register):
    answer = gateway.post(f"{API}/auth/registration", json=register())
    assert (answer.status, answer.json) == (200, {"status": "ERROR", "error": "Duplicate username"})


def test_a_taken_phone_is_a_duplicate(gateway, register):
    answer = gateway.post(f"{API}/auth/registration", json=person(mobilePhone=register()["mobilePhone"]))
    assert (answer.status, answer.json) == (200, {"status": "ERROR", "error": "Duplicate mobilePhone"})


def test_of_twenty_registrations_of_one_name_at_once_one_succeeds(gateway, database):
    name = uuid.uuid4().hex
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: registered_as(gateway, name, n), range(20)))
    assert sorted(answer.json["error"] for answer in answers) == [""] + ["Duplicate username"] * 19
    (user,) = database("auth").rows("SELECT id FROM auth.accounts WHERE username = :name", name=name)
    assert user.id


def test_of_ten_equal_registrations_at_once_one_succeeds(gateway):
    facts = person()
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: gateway.post(f"{API}/auth/registration", json=facts), range(10)))
    assert sorted(answer.json["error"] for answer in answers) == [""] + ["Duplicate username"] * 9


def registered_as(gateway, name, number):
    """The answer to one of many registrations, all different but for the name."""
    return gateway.post(f"{API}/auth/registration", json=person(username=name, password=f"secret{number}"))


def test_the_middle_name_may_be_missing(gateway, log_in):
    facts = without(person(), "middleName")
    assert gateway.post(f"{API}/auth/registration", json=facts).json["status"] == "OK"
    assert log_in(facts).status == 200


@pytest.mark.parametrize("field", ["username", "password", "firstName", "lastName", "email", "mobilePhone"])
def test_a_registration_without_a_field_is_refused_by_its_name(gateway, field):
    answer = gateway.post(f"{API}/auth/registration", json=without(person(), field))
    assert answer.status == 400
    assert answer.json == {"status": "ERROR", "error": f"{field}: expected a value, got nothing"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", "x" * 51),
        ("username", " "),
        ("username", "a\u0000b"),
        ("username", 7),
        ("password", ""),
        ("password", "x" * 129),
        ("password", 123456),
        ("firstName", ""),
        ("firstName", None),
        ("middleName", "x" * 256),
        ("lastName", ["x"]),
        ("email", "nowhere"),
        ("email", f"{'x' * 255}@mail.ru"),
        ("mobilePhone", "call me"),
        ("mobilePhone", "1" * 40),
    ],
)
def test_a_registration_with_a_wrong_field_is_refused_by_its_name(gateway, field, value):
    answer = gateway.post(f"{API}/auth/registration", json=person(**{field: value}))
    assert answer.status == 400
    assert answer.json["error"].startswith(f"{field}: expected")


def test_a_refused_password_is_not_repeated(gateway):
    answer = gateway.post(f"{API}/auth/registration", json=person(password="geheim" * 30))
    assert "geheim" not in answer.text


def test_a_lone_surrogate_is_refused_and_harms_nothing(gateway):
    text = json.dumps(person()).replace('"firstName": "', '"firstName": "\\ud800')
    answer = gateway.request("POST", f"{API}/auth/registration", data=text, headers=as_json())
    assert answer.status == 400


def test_a_field_that_nobody_knows_is_ignored(gateway):
    assert gateway.post(f"{API}/auth/registration", json=person(nosuch=1)).json["status"] == "OK"


def test_a_password_of_any_letters_and_the_greatest_length_works(register, log_in):
    facts = register(password="пароль \u0000🔑 " + "x" * 118)
    assert log_in(facts).status == 200
    assert "access_token" in log_in(facts).json


@pytest.mark.parametrize("authorization", ["Bearer nonsense", "Basic bm9ib2R5OndyZWNr", "Bearer"])
def test_registration_and_login_ignore_who_asks(gateway, authorization):
    facts, headers = person(), {"Authorization": authorization}
    assert gateway.post(f"{API}/auth/registration", json=facts, headers=headers).json["status"] == "OK"
    assert "access_token" in gateway.post(f"{API}/auth/token", json=facts, headers=headers).json
