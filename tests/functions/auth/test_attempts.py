"""Logins are tried so often and no more, by name and by address, whichever process is asked."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from functions.auth import attempts
from tests.clients import API

WRONG = {"status": "ERROR", "error": "Wrong password or login"}


@pytest.fixture
def few(alone):
    """The token endpoint in a process of its own that allows two wrong logins a name and four an address."""
    client = alone(
        "issue_token",
        AUTH_ATTEMPTS_OF_NAME="2",
        AUTH_ATTEMPTS_OF_ADDRESS="4",
        AUTH_ATTEMPTS_SECONDS="300",
        AUTH_PROXIES="1",
    )

    def log_in(username: str, password: str = "wrong", address: str | None = None) -> object:
        headers = {"X-Forwarded-For": address or f"203.0.113.7, {uuid.uuid4().hex}"}
        return client.post(f"{API}/auth/token", json={"username": username, "password": password}, headers=headers)

    return log_in


def test_a_name_is_tried_so_often_and_then_not_even_with_the_right_password(few, register):
    facts = register()
    assert [few(facts["username"]).json for _ in range(2)] == [WRONG] * 2
    for password in ("wrong", facts["password"]):
        answer = few(facts["username"], password)
        assert answer.status_code == 429
        assert 290 <= int(answer.headers["Retry-After"]) <= 300
        assert answer.json["status"] == "ERROR"
        assert answer.json["error"].startswith("Too many attempts, the next one is looked at in ")


def test_names_that_there_are_not_are_counted_alike(few):
    name = uuid.uuid4().hex
    assert [few(name).status_code for _ in range(3)] == [200, 200, 429]


def test_a_name_written_otherwise_is_the_same_name(few):
    name = uuid.uuid4().hex
    assert [few(written).status_code for written in (name, f" {name}", f"{name}  ")] == [200, 200, 429]


def test_an_address_is_tried_so_often_whatever_the_names(few):
    address = uuid.uuid4().hex
    assert [few(uuid.uuid4().hex, address=address).status_code for _ in range(5)] == [200] * 4 + [429]
    assert few(uuid.uuid4().hex).status_code == 200


def test_an_address_that_the_client_has_made_up_is_not_the_one_that_counts(few):
    address = uuid.uuid4().hex
    seen = [few(uuid.uuid4().hex, address=f"{uuid.uuid4().hex}, {address}").status_code for _ in range(5)]
    assert seen == [200] * 4 + [429]


def test_right_passwords_are_never_too_many(few, register):
    facts = register()
    assert all("access_token" in few(facts["username"], facts["password"]).json for _ in range(5))


def test_after_its_time_a_name_is_looked_at_again(few, register, database):
    facts = register()
    assert [few(facts["username"]).status_code for _ in range(3)] == [200, 200, 429]
    database("auth").rows(
        "UPDATE auth.login_attempts SET since = since - interval '301 seconds' WHERE subject = :subject",
        subject=attempts._hashed("name", facts["username"]),
    )
    assert "access_token" in few(facts["username"], facts["password"]).json


def test_another_process_counts_on(few, register, gateway):
    """What one process has counted, the gateway's own auth finds: it allows ten."""
    facts = register()
    for _ in range(2):
        few(facts["username"])
    body = {"username": facts["username"], "password": "wrong"}
    assert [gateway.post(f"{API}/auth/token", json=body).status for _ in range(9)] == [200] * 8 + [429]


def test_of_many_at_once_no_more_are_looked_at_than_one_by_one(gateway, register):
    facts = register()
    body = {"username": facts["username"], "password": "wrong"}
    with ThreadPoolExecutor(30) as threads:
        found = list(threads.map(lambda _: gateway.post(f"{API}/auth/token", json=body).status, range(30)))
    assert sorted(found) == [200] * 10 + [429] * 20


def test_the_oauth_endpoint_counts_the_same_and_says_it_as_oauth_does(oauth, register):
    facts = register()
    form = {"grant_type": "password", "username": facts["username"], "password": "wrong"}
    assert [oauth("/oauth/token", **form).status for _ in range(10)] == [400] * 10
    answer = oauth("/oauth/token", **form)
    assert (answer.status, answer.json["error"]) == (429, "temporarily_unavailable")
    assert int(answer.headers["Retry-After"]) > 0


def test_the_table_knows_no_name_and_no_address(database, few):
    name = uuid.uuid4().hex
    few(name, address="203.0.113.99")
    rows = database("auth").rows("SELECT subject FROM auth.login_attempts")
    assert not [row for row in rows if name in row.subject or "203.0.113" in row.subject]


@pytest.mark.parametrize(
    ("forwarded", "proxies", "address"),
    [
        ("", 0, None),
        ("a, b, c", 0, None),
        ("a, b, c", 1, "c"),
        ("a, b, c", 2, "b"),
        ("a", 2, None),
        ("", 1, ""),
    ],
)
def test_the_address_is_what_the_outermost_of_our_proxies_saw(forwarded, proxies, address):
    assert attempts._address(forwarded, proxies) == address


def test_attempts_that_count_no_more_are_deleted(alone, database):
    database("auth").rows(
        "INSERT INTO auth.login_attempts VALUES ('name:old', 1, now() - interval '25 hours'), ('name:new', 1, now())"
    )
    assert alone("purge").post("/").json["attempts"] >= 1
    found = "SELECT subject FROM auth.login_attempts WHERE subject IN ('name:old', 'name:new')"
    assert [row.subject for row in database("auth").rows(found)] == ["name:new"]
