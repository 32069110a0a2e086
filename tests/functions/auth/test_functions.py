"""Users, tokens and their administration, asked through the gateway as clients do."""

import base64
import json
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from functions.auth import passwords, registrations
from tests.clients import ADMIN, API, FORM, JWT, TIME, as_json, claims_in, person, without

NOBODY = 9_000_000_000_000_000_000


@pytest.fixture
def register(gateway):
    """Register a person; gives what was sent."""

    def do(**changes):
        facts = person(**changes)
        assert gateway.post(f"{API}/auth/registration", json=facts).json == {"status": "OK", "error": ""}
        return facts

    return do


@pytest.fixture
def log_in(gateway):
    """Ask for tokens by name and password."""

    def do(facts, **changes):
        wanted = {"username": facts["username"], "password": facts["password"]} | changes
        return gateway.post(f"{API}/auth/token", json=wanted)

    return do


@pytest.fixture
def refresh(gateway):
    """Ask for tokens by refresh token."""
    return lambda token: gateway.post(f"{API}/auth/token", json={"refresh_token": token})


@pytest.fixture
def oauth(gateway, oauth_client):
    """Post a form with client credentials, by default the right ones."""

    def do(path, client=oauth_client, **fields):
        headers = {"Content-Type": FORM}
        if client:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(client).encode()).decode()
        return gateway.request("POST", path, data=urlencode(fields), headers=headers)

    return do


@pytest.fixture
def made(gateway, admin_token):
    """Make a user as administrator; gives what was sent, with the id."""

    def do(**changes):
        facts = person(**changes)
        answer = gateway.post(f"{ADMIN}/users", json=facts, token=admin_token)
        assert answer.json["errorCode"] == 0
        return facts | {"id": answer.json["id"]}

    return do


@pytest.fixture
def alone(started_alone):
    """Start one function of auth by itself, in an environment that a test may change."""
    return partial(started_alone, "auth")


# Every method's bad ones

PUBLIC = [
    ("POST", f"{API}/auth/registration"),
    ("POST", f"{API}/auth/token"),
]
BEARER = [
    ("POST", f"{API}/external/user/edit"),
    ("POST", f"{API}/external/user/find"),
]
ADMIN_BODY = [
    ("POST", f"{ADMIN}/users"),
    ("POST", f"{ADMIN}/users/edit"),
    ("DELETE", f"{ADMIN}/users"),
    ("POST", f"{ADMIN}/password"),
    ("POST", f"{ADMIN}/roles"),
]
ADMIN_NO_BODY = [
    ("GET", f"{ADMIN}/users"),
    ("GET", f"{ADMIN}/users/1"),
    ("GET", f"{ADMIN}/users/username/admin"),
    ("POST", f"{ADMIN}/users/1/true"),
    ("GET", f"{ADMIN}/roles"),
]
OAUTH = [
    ("POST", "/oauth/token"),
    ("POST", "/oauth/check_token"),
]
KEYS = [
    ("GET", "/oauth/token_key"),
    ("GET", "/.well-known/jwks.json"),
]
ADMINISTRATION = ADMIN_BODY + ADMIN_NO_BODY
WITH_TOKEN = BEARER + ADMINISTRATION


@pytest.mark.parametrize(("method", "path"), WITH_TOKEN)
def test_who_brings_no_token_is_asked_for_one(gateway, method, path):
    answer = gateway.request(method, path, json={})
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json == {
        "error": "unauthorized",
        "error_description": "Full authentication is required to access this resource",
    }


@pytest.mark.parametrize(("method", "path"), WITH_TOKEN)
def test_an_expired_token_is_refused_without_being_repeated(gateway, signed, method, path):
    answer = gateway.request(method, path, json={}, token=signed(exp=int(time.time()) - 1))
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.json == {"error": "invalid_token", "error_description": "Access token expired"}


