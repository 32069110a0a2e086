"""Users, their logins and their administration, as the tests of auth ask for them."""

import base64
from functools import partial
from urllib.parse import urlencode

import pytest

from tests.clients import ADMIN, API, FORM, person
from tests.functions.auth.accounts import (
    timeless,
)


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
def later(database):
    """The moment is over in which a lost answer may be asked for again."""

    def do():
        database("auth").rows("UPDATE auth.logins SET exchanged_at = exchanged_at - interval '11 seconds'")

    return do


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


@pytest.fixture
def administer(gateway, admin_token):
    """Ask as administrator; gives the answer's fields without the time."""

    def do(method, path, json=None):
        return timeless(gateway.request(method, ADMIN + path, json=json, token=admin_token))

    return do
