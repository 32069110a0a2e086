"""Logins and refreshes: what tokens say, and how often a refresh token works."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from argon2 import PasswordHasher

from functions.shared import bearer
from functions.shared.settings import Misconfigured
from tests.clients import API, JWT, claims_in, without
from tests.system import eventually


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
        "ver": 0,
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
def test_wrong_logins_differ_in_nothing(register, log_in, wrong):
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
    old = PasswordHasher(memory_cost=8192, time_cost=1, parallelism=1).hash(facts["password"])
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


def test_a_refresh_whose_answer_was_lost_is_asked_for_again_and_brings_the_same_next_token(
    register, log_in, refresh, later
):
    first = log_in(register()).json["refresh_token"]
    lost, again = refresh(first).json, refresh(first).json
    assert claims_in(lost["refresh_token"])["jti"] == claims_in(again["refresh_token"])["jti"]
    later()
    assert "access_token" in refresh(again["refresh_token"]).json


def test_a_refresh_token_used_again_later_ends_its_login_and_the_access_tokens(
    gateway, register, log_in, refresh, later
):
    facts = register()
    first = log_in(facts).json["refresh_token"]
    second = refresh(first).json
    later()
    assert refresh(first).json == {"status": "ERROR", "error": "Wrong, used or expired refresh token"}
    assert refresh(second["refresh_token"]).json["status"] == "ERROR"
    asked = {"json": {"username": facts["username"]}, "token": second["access_token"]}
    eventually(lambda: gateway.post(f"{API}/external/user/balance/get", **asked).status == 401, "the token's end")


def test_a_token_two_uses_old_ends_its_login_however_fast_they_came(register, log_in, refresh):
    first = log_in(register()).json["refresh_token"]
    second = refresh(first).json["refresh_token"]
    third = refresh(second).json["refresh_token"]
    assert refresh(first).json["status"] == "ERROR"
    assert refresh(third).json["status"] == "ERROR"


def test_the_end_of_one_login_leaves_the_others(register, log_in, refresh, later):
    facts = register()
    one, other = log_in(facts).json["refresh_token"], log_in(facts).json["refresh_token"]
    refresh(one)
    later()
    assert refresh(one).json["status"] == "ERROR"
    assert "access_token" in refresh(other).json


def test_ten_uses_of_a_refresh_token_at_once_bring_one_next_token(register, log_in, refresh):
    token = log_in(register()).json["refresh_token"]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: refresh(token), range(10)))
    assert len({claims_in(answer.json["refresh_token"])["jti"] for answer in answers}) == 1


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


def test_keys_that_do_not_fit_together_are_noticed_before_a_token_goes_out(alone, register, foreign_key):
    facts = register()
    client = alone("issue_token", JWT_PRIVATE_KEY=foreign_key.export_key(pkcs=8).decode())
    assert client.post(f"{API}/auth/token", json=facts).status_code == 500


NO_KEY = "-----BEGIN {0} KEY-----\nbm8ga2V5\n-----END {0} KEY-----\n"


def test_a_public_key_that_is_none_is_named(settings):
    settings(JWT_PUBLIC_KEY=NO_KEY.format("PUBLIC"))
    with pytest.raises(Misconfigured, match="JWT_PUBLIC_KEY: expected an RSA key as PEM"):
        bearer.public_keys()


def test_a_private_key_that_is_none_is_named(alone, register, caplog):
    client = alone("issue_token", JWT_PRIVATE_KEY=NO_KEY.format("PRIVATE"))
    assert client.post(f"{API}/auth/token", json=register()).status_code == 500
    assert "JWT_PRIVATE_KEY: expected an RSA key as PEM" in caplog.text