@pytest.mark.parametrize(("method", "path"), WITH_TOKEN)
def test_a_token_that_another_key_signed_is_refused(gateway, signed, foreign_key, method, path):
    answer = gateway.request(method, path, json={}, token=signed(key=foreign_key))
    assert answer.status == 401
    assert answer.json == {
        "error": "invalid_token",
        "error_description": "Cannot convert access token to JSON",
    }


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "é", jwt.encode({"user_name": "x"}, "k" * 32, "HS256")])
def test_what_is_no_token_of_ours_is_refused(gateway, token):
    token = token.encode().decode("latin-1")
    answer = gateway.post(f"{API}/external/user/find", json={"username": "x"}, token=token)
    assert (answer.status, answer.json["error"]) == (401, "invalid_token")


def test_a_refresh_token_opens_nothing(gateway, register, log_in):
    facts = register()
    token = log_in(facts).json["refresh_token"]
    answer = gateway.post(f"{API}/external/user/find", json={"username": facts["username"]}, token=token)
    assert (answer.status, answer.json["error"]) == (401, "invalid_token")


@pytest.mark.parametrize(("method", "path"), ADMINISTRATION)
def test_a_client_is_no_administrator(gateway, new_user, method, path):
    answer = gateway.request(method, path, json={}, token=new_user().token)
    assert answer.status == 403
    assert answer.json == {"error": "access_denied", "error_description": "Access is denied"}


@pytest.mark.parametrize(("method", "path"), BEARER)
def test_an_administrator_is_no_client(gateway, admin_token, method, path):
    answer = gateway.request(method, path, json={"username": "admin"}, token=admin_token)
    assert answer.status == 403


