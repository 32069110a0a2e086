"""Access tokens that are revoked before they expire: everybody knows it some moments later, and asks auth seldom."""

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import pytest

from functions.shared import revocations
from functions.shared.call import CallFailed
from functions.shared.errors import Busy
from tests.clients import ADMIN, API, claims_in, order_of
from tests.functions.auth.accounts import USER, fine
from tests.system import eventually

REVOKED = {"error": "invalid_token", "error_description": "Access token was revoked"}
# What each owner's methods with a bearer do with money, orders, food, couriers, mails and the person itself.
METHODS = {
    "external/user/balance/get": lambda name: {"username": name},
    "external/user/balance/add": lambda name: {"username": name, "amount": 1},
    "external/user/balance/withdraw": lambda name: {"username": name, "amount": 1},
    "external/order/list": lambda name: {"userName": name},
    "external/order": lambda name: order_of(SimpleNamespace(username=name)),
    "external/user/find": lambda name: {"username": name},
    "external/user/notification": lambda name: {"username": name},
    "external/menu": lambda _: {},
    "external/delivery/slots": lambda _: {"date": "01.01.2040"},
}


def disable(administer, facts):
    assert ("isEnabled", False) in administer("POST", f"/users/{facts['id']}/false")


def delete(administer, facts):
    assert administer("DELETE", "/users", [facts["id"]]) == fine({"isSuccessful": True})


def take_its_role(administer, facts):
    administer("POST", "/users/edit", {"username": facts["username"], "roles": []})


def set_password(administer, facts):
    administer("POST", "/password", {"id": facts["id"], "password": "another-1"})


@pytest.mark.parametrize("end", [disable, delete, take_its_role, set_password], ids=lambda end: end.__name__)
def test_a_token_ends_with_what_it_stands_for_at_every_owner(gateway, administer, made, log_in, end: Callable):
    facts = made(roles=[USER])
    token = log_in(facts).json["access_token"]
    asked = {path: body(facts["username"]) for path, body in METHODS.items()}
    before = {path: gateway.post(f"{API}/{path}", json=body, token=token).status for path, body in asked.items()}
    assert before == dict.fromkeys(METHODS, 200)

    end(administer, facts)

    for path, body in asked.items():
        ask = partial(gateway.post, f"{API}/{path}", json=body, token=token)
        eventually(lambda ask=ask: ask().status == 401, path)
        assert ask().json == REVOKED


def test_an_administrator_that_is_none_any_more_administers_nothing(gateway, administer, made, log_in):
    facts = made(roles=[{"id": 1}])
    token = log_in(facts).json["access_token"]
    assert gateway.get(f"{ADMIN}/users", token=token).status == 200
    administer("POST", "/users/edit", {"username": facts["username"], "roles": [USER]})

    eventually(lambda: gateway.get(f"{ADMIN}/users", token=token).status == 401, "the end of the token")
    assert claims_in(log_in(facts).json["access_token"])["authorities"] == ["ROLE_USER"]


def test_a_token_that_comes_after_is_good(gateway, administer, made, log_in, refresh):
    facts = made(roles=[{"id": 1}, USER])
    login = log_in(facts).json
    administer("POST", "/users/edit", {"username": facts["username"], "roles": [USER]})
    body = {"username": facts["username"]}
    path = f"{API}/external/user/balance/get"
    balance = partial(gateway.post, path, json=body)
    eventually(lambda: balance(token=login["access_token"]).status == 401, "the end of the token")

    assert balance(token=refresh(login["refresh_token"]).json["access_token"]).status == 200


def test_a_role_more_revokes_nothing(administer, made, database):
    facts = made(roles=[USER])
    administer("POST", "/users/edit", {"username": facts["username"], "roles": [USER, {"id": 1}]})

    assert version_of(database, facts) == 0


def version_of(database, facts):
    asked = "SELECT token_version FROM auth.users WHERE username = :name"
    return database("auth").value(asked, name=facts["username"])


def test_whoever_revokes_by_an_older_version_of_the_code_revokes_all_the_same(database, made):
    facts = made()
    database("auth").rows("UPDATE auth.users SET generation = generation + 1 WHERE id = :id", id=facts["id"])
    database("auth").rows("DELETE FROM auth.user_roles WHERE user_id = :id", id=facts["id"])

    assert version_of(database, facts) == 2


def test_the_list_has_nobody_whose_tokens_are_expired(system, database, made):
    old, new = made(), made()
    revoke = "UPDATE auth.users SET generation = 1 WHERE id = :id"
    for facts in (old, new):
        database("auth").rows(revoke, id=facts["id"])
    database("auth").rows(
        "UPDATE auth.users SET tokens_revoked_at = now() - interval '961 seconds' WHERE id = :id", id=old["id"]
    )
    versions = system.function("auth-revocations").post().json["versions"]

    assert versions[new["username"]] == 1
    assert old["username"] not in versions


