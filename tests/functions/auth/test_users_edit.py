"""The administration of users: changed, deleted, switched off, with another password; the roles."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.clients import ADMIN, API, as_json, claims_in, person, without
from tests.functions.auth.accounts import NOBODY, NOT_FOUND, UNREACHABLE, USER, account, fine, refused


def test_an_edit_changes_what_is_given_and_leaves_the_rest(administer, made):
    facts = made()
    edited = administer("POST", "/users/edit", {"username": facts["username"], "firstName": "E"})
    assert edited == fine(account(facts, firstName="E"))
    assert administer("GET", f"/users/{facts['id']}") == edited


def test_an_edit_of_a_password_ends_the_logins(administer, made, log_in, refresh):
    facts = made()
    token = log_in(facts).json["refresh_token"]
    administer("POST", "/users/edit", {"username": facts["username"], "password": "other"})
    assert refresh(token).json["status"] == "ERROR"
    assert log_in(facts).json["status"] == "ERROR"
    assert "access_token" in log_in(facts, password="other").json


def test_an_edit_of_anything_else_leaves_the_logins(administer, made, log_in, refresh):
    facts = made()
    token = log_in(facts).json["refresh_token"]
    administer("POST", "/users/edit", {"username": facts["username"], "lastName": "L"})
    assert "access_token" in refresh(token).json


def test_an_edit_replaces_the_roles_and_opens_the_balance_of_a_new_client(administer, made, database):
    facts = made(roles=[{"id": 1}])
    edited = administer("POST", "/users/edit", {"username": facts["username"], "roles": [USER]})
    assert edited == fine(account(facts))
    opened = "SELECT balance FROM billing.clients WHERE username = :name"
    assert len(database("billing").rows(opened, name=facts["username"])) == 1
    bare = administer("POST", "/users/edit", {"username": facts["username"], "roles": []})
    assert bare == fine(account(facts, roles=[]))


def test_nobody_becomes_a_client_while_billing_is_away(administer, alone, made, admin_token):
    facts = made(roles=[{"id": 1}])
    answer = alone("users_edit", **UNREACHABLE).post(
        f"{ADMIN}/users/edit",
        json={"username": facts["username"], "firstName": "E", "roles": [USER]},
        headers={"Authorization": f"Bearer {admin_token}"},
    )
    assert (answer.status_code, answer.json["errorCode"]) == (503, -700)
    admin = [{"id": 1, "name": "ROLE_ADMIN"}]
    assert administer("GET", f"/users/{facts['id']}") == fine(account(facts, roles=admin))


@contextmanager
def alone_as_administrators(auth, *some):
    """All other administrators are disabled for the time being."""
    others = "UPDATE auth.users SET enabled = :on WHERE id IN (SELECT user_id FROM auth.user_roles WHERE role_id = 1)"
    ids = [facts["id"] for facts in some]
    auth.rows(f"{others} AND id <> ALL(:ids)", on=False, ids=ids)
    try:
        yield
    finally:
        auth.rows(others, on=True)


def test_the_last_administrator_keeps_its_role(administer, made, database):
    facts = made(roles=[{"id": 1}])
    with alone_as_administrators(database("auth"), facts):
        kept = administer("POST", "/users/edit", {"username": facts["username"], "roles": [USER]})
    assert kept == refused(-503, "The last administrator keeps ROLE_ADMIN")
    admin = [{"id": 1, "name": "ROLE_ADMIN"}]
    assert administer("GET", f"/users/{facts['id']}") == fine(account(facts, roles=admin))


def test_two_administrators_cannot_take_the_role_from_each_other_at_once(administer, made, database):
    auth, both = database("auth"), [made(roles=[{"id": 1}]), made(roles=[{"id": 1}])]
    bare = [{"username": facts["username"], "roles": []} for facts in both]
    with alone_as_administrators(auth, *both), ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda change: administer("POST", "/users/edit", change), bare))
    left = "SELECT count(*) FROM auth.user_roles WHERE role_id = 1 AND user_id = ANY(:ids)"
    assert auth.value(left, ids=[facts["id"] for facts in both]) == 1


def test_an_edit_of_an_unknown_user_finds_nobody(administer):
    assert administer("POST", "/users/edit", person()) == list(NOT_FOUND.items())
    assert administer("POST", "/users/edit", person(roles=[USER])) == list(NOT_FOUND.items())


def test_an_edit_does_not_take_over_a_phone(administer, made):
    facts, other = made(), made()
    edit = {"username": facts["username"], "mobilePhone": other["mobilePhone"]}
    assert administer("POST", "/users/edit", edit) == refused(-700, "Duplicate mobilePhone")


def test_deleted_users_are_gone_from_everywhere(administer, made, log_in, refresh):
    one, two = made(), made()
    token = log_in(one).json["refresh_token"]
    assert administer("DELETE", "/users", [one["id"], two["id"]]) == fine({"isSuccessful": True})
    assert administer("GET", f"/users/{one['id']}") == list(NOT_FOUND.items())
    listed = dict(administer("GET", "/users"))["users"]
    assert not {one["id"], two["id"]} & {user["id"] for user in listed}
    assert log_in(one).json == {"status": "ERROR", "error": "Wrong password or login"}
    assert refresh(token).json["status"] == "ERROR"


def test_a_deleted_user_leaves_its_name_to_nobody_and_its_phone_to_anybody(administer, made, gateway):
    facts = made()
    administer("DELETE", "/users", [facts["id"]])
    again = gateway.post(f"{API}/auth/registration", json=without(facts, "id"))
    assert again.json == {"status": "ERROR", "error": "Duplicate username"}
    other = gateway.post(f"{API}/auth/registration", json=person(mobilePhone=facts["mobilePhone"]))
    assert other.json["status"] == "OK"


def test_a_deleted_user_leaves_no_personal_data(administer, made, database):
    facts = made()
    administer("DELETE", "/users", [facts["id"]])
    (left,) = database("auth").rows(
        "SELECT username, password, first_name, middle_name, last_name, email, mobile_phone"
        "  FROM auth.users WHERE id = :id",
        id=facts["id"],
    )
    assert list(left) == [facts["username"], None, None, None, None, None, None]


def test_administrators_are_never_deleted_but_the_others_are(administer, made):
    admin, client = made(roles=[{"id": 1}]), made()
    assert administer("DELETE", "/users", [admin["id"], client["id"]]) == fine({"isSuccessful": False})
    assert dict(administer("GET", f"/users/{admin['id']}"))["errorCode"] == 0
    assert dict(administer("GET", f"/users/{client['id']}"))["errorCode"] == -502


@pytest.mark.parametrize("ids", [[], [NOBODY], [NOBODY, NOBODY]])
def test_who_is_absent_is_deleted(administer, ids):
    assert administer("DELETE", "/users", ids) == fine({"isSuccessful": True})


@pytest.mark.parametrize("body", [{"ids": [7]}, ["x"], [0], [True], [2**63], "7", None, [[1]]])
def test_what_is_no_list_of_ids_is_refused(gateway, admin_token, body):
    answer = gateway.request("DELETE", f"{ADMIN}/users", data=json.dumps(body), headers=as_json(), token=admin_token)
    assert answer.status == 400
    assert list(answer.json) == ["timestamp", "status", "error", "message", "path"]
    assert "expected" in answer.json["message"]


def test_a_disabled_user_is_out_until_it_is_enabled(administer, made, log_in, refresh):
    facts = made()
    token = log_in(facts).json["refresh_token"]
    id = facts["id"]
    assert administer("POST", f"/users/{id}/false") == fine({"id": id, "isEnabled": False})
    assert log_in(facts).json == {"status": "ERROR", "error": "Wrong password or login"}
    assert administer("POST", f"/users/{id}/true") == fine({"id": id, "isEnabled": True})
    assert "access_token" in log_in(facts).json
    assert refresh(token).json["status"] == "ERROR"


def test_an_administrator_can_be_enabled_but_not_disabled(administer, made):
    id = made(roles=[{"id": 1}])["id"]
    assert administer("POST", f"/users/{id}/true") == fine({"id": id, "isEnabled": True})
    assert administer("POST", f"/users/{id}/false") == [
        ("errorCode", -503),
        ("errorMessage", "Admin user can not be disabled"),
        ("id", None),
        ("isEnabled", None),
    ]


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_an_unknown_user_is_neither_enabled_nor_disabled(administer, enabled):
    assert administer("POST", f"/users/{NOBODY}/{enabled}") == [
        ("errorCode", -502),
        ("errorMessage", "User not found"),
        ("id", None),
        ("isEnabled", None),
    ]


@pytest.mark.parametrize(
    ("path", "named"), [("abc/true", "id: expected"), ("1/maybe", "enabled: expected a valid boolean")]
)
def test_a_wrong_path_of_the_switch_is_refused_by_its_part(gateway, admin_token, path, named):
    answer = gateway.post(f"{ADMIN}/users/{path}", token=admin_token)
    assert answer.status == 400
    assert answer.json["message"].startswith(named)


def test_a_new_password_replaces_the_old_one_and_ends_the_logins(administer, made, log_in, refresh):
    facts = made()
    token = log_in(facts).json["refresh_token"]
    answered = administer("POST", "/password", {"id": facts["id"], "password": "n"})
    assert answered == fine({"id": facts["id"], "changed": True})
    assert log_in(facts).json["status"] == "ERROR"
    assert "access_token" in log_in(facts, password="n").json
    assert refresh(token).json["status"] == "ERROR"


def test_nobodys_password_is_not_changed(administer):
    assert administer("POST", "/password", {"id": NOBODY, "password": "n"}) == [
        ("errorCode", -502),
        ("errorMessage", "User not found"),
        ("id", None),
        ("changed", None),
    ]


def test_the_two_roles_are_listed_first(administer):
    fields = administer("GET", "/roles")
    assert fields[:2] == fine({})
    assert fields[2][0] == "roles"
    assert fields[2][1][:2] == [{"id": 1, "name": "ROLE_ADMIN"}, USER]


def test_a_new_role_can_be_given_once_it_is_made(administer, made, log_in):
    name = f"ROLE_{uuid.uuid4().hex}"
    answered = administer("POST", "/roles", {"name": name})
    assert answered == fine({"id": dict(answered)["id"], "name": name})
    assert administer("POST", "/roles", {"name": name}) == [
        ("errorCode", -700),
        ("errorMessage", "Duplicate role"),
        ("id", None),
        ("name", None),
    ]
    token = log_in(made(roles=[{"name": name}])).json["access_token"]
    assert claims_in(token)["authorities"] == [name]