@pytest.mark.parametrize(("method", "path"), PUBLIC + BEARER)
@pytest.mark.parametrize("text", ['{"username": ', "", "[]", "NaN", "[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(gateway, signed, method, path, text):
    answer = gateway.request(method, path, data=text, headers=as_json(), token=signed())
    assert answer.status == 400
    assert answer.json["status"] == "ERROR"
    assert answer.json["error"].startswith("expected")


@pytest.mark.parametrize(("method", "path"), ADMIN_BODY)
def test_a_malformed_body_is_refused_in_the_shape_of_the_administration(gateway, signed, method, path):
    answer = gateway.request(method, path, data='{"username": ', headers=as_json(), token=signed())
    assert answer.status == 400
    assert list(answer.json) == ["timestamp", "status", "error", "message", "path"]
    assert without(answer.json, "timestamp", "message") == {
        "status": 400,
        "error": "Bad Request",
        "path": path,
    }


@pytest.mark.parametrize(("method", "path"), PUBLIC + BEARER + ADMIN_BODY + OAUTH)
def test_another_content_type_is_refused(gateway, signed, method, path):
    answer = gateway.request(method, path, data="x", headers={"Content-Type": "text/plain"}, token=signed())
    assert answer.status == 415
    assert list(answer.json) == ["timestamp", "status", "error", "path"]


@pytest.mark.parametrize(("method", "path"), PUBLIC + WITH_TOKEN + OAUTH + KEYS)
def test_another_method_is_refused_and_the_right_one_named(gateway, signed, method, path):
    answer = gateway.request("PATCH", path, json={}, token=signed())
    assert answer.status == 405
    assert method in answer.headers["Allow"].split(", ")
    assert answer.json["error"] == "Method Not Allowed"


@pytest.mark.parametrize(("method", "path"), PUBLIC + BEARER + ADMIN_BODY)
def test_a_huge_body_is_refused(gateway, signed, method, path):
    body = json.dumps({"username": "x" * 2_000_000})
    assert gateway.request(method, path, data=body, headers=as_json(), token=signed()).status == 413


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/check_token"])
def test_a_huge_form_is_refused(oauth, path):
    assert oauth(path, token="x" * 2_000_000).status == 413


# Registration


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


# Registration that stops half-way

UNREACHABLE = {"FUNCTION_URL": "http://127.0.0.1:1", "FUNCTION_URLS": "", "FUNCTION_URLS_FILE": ""}


@pytest.fixture
def half_way(alone):
    """Register while billing cannot be reached; gives what was sent."""

    def do(**changes):
        facts = person(**changes)
        answer = alone("registration", **UNREACHABLE).post(f"{API}/auth/registration", json=facts)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert answer.json == {
            "status": "ERROR",
            "error": "The registration is kept and will be completed in a moment:"
            " sign in then, do not register again",
        }
        return facts

    return do


@pytest.fixture
def kept(register, database):
    """A registration that somebody is busy with: the user is there, its billing account perhaps not."""
    facts = register()
    database("auth").rows(
        "UPDATE auth.users SET confirmed_at = NULL, resume_at = now() + interval '1 hour' WHERE username = :name",
        name=facts["username"],
    )
    return facts


def let_go(database, facts):
    """Whoever was busy with the registration is gone."""
    database("auth").rows("UPDATE auth.users SET resume_at = now() WHERE username = :name", name=facts["username"])


def test_a_registration_that_could_not_be_confirmed_is_finished_later(alone, database, log_in, monkeypatch):
    facts, lock = person(), database("auth").connected()
    real = registrations.call

    def call_and_lock(*words):
        answer = real(*words)
        lock.run("BEGIN")
        lock.run("LOCK TABLE auth.users IN EXCLUSIVE MODE")
        return answer

    try:
        client = alone("registration")
        monkeypatch.setattr(registrations, "call", call_and_lock)
        answer = client.post(f"{API}/auth/registration", json=facts)
    finally:
        lock.close()
    assert 503 == answer.status_code
    assert "error" in log_in(facts).json

    let_go(database, facts)
    monkeypatch.setattr(registrations, "call", real)
    assert 200 == alone("finish_registrations").post("/").status_code
    assert "access_token" in log_in(facts).json


def test_the_cron_completes_what_billing_could_not(alone, half_way, log_in, database):
    facts = half_way()
    done = alone("finish_registrations").post("/").json
    assert done["waiting"] == 0
    assert "access_token" in log_in(facts).json
    opened = "SELECT balance FROM billing.clients WHERE username = :name"
    assert [row.balance for row in database("billing").rows(opened, name=facts["username"])] == [0]


def test_the_cron_lets_go_what_it_cannot_complete(alone, kept, log_in, database):
    let_go(database, kept)
    done = alone("finish_registrations", **UNREACHABLE).post("/")
    assert done.status_code == 200
    assert list(done.json) == ["completed", "waiting"]
    assert alone("finish_registrations").post("/").json["waiting"] == 0
    assert "access_token" in log_in(kept).json


def test_the_same_registration_again_completes_what_stopped_half_way(gateway, half_way, log_in):
    facts = half_way()
    again = gateway.post(f"{API}/auth/registration", json=facts).json
    assert again["error"] in ("", "Duplicate username")  # the latter if the cron was faster
    assert "access_token" in log_in(facts).json


@pytest.mark.parametrize(
    "change",
    [{"password": "another"}, {"email": "thief@mail.ru"}, {"middleName": None}, {"mobilePhone": "+1"}],
)
def test_nobody_else_completes_a_registration(gateway, kept, change):
    answer = gateway.post(f"{API}/auth/registration", json=kept | change)
    assert answer.json == {"status": "ERROR", "error": "Duplicate username"}


def test_a_registration_that_somebody_is_busy_with_is_a_duplicate(gateway, kept):
    assert gateway.post(f"{API}/auth/registration", json=kept).json["error"] == "Duplicate username"


def test_an_unconfirmed_user_cannot_log_in(kept, log_in):
    assert log_in(kept).json == {"status": "ERROR", "error": "Wrong password or login"}


def test_an_unconfirmed_user_is_listed_nowhere(gateway, kept, admin_token):
    listed = gateway.get(f"{ADMIN}/users", token=admin_token).json["users"]
    assert kept["username"] not in [user["username"] for user in listed]
    named = gateway.get(f"{ADMIN}/users/username/{kept['username']}", token=admin_token).json
    assert named["username"] is None


# Tokens


def test_a_login_is_answered_with_two_tokens(register, log_in):
    facts = register()
    answer = log_in(facts)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    answered = answer.json
    assert list(answered) == [
        "access_token",
        "token_type",
        "refresh_token",
        "expires_in",
        "scope",
        "email",
        "jti",
    ]
    assert JWT.fullmatch(answered["access_token"])
    assert JWT.fullmatch(answered["refresh_token"])
    assert (answered["token_type"], answered["scope"]) == ("bearer", "read write")
    assert (answered["expires_in"], answered["email"]) == (900, facts["email"])
    assert uuid.UUID(answered["jti"])


def test_an_access_token_says_who_may_do_what_until_when(register, log_in):
    facts = register()
    answered = log_in(facts).json
    claims = claims_in(answered["access_token"])
    assert claims == {
        "user_name": facts["username"],
        "scope": ["read", "write"],
        "exp": claims["iat"] + 900,
        "authorities": ["ROLE_USER"],
        "jti": answered["jti"],
        "email": facts["email"],
        "client_id": "USER_CLIENT_APP",
        "iat": claims["iat"],
    }
    assert abs(claims["iat"] - time.time()) < 30


def test_a_refresh_token_names_its_access_token_and_lives_an_hour(register, log_in):
    answered = log_in(register()).json
    claims = claims_in(answered["refresh_token"])
    assert claims["ati"] == answered["jti"] != claims["jti"]
    assert claims["exp"] == claims["iat"] + 3600


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "12345"},
        {"password": ""},
        {"password": None},
        {"username": "nosuch"},
        {"username": None},
        {"username": ""},
    ],
)
def test_a_wrong_login_is_told_apart_by_nothing(register, log_in, wrong):
    answer = log_in(register(), **wrong)
    assert (answer.status, answer.json) == (200, {"status": "ERROR", "error": "Wrong password or login"})


