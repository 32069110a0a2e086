"""The OAuth endpoints: grants, checks of tokens, published keys."""

import time

import jwt
import pytest

from functions.shared.rs256 import RS256
from tests.clients import FORM, claims_in


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


def test_the_refresh_grant_brings_tokens_once(oauth, register, log_in, later):
    token = log_in(register()).json["refresh_token"]
    assert oauth("/oauth/token", grant_type="refresh_token", refresh_token=token).status == 200
    later()
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
@pytest.mark.parametrize("authorization", [None, "Basic !", "Basic \xff", "Bearer x", "nonsense"])
def test_a_client_without_credentials_is_asked_for_them(gateway, path, authorization):
    headers = {"Content-Type": FORM} | ({"Authorization": authorization} if authorization else {})
    answer = gateway.request("POST", path, data="grant_type=password&token=x", headers=headers)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    assert answer.json["error"] == "unauthorized"


def test_a_good_token_is_active(oauth, register, log_in):
    token = log_in(register()).json["access_token"]
    answer = oauth("/oauth/check_token", token=token)
    assert answer.status == 200
    known = {name: value for name, value in claims_in(token).items() if name != "ver"}
    assert answer.json == known | {"active": True}


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


def test_an_expired_token_is_expired(oauth, signed):
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
    (key,) = [key for key in answer.json["keys"] if key["kid"] == jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, RS256.from_jwk(key), ["RS256"])
