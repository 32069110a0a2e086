"""A registration that stops half-way is completed later, or let go."""

import pytest

from functions.auth import registrations
from tests.clients import ADMIN, API, person
from tests.functions.auth.accounts import UNREACHABLE


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