def test_an_empty_login_is_a_wrong_login(gateway):
    answer = gateway.post(f"{API}/auth/token", json={})
    assert (answer.status, answer.json) == (200, {"status": "ERROR", "error": "Wrong password or login"})


@pytest.mark.parametrize("field", ["username", "password", "refresh_token"])
def test_a_login_with_a_field_of_the_wrong_type_is_refused_by_its_name(gateway, field):
    answer = gateway.post(f"{API}/auth/token", json={field: ["x"]})
    assert answer.status == 400
    assert answer.json["error"].startswith(f"{field}: expected a valid string")


def test_a_password_hashed_at_another_cost_is_hashed_anew_at_login(register, log_in, database):
    facts = register()
    old = passwords.PasswordHasher(memory_cost=8192, time_cost=1, parallelism=1).hash(facts["password"])
    auth = database("auth")
    auth.rows("UPDATE auth.users SET password = :old WHERE username = :name", old=old, name=facts["username"])
    assert "access_token" in log_in(facts).json
    (stored,) = auth.rows("SELECT password FROM auth.users WHERE username = :name", name=facts["username"])
    assert stored.password.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert "access_token" in log_in(facts).json


def test_a_refresh_token_brings_new_tokens_about_the_user_as_it_is_now(gateway, register, log_in, refresh):
    facts = register()
    before = log_in(facts).json
    changed = without(facts, "password") | {"email": "new@mail.ru"}
    gateway.post(f"{API}/external/user/edit", json=changed, token=before["access_token"])
    answer = refresh(before["refresh_token"])
    assert answer.headers["Cache-Control"] == "no-store"
    assert list(answer.json) == list(before)
    assert answer.json["email"] == claims_in(answer.json["access_token"])["email"] == "new@mail.ru"
    assert answer.json["jti"] != before["jti"]


def test_a_refresh_token_works_once_and_used_again_ends_its_login(register, log_in, refresh):
    first = log_in(register()).json["refresh_token"]
    second = refresh(first).json["refresh_token"]
    assert refresh(first).json == {"status": "ERROR", "error": "Wrong, used or expired refresh token"}
    assert refresh(second).json["status"] == "ERROR"