def test_check_token_asks_the_table_itself(oauth, administer, made, log_in):
    facts = made(roles=[{"id": 1}, USER])
    token = log_in(facts).json["access_token"]
    assert oauth("/oauth/check_token", token=token).json["active"]
    administer("POST", "/users/edit", {"username": facts["username"], "roles": [USER]})

    assert oauth("/oauth/check_token", token=token).status == 400


# The list, as it is kept


@pytest.fixture
def kept(settings, monkeypatch):
    """A list that is asked of auth by `kept.ask`, at a time that the test says."""
    settings(AUTH_REVOCATION_SECONDS="5")

    class Kept(revocations.Revocations):
        now, asked, fails, may_answer = 1000.0, 0, False, threading.Event()

        def ask(self, function: str, _: object) -> dict:
            assert function == "auth-revocations"
            self.asked += 1
            assert self.may_answer.wait(10)
            if self.fails:
                raise CallFailed("away")
            return {"versions": {"anna": self.asked}}

        def at(self, seconds: float) -> "Kept":
            self.now = 1000.0 + seconds
            return self

        def settled(self) -> int:
            """How often it has asked, once nobody asks any more."""
            with self._fetching:
                return self.asked

    made = Kept()
    made.may_answer.set()
    monkeypatch.setattr("functions.shared.call.call", lambda *asked: made.ask(*asked))
    monkeypatch.setattr(revocations, "time", type("Clock", (), {"monotonic": staticmethod(lambda: made.now)}))
    return made


ANNA = {"user_name": "anna", "ver": 1}


def test_many_requests_ask_once_and_wait_for_nobody_when_it_is_time_again(kept):
    assert [kept.at(second).has(ANNA) for second in (0, 1, 4.9)] == [False] * 3
    assert kept.settled() == 1
    # These go by the list that there is; later ones by what was fetched beside them.
    kept.may_answer.clear()
    assert [kept.at(second).has(ANNA) for second in (5.1, 5.2)] == [False] * 2
    kept.may_answer.set()
    assert kept.settled() == 2
    assert kept.at(5.3).has(ANNA)


@pytest.mark.parametrize("before", [0, 1], ids=["the first list", "after minutes without anybody"])
def test_those_who_come_while_a_list_is_on_its_way_wait_for_it_together(kept, before: int):
    if before:
        kept.has(ANNA)
        kept.at(300)
    kept.may_answer.clear()
    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(kept.has, ANNA)]
        eventually(lambda: kept.asked > before, "the first to ask")
        answers += [threads.submit(kept.has, ANNA) for _ in range(3)]
        assert not any(answer.done() for answer in answers)
        kept.may_answer.set()
        assert [answer.result(10) for answer in answers] == [bool(before)] * 4
    assert kept.settled() == before + 1


def test_a_list_that_is_too_old_is_waited_for(kept):
    assert not kept.has(ANNA)
    assert kept.at(11).has(ANNA)


def test_an_old_list_is_used_for_a_minute_while_auth_is_away_and_then_nobody_knows(kept):
    assert not kept.has(ANNA)
    kept.fails = True
    assert not kept.at(59).has(ANNA)
    with pytest.raises(Busy):
        kept.at(71).has(ANNA)
    asked = kept.settled()
    with pytest.raises(Busy):
        kept.at(72).has(ANNA)
    assert kept.settled() == asked
    kept.fails = False
    assert kept.at(82).has(ANNA)


def test_a_token_of_an_older_version_of_auth_is_good_until_its_user_is_on_the_list(kept):
    assert not kept.has({"user_name": "boris"})
    assert kept.has({"user_name": "anna"})


def test_where_nobody_knows_a_client_is_asked_to_come_again(started_alone, signed):
    away = {"FUNCTION_URLS": "", "FUNCTION_URL": "http://127.0.0.1:9", "AUTH_REVOCATION_SECONDS": "5"}
    client = started_alone("billing", "balance_get", **away)
    headers = {"Authorization": f"Bearer {signed(user_name=uuid.uuid4().hex)}"}
    answer = client.post("/", json={"username": "x"}, headers=headers)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_a_signed_token_says_the_version_of_its_user(made, log_in, administer):
    facts = made()
    administer("POST", f"/users/{facts['id']}/false")
    administer("POST", f"/users/{facts['id']}/true")
    claims = claims_in(log_in(facts).json["access_token"])

    assert claims["ver"] == 1
    assert claims["exp"] > time.time()
