"""Requests that every method of auth refuses: without a token, with a wrong one, malformed or too large."""

import json
import time

import jwt
import pytest

from tests.clients import ADMIN, API, as_json, without

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