def test_the_end_of_one_login_leaves_the_others(register, log_in, refresh):
    facts = register()
    one, other = log_in(facts).json["refresh_token"], log_in(facts).json["refresh_token"]
    refresh(one)
    refresh(one)
    assert "access_token" in refresh(other).json


def test_of_ten_uses_of_a_refresh_token_at_once_one_wins(register, log_in, refresh):
    token = log_in(register()).json["refresh_token"]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: refresh(token), range(10)))
    assert sum("access_token" in answer.json for answer in answers) == 1


def test_a_chain_of_refreshes_goes_on(register, log_in, refresh):
    token = log_in(register()).json["refresh_token"]
    for _ in range(3):
        token = refresh(token).json["refresh_token"]


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c"])
def test_what_is_no_refresh_token_brings_nothing(refresh, token):
    assert refresh(token).json == {"status": "ERROR", "error": "Wrong, used or expired refresh token"}


def test_an_access_token_is_no_refresh_token(register, log_in, refresh):
    assert refresh(log_in(register()).json["access_token"]).json["status"] == "ERROR"


def test_an_expired_refresh_token_brings_nothing(signed, refresh):
    token = signed(exp=int(time.time()) - 1, ati="x", sid=str(uuid.uuid4()))
    assert refresh(token).json["status"] == "ERROR"


# The caller's own data


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


def test_a_deleted_user_with_a_living_token_is_not_found(gateway, made, log_in, admin_token):
    facts = made()
    token = log_in(facts).json["access_token"]
    gateway.delete(f"{ADMIN}/users", json=[facts["id"]], token=admin_token)
    found = gateway.post(f"{API}/external/user/find", json={"username": facts["username"]}, token=token).json
    assert (found["errorCode"], found["errorMessage"]) == (-9000, "Client not found")
    edited = gateway.post(f"{API}/external/user/edit", json=without(facts, "id"), token=token)
    assert edited.json == {"status": "ERROR", "error": "Client not found"}


# The administration

NOT_FOUND = {
    "errorCode": -502,
    "errorMessage": "User not found",
    "id": None,
    "roles": None,
    "username": None,
    "password": None,
    "firstName": None,
    "middleName": None,
    "lastName": None,
    "email": None,
    "mobilePhone": None,
    "enabled": False,
    "accountNonLocked": False,
    "accountNonExpired": False,
    "credentialsNonExpired": False,
}
FLAGS = {"accountNonLocked": True, "accountNonExpired": True, "credentialsNonExpired": True}
USER = {"id": 2, "name": "ROLE_USER"}


def account(facts, **changes):
    """A user as an administrator is told about it, in order."""
    named = {name: facts[name] for name in ("firstName", "middleName", "lastName", "email", "mobilePhone")}
    answered = {"id": facts["id"], "roles": [USER], "username": facts["username"], "password": None}
    return answered | named | {"enabled": True} | FLAGS | changes


def fine(fields):
    """An answer of the administration without an error, its time left out."""
    return [("errorCode", 0), ("errorMessage", ""), *fields.items()]


def timeless(answer):
    """The fields of an answer in their order; the time is there, first, and is looked at here."""
    assert answer.status == 200
    (name, answered), *others = answer.json.items()
    assert name == "operationTime"
    assert TIME.fullmatch(answered)
    return others


@pytest.fixture
def administer(gateway, admin_token):
    """Ask as administrator; gives the answer's fields without the time."""

    def do(method, path, json=None):
        return timeless(gateway.request(method, ADMIN + path, json=json, token=admin_token))

    return do


def test_all_users_are_listed_by_id(administer, made):
    one, two = made(), made()
    fields = dict(administer("GET", "/users"))
    ids = [user["id"] for user in fields["users"]]
    assert ids == sorted(ids)
    answered = {user["id"]: list(user.items()) for user in fields["users"]}
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


def refused(code, reason):
    """The answer about a user whom something stands against."""
    return list((NOT_FOUND | {"errorCode": code, "errorMessage": reason}).items())


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
        ("/password", {"id": "x", "password": "y"}, "id: expected a valid integer"),
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


