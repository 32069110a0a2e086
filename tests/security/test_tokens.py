"""What is no good access token opens nothing, at every method that wants one; and keys change without a logout."""

import base64
import hashlib
import hmac
import json
import time
import uuid

import jwt
import pytest
from Cryptodome.PublicKey import RSA

from functions.shared import bearer
from functions.shared.rs256 import RS256
from tests.clients import API, claims_in
from tests.security.methods import Method, methods
from tests.system import TOKEN

GUARDED = methods("bearer", "administrator")


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def body_of(token: str, **changes: object) -> str:
    return part(claims_in(token) | changes)


def unsigned(token: str, alg: str) -> str:
    return f"{part({'alg': alg, 'typ': 'JWT', 'kid': jwt.get_unverified_header(token)['kid']})}.{body_of(token)}."


def by_public_key(token: str, pem: str) -> str:
    """The public key, which everybody knows, taken for a secret that both sides share."""
    head = f"{part({'alg': 'HS256', 'kid': jwt.get_unverified_header(token)['kid']})}.{body_of(token)}"
    signature = hmac.new(pem.encode(), head.encode(), hashlib.sha256).digest()
    return f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@pytest.fixture(scope="module")
def attacks(signed, secrets, foreign_key) -> dict[str, str]:
    """Tokens that somebody may try who has seen a good one and knows the public key, but not the private one."""
    good = signed()
    head, body, signature = good.split(".")
    kid = jwt.get_unverified_header(good)["kid"]
    foreign_jwk = RS256.to_jwk(foreign_key.public_key(), as_dict=True)
    claims = claims_in(good)
    sign = lambda **headers: jwt.encode(claims, foreign_key, "RS256", headers=headers)  # noqa: E731
    return {
        "nothing": "",
        "no JWT": "nonsense",
        "the installation's token": TOKEN,
        "alg none": unsigned(good, "none"),
        "alg None": unsigned(good, "None"),
        "no signature": f"{head}.{body}.",
        "HS256 by the public key": by_public_key(good, (secrets / "jwt-public.pem").read_text()),
        "a foreign key by our name": sign(kid=kid),
        "a foreign key by its own name": sign(kid=bearer.key_id(foreign_key.public_key())),
        "a foreign key that comes along": sign(kid=kid, jwk=foreign_jwk, jku="http://127.0.0.1:9/jwks.json"),
        "no name of a key": sign(),
        "a path for a name": sign(kid="../../dev/null"),
        "another body": f"{head}.{body_of(good, user_name='admin')}.{signature}",
        "another signature": f"{head}.{body}.{signature[:-8]}AAAAAAAA",
        "expired": signed(exp=int(time.time()) - 1),
        "no end": signed(exp=None),
        "a refresh token": signed(ati=str(uuid.uuid4()), sid=str(uuid.uuid4())),
    }


@pytest.mark.parametrize("method", GUARDED, ids=str)
def test_a_token_that_is_none_is_refused_and_not_echoed(gateway, attacks, method: Method):
    for name, token in attacks.items():
        answer = gateway.request(method.verb, method.path, json={}, token=token)
        assert (name, answer.status) == (name, 401)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert not token or token not in answer.text


@pytest.mark.parametrize("method", methods("administrator"), ids=str)
def test_a_user_administers_nothing(gateway, signed, method: Method):
    answer = gateway.request(method.verb, method.path, json={}, token=signed(authorities=["ROLE_USER"]))

    assert answer.status == 403


@pytest.mark.parametrize("method", methods("bearer"), ids=str)
def test_an_administrator_who_is_no_client_is_no_client(gateway, signed, method: Method):
    answer = gateway.request(method.verb, method.path, json={}, token=signed(authorities=["ROLE_ADMIN"]))

    assert answer.status == 403


def test_every_method_says_who_may_call_it():
    assert {method.caller for method in methods()} == {"anybody", "bearer", "administrator", "client", "installation"}
    assert len(GUARDED) > 20


# Keys are changed


@pytest.fixture(scope="module")
def next_key() -> tuple[str, str]:
    """The key that comes after: private and public PEM."""
    key = RSA.generate(2048)
    return key.export_key(pkcs=8).decode() + "\n", key.public_key().export_key().decode() + "\n"


def test_keys_change_without_a_logout(started_alone, secrets, next_key, new_user):
    user, (private, public) = new_user(), next_key
    both = (secrets / "jwt-public.pem").read_text() + public
    auth = started_alone("auth", "issue_token", JWT_PUBLIC_KEY=both, JWT_PRIVATE_KEY=private)
    made = auth.post(f"{API}/auth/token", json={"username": user.username, "password": user.password}).json
    billing = started_alone("billing", "balance_get", JWT_PUBLIC_KEY=both)
    old, new = (
        billing.post("/", json={"username": user.username}, headers={"Authorization": f"Bearer {token}"}).status_code
        for token in (user.token, made["access_token"])
    )

    assert (old, new) == (200, 200)
    names = {jwt.get_unverified_header(token)["kid"] for token in (user.token, made["access_token"])}
    jwks = started_alone("auth", "jwks", JWT_PUBLIC_KEY=both).get("/.well-known/jwks.json").json
    assert names == {key["kid"] for key in jwks["keys"]}
    refreshed = started_alone("auth", "issue_token", JWT_PUBLIC_KEY=both, JWT_PRIVATE_KEY=private)
    assert "access_token" in refreshed.post(f"{API}/auth/token", json={"refresh_token": made["refresh_token"]}).json


def test_a_key_that_was_taken_out_is_no_key(started_alone, next_key, new_user):
    user = new_user()
    billing = started_alone("billing", "balance_get", JWT_PUBLIC_KEY=next_key[1])
    headers = {"Authorization": f"Bearer {user.token}"}

    assert billing.post("/", json={"username": user.username}, headers=headers).status_code == 401
