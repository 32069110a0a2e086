"""The caller's own data: found and changed."""

import pytest

from tests.clients import ADMIN, API, TIME, person, without


def test_a_user_finds_itself(gateway, register, log_in):
    facts = register()
    token = log_in(facts).json["access_token"]
    answer = gateway.post(f"{API}/external/user/find", json={"username": facts["username"]}, token=token)
    answered = answer.json
    assert answer.status == 200
    assert TIME.fullmatch(answered["operationTime"])
    assert list(answered.items()) == [
        ("errorCode", 0),
        ("errorMessage", ""),
        ("operationTime", answered["operationTime"]),
        *without(facts, "password").items(),
    ]


@pytest.mark.parametrize("body", [{}, {"username": None}, {"username": "admin"}])
def test_a_user_finds_nobody_else(gateway, new_user, body):
    answer = gateway.post(f"{API}/external/user/find", json=body, token=new_user().token)
    assert answer.status == 200
    assert without(answer.json, "operationTime") == {
        "errorCode": -8511,
        "errorMessage": "Access denied",
        "username": None,
        "firstName": None,
        "middleName": None,
        "lastName": None,
        "email": None,
        "mobilePhone": None,
    }


def test_a_user_changes_its_data(gateway, register, log_in):
    facts = register()
    token = log_in(facts).json["access_token"]
    changed = person(username=facts["username"], firstName="Новый", middleName="")
    answer = gateway.post(f"{API}/external/user/edit", json=without(changed, "password"), token=token)
    assert (answer.status, answer.json) == (200, {"status": "OK", "error": ""})
    found = gateway.post(f"{API}/external/user/find", json={"username": facts["username"]}, token=token).json
    assert found.items() >= without(changed, "password").items()


def test_a_missing_middle_name_stays(gateway, register, log_in):
    facts = register(middleName="Сергеевич")
    token = log_in(facts).json["access_token"]
    gateway.post(f"{API}/external/user/edit", json=without(facts, "password", "middleName"), token=token)
    found = gateway.post(f"{API}/external/user/find", json={"username": facts["username"]}, token=token).json
    assert found["middleName"] == "Сергеевич"


def test_a_user_changes_nobody_else(gateway, register, new_user):
    other = register()
    answer = gateway.post(f"{API}/external/user/edit", json=other, token=new_user().token)
    assert (answer.status, answer.json) == (200, {"status": "ERROR", "error": "Access denied"})


def test_a_user_does_not_take_over_a_phone(gateway, register, log_in):
    facts, other = register(), register()
    token = log_in(facts).json["access_token"]
    changed = facts | {"mobilePhone": other["mobilePhone"], "firstName": "Changed"}
    answer = gateway.post(f"{API}/external/user/edit", json=changed, token=token)
    assert (answer.status, answer.json) == (200, {"status": "ERROR", "error": "Duplicate mobilePhone"})
    found = gateway.post(f"{API}/external/user/find", json={"username": facts["username"]}, token=token).json
    assert found["firstName"] == facts["firstName"]


@pytest.mark.parametrize("field", ["username", "firstName", "lastName", "email", "mobilePhone"])
def test_an_edit_without_a_field_is_refused_by_its_name(gateway, new_user, field):
    answer = gateway.post(f"{API}/external/user/edit", json=without(person(), field), token=new_user().token)
    assert answer.status == 400
    assert answer.json == {"status": "ERROR", "error": f"{field}: expected a value, got nothing"}


def test_a_deleted_user_with_a_living_token_is_not_found(gateway, made, signed, admin_token):
    facts = made()
    # Of a version that no list revokes: whether it is known already that the others are does not matter here.
    token = signed(user_name=facts["username"], ver=1000)
    gateway.delete(f"{ADMIN}/users", json=[facts["id"]], token=admin_token)
    found = gateway.post(f"{API}/external/user/find", json={"username": facts["username"]}, token=token).json
    assert (found["errorCode"], found["errorMessage"]) == (-9000, "Client not found")
    edited = gateway.post(f"{API}/external/user/edit", json=without(facts, "id"), token=token)
    assert edited.json == {"status": "ERROR", "error": "Client not found"}