# OAuth


def test_the_password_grant_brings_tokens(oauth, register):
    facts = register()
    answer = oauth("/oauth/token", grant_type="password", username=facts["username"], password=facts["password"])
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert list(answer.json) == [
        "access_token",
        "token_type",
        "refresh_token",
        "expires_in",
        "scope",
        "email",
        "jti",
    ]


def test_the_refresh_grant_brings_tokens_once(oauth, register, log_in):
    token = log_in(register()).json["refresh_token"]
    assert oauth("/oauth/token", grant_type="refresh_token", refresh_token=token).status == 200
    again = oauth("/oauth/token", grant_type="refresh_token", refresh_token=token)
    assert again.status == 400
    assert again.json == {"error": "invalid_grant", "error_description": "Invalid refresh token"}


@pytest.mark.parametrize(
    ("fields", "error", "description"),
    [
        (
            {"grant_type": "password", "username": "admin", "password": "x"},
            "invalid_grant",
            "Bad credentials",
        ),
        ({"grant_type": "password"}, "invalid_grant", "Bad credentials"),
        ({"grant_type": "refresh_token"}, "invalid_grant", "Invalid refresh token"),
        ({"grant_type": "nosuch"}, "unsupported_grant_type", "Unsupported grant type: nosuch"),
        ({}, "invalid_request", "Missing grant type"),
        ({"grant_type": ""}, "invalid_request", "Missing grant type"),
    ],
)
def test_a_wrong_grant_is_refused_with_oauths_word(oauth, fields, error, description):
    answer = oauth("/oauth/token", **fields)
    assert answer.status == 400
    assert answer.json == {"error": error, "error_description": description}


def test_a_wrong_form_is_refused_with_oauths_word(oauth):
    answer = oauth("/oauth/token", grant_type="password", password="x" * 129)
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")
    assert answer.json["error_description"].startswith("password: expected")


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/check_token"])
def test_a_wrong_client_is_refused(oauth, oauth_client, path):
    id, secret = oauth_client
    for client in ((id, "wrong"), ("wrong", secret), (id, ""), ("", ""), ("é", "é")):
        answer = oauth(path, client=client, grant_type="password", token="x")
        assert answer.status == 403
        assert answer.json == {"error": "invalid_client", "error_description": "Bad client credentials"}


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/check_token"])
@pytest.mark.parametrize("authorization", [None, "Basic !", "Bearer x", "nonsense"])
def test_a_client_without_credentials_is_asked_for_them(gateway, path, authorization):
    headers = {"Content-Type": FORM} | ({"Authorization": authorization} if authorization else {})
    answer = gateway.request("POST", path, data="grant_type=password&token=x", headers=headers)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    assert answer.json["error"] == "unauthorized"


def test_a_good_token_is_told_to_be_active(oauth, register, log_in):
    token = log_in(register()).json["access_token"]
    answer = oauth("/oauth/check_token", token=token)
    assert answer.status == 200
    assert answer.json == claims_in(token) | {"active": True}


def test_a_token_of_a_disabled_or_deleted_user_is_not_good(oauth, administer, made, log_in):
    one, two = made(), made()
    tokens = [log_in(facts).json["access_token"] for facts in (one, two)]
    administer("POST", f"/users/{one['id']}/false")
    administer("DELETE", "/users", [two["id"]])
    answers = [oauth("/oauth/check_token", token=token) for token in tokens]
    assert [answer.status for answer in answers] == [400, 400]
    assert answers[0].json == answers[1].json == NOT_RECOGNISED


NOT_RECOGNISED = {"error": "invalid_token", "error_description": "Token was not recognised"}


@pytest.mark.parametrize("fields", [{}, {"token": ""}, {"token": "nonsense"}, {"token": "a.b.c"}])
def test_what_is_no_token_is_not_recognised(oauth, fields):
    answer = oauth("/oauth/check_token", **fields)
    assert (answer.status, answer.json) == (400, NOT_RECOGNISED)


