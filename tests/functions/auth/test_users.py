"""The administration of users: listed, shown and made."""

import pytest

from tests.clients import ADMIN, API, claims_in, person, without
from tests.functions.auth.accounts import NOBODY, NOT_FOUND, UNREACHABLE, USER, account, fine, refused, timeless


def test_all_users_are_listed_by_id(administer, made):
    one, two = made(), made()
    users, page = [], 0
    while found := dict(administer("GET", f"/users?page={page}"))["users"]:
        users, page = users + found, page + 1
    ids = [user["id"] for user in users]
    assert ids == sorted(ids)
    answered = {user["id"]: list(user.items()) for user in users}
    assert answered[one["id"]] == list(without(account(one), "password").items())
    assert answered[two["id"]] == list(without(account(two), "password").items())


def test_the_first_administrator_is_there(administer):
    fields = dict(administer("GET", "/users"))
    admin = next(user for user in fields["users"] if user["username"] == "admin")
    assert admin["roles"] == [{"id": 1, "name": "ROLE_ADMIN"}]


def test_a_user_is_shown_by_id(administer, made):
    facts = made()
    assert administer("GET", f"/users/{facts['id']}") == fine(account(facts))


def test_an_unknown_id_is_not_found(administer):
    assert administer("GET", f"/users/{NOBODY}") == list(NOT_FOUND.items())


@pytest.mark.parametrize("id", ["abc", "0", "-1", "1.5", "99999999999999999999", "%00"])
def test_what_is_no_id_is_refused(gateway, admin_token, id):
    answer = gateway.get(f"{ADMIN}/users/{id}", token=admin_token)
    assert answer.status == 400
    assert list(answer.json) == ["timestamp", "status", "error", "message", "path"]
    assert answer.json["message"].startswith("id: expected")


def test_a_user_is_shown_by_name(administer, made):
    facts = made()
    assert administer("GET", f"/users/username/{facts['username']}") == fine(without(facts, "id", "password"))


@pytest.mark.parametrize("name", ["nosuch", "%D0%BD%D0%B5%D1%82", "a%20b"])
def test_an_unknown_name_is_answered_empty(administer, name):
    empty = dict.fromkeys(["username", "firstName", "middleName", "lastName", "email", "mobilePhone"])
    assert administer("GET", f"/users/username/{name}") == fine(empty)


def test_a_made_user_is_shown_without_its_password_and_is_a_client(gateway, admin_token, log_in):
    facts = person()
    answer = gateway.post(f"{ADMIN}/users", json=facts, token=admin_token)
    assert timeless(answer) == fine(account(facts | {"id": answer.json["id"]}))
    token = log_in(facts).json["access_token"]
    balance = gateway.post(f"{API}/external/user/balance/get", json={"username": facts["username"]}, token=token)
    assert balance.json["errorCode"] == 0


@pytest.mark.parametrize(
    "roles",
    [
        [{"id": 1}, {"id": 2}],
        [{"name": "ROLE_USER"}, {"name": "ROLE_ADMIN"}],
        [{"id": 1, "name": "ROLE_ADMIN"}, USER, USER],
    ],
)
def test_roles_are_given_by_id_or_by_name(made, log_in, roles):
    token = log_in(made(roles=roles)).json["access_token"]
    assert claims_in(token)["authorities"] == ["ROLE_ADMIN", "ROLE_USER"]


def test_who_is_no_client_gets_no_balance(made, database):
    facts = made(roles=[{"id": 1}])
    opened = "SELECT balance FROM billing.clients WHERE username = :name"
    assert database("billing").rows(opened, name=facts["username"]) == []


def test_a_user_may_be_made_disabled(administer, made, log_in):
    facts = made(enabled=False)
    assert log_in(facts).json == {"status": "ERROR", "error": "Wrong password or login"}
    assert administer("GET", f"/users/{facts['id']}") == fine(account(facts, enabled=False))


def test_a_made_user_needs_a_name_and_a_phone_of_its_own(administer, made):
    facts = made()
    same_name, same_phone = person(username=facts["username"]), person(mobilePhone=facts["mobilePhone"])
    assert administer("POST", "/users", same_name) == refused(-700, "Duplicate username")
    assert administer("POST", "/users", same_phone) == refused(-700, "Duplicate mobilePhone")


@pytest.mark.parametrize(("role", "named"), [({"id": 999_999}, "999999"), ({"name": "ROLE_X"}, "ROLE_X")])
def test_an_unknown_role_is_refused_by_its_name(administer, made, role, named):
    facts = made()
    reason = f"Unknown role: {named}"
    assert administer("POST", "/users", person(roles=[USER, role])) == refused(-700, reason)
    edit = {"username": facts["username"], "roles": [role]}
    assert administer("POST", "/users/edit", edit) == refused(-700, reason)


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/users", without(person(), "email"), "email: expected a value"),
        ("/users", person(roles=[{}]), "roles.0: expected an id or a name"),
        ("/users", person(enabled="perhaps"), "enabled: expected a valid boolean"),
        ("/users/edit", {"firstName": "A"}, "username: expected a value"),
        ("/users/edit", {"username": "a", "email": "b"}, "email: expected"),
        ("/password", {"id": 1}, "password: expected a value"),
        ("/password", {"id": "x", "password": "y"}, "id: expected a whole number"),
        ("/password", {"id": 2**63, "password": "y"}, "id: expected"),
        ("/roles", {}, "name: expected a value"),
        ("/roles", {"name": " "}, "name: expected a text that is not blank"),
    ],
)
def test_a_wrong_field_in_the_administration_is_refused_by_its_name(gateway, admin_token, path, body, named):
    answer = gateway.post(ADMIN + path, json=body, token=admin_token)
    assert answer.status == 400
    assert answer.json["message"].startswith(named)


def test_a_user_made_while_billing_is_away_is_completed_later(alone, admin_token, log_in):
    facts = person()
    answer = alone("users_create", **UNREACHABLE).post(
        f"{ADMIN}/users", json=facts, headers={"Authorization": f"Bearer {admin_token}"}
    )
    assert answer.status_code == 503
    assert (answer.json["errorCode"], answer.json["id"]) == (-700, None)
    alone("finish_registrations").post("/")
    assert "access_token" in log_in(facts).json