def test_a_refresh_token_is_not_recognised_as_an_access_token(oauth, register, log_in):
    answer = oauth("/oauth/check_token", token=log_in(register()).json["refresh_token"])
    assert (answer.status, answer.json) == (400, NOT_RECOGNISED)


def test_an_expired_token_is_told_to_be_expired(oauth, signed):
    answer = oauth("/oauth/check_token", token=signed(exp=int(time.time()) - 1))
    assert answer.status == 400
    assert answer.json == {"error": "invalid_token", "error_description": "Token has expired"}


def test_the_published_key_checks_a_token(gateway, register, log_in):
    token = log_in(register()).json["access_token"]
    answer = gateway.get("/oauth/token_key")
    assert list(answer.json) == ["alg", "value"]
    assert answer.json["alg"] == "SHA256withRSA"
    assert jwt.decode(token, answer.json["value"], ["RS256"])


def test_the_key_set_holds_the_key_that_a_token_names(gateway, register, log_in):
    token = log_in(register()).json["access_token"]
    answer = gateway.get("/.well-known/jwks.json")
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    assert [list(key) for key in answer.json["keys"]] == [["kty", "use", "alg", "kid", "n", "e"]] * len(
        answer.json["keys"]
    )
    key = jwt.PyJWKSet.from_dict(answer.json)[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, key, ["RS256"])


# Alone


def test_old_logins_are_purged_and_young_ones_stay(alone, register, log_in, refresh, database):
    facts = register()
    old, young = log_in(facts).json["refresh_token"], log_in(facts).json["refresh_token"]
    auth = database("auth")
    auth.rows(
        "UPDATE auth.logins SET expires_at = now() - interval '25 hours' WHERE id = CAST(:id AS uuid)",
        id=claims_in(old)["sid"],
    )
    alone("purge").post("/")
    left = auth.rows(
        "SELECT id::text FROM auth.logins WHERE id::text = ANY(CAST(:ids AS text[]))",
        ids=[claims_in(token)["sid"] for token in (old, young)],
    )
    assert [row.id for row in left] == [claims_in(young)["sid"]]
    assert "access_token" in refresh(young).json


def test_more_logins_than_a_batch_are_purged(alone, database):
    auth = database("auth")
    auth.rows(
        "INSERT INTO auth.logins (id, user_id, generation, jti, expires_at)"
        " SELECT gen_random_uuid(), 1, 0, gen_random_uuid(), now() - interval '2 days'"
        "   FROM generate_series(1, 1100)"
    )
    assert alone("purge").post("/").json["logins"] <= 1100
    assert auth.rows("SELECT id FROM auth.logins WHERE expires_at < now() - interval '1 day'") == []


def test_keys_that_do_not_fit_together_are_noticed_before_a_token_goes_out(alone, register, foreign_key):
    facts = register()
    pem = foreign_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    client = alone("issue_token", JWT_PRIVATE_KEY=pem)
    assert client.post(f"{API}/auth/token", json=facts).status_code == 500


@pytest.mark.parametrize(
    ("function", "unneeded"),
    [
        ("jwks", ["argon2", "urllib3"]),
        ("token_key", ["argon2", "urllib3"]),
        ("check_token", ["argon2", "urllib3"]),
        ("user_find", ["argon2", "urllib3", "functions.auth.tokens"]),
        ("user_edit", ["argon2", "urllib3", "functions.auth.tokens"]),
        ("users_list", ["argon2", "urllib3", "functions.auth.tokens"]),
        ("registration", ["jwt", "cryptography", "functions.auth.tokens"]),
        ("finish_registrations", ["argon2", "jwt", "cryptography"]),
        ("purge", ["argon2", "jwt", "cryptography", "urllib3"]),
        ("set_password", ["urllib3", "functions.auth.tokens"]),
    ],
)
def test_a_function_loads_nothing_that_it_does_not_use(function, unneeded):
    assert loaded_by(f"functions.auth.{function}").isdisjoint(unneeded)


def loaded_by(module):
    """The names of the modules that importing one brings in."""
    program = f"import sys, {module}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())
