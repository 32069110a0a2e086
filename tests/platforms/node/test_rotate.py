"""`make rotate` and what a person does between its steps, each secret, while clients go on ordering."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import jwt
import pg8000.native
import urllib3

from functions.shared.installation import EXPECTED
from tests.conftest import API, User
from tests.platforms.cluster.conftest import make
from tests.platforms.cluster.network import GATEWAY
from tests.platforms.node.installed import Installed
from tests.stories.conftest import Stage
from tests.system import Answer, eventually
from tools.local.environment import ROOT

# Knative's sender, the functions' callers and what they call read a Secret again within so many seconds.
SEEN = 60
INTERNAL = ("order-flush", "pay-sale", "billing-withdraw", "store-booking-food", "notification-missing")


@contextmanager
def ordering(stage: Stage, guest: User) -> Iterator[list[tuple[int, str]]]:
    """Orders one after the other, by a client who comes again when told to; gives every answer, and ends them all."""
    dish, over = stage.dish(stock=100_000), threading.Event()
    answers: list[tuple[int, str]] = []

    def order_on() -> None:
        while not over.is_set():
            body = stage.body(guest, dish)
            answer = stage.system.gateway.post(f"{API}/external/order", json=body, token=guest.token)
            if answer.status != 503:
                answers.append((answer.status, answer.json.get("orderId", answer.text)))

    with ThreadPoolExecutor(1) as thread:
        client = thread.submit(order_on)
        try:
            yield answers
        finally:
            over.set()
        client.result()
    assert {200} == {status for status, _ in answers}, answers
    ids = [id for _, id in answers]
    assert ["Completed"] * len(ids) == stage.settled(*ids, seconds=120)
    print(f"{len(ids)} orders meanwhile")


def step(system: Installed, what: str, name: str) -> None:
    """As `make rotate` does it; then until everything that was started anew is ready."""
    command = [sys.executable, "-m", "tools.rotate", what, name]
    done = subprocess.run(
        command, cwd=ROOT, env=system.cluster.environment, capture_output=True, text=True, timeout=300
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    eventually(lambda: not system.in_rollout(), "everything that was started anew to be ready", 180, every=1)


def test_the_installations_token(stage, system):
    old = system.secret("installation-token")
    with ordering(stage, stage.new_user(100_000)) as answers:
        step(system, "token", "begin")
        new = system.secret("installation-token").partition(".")[0]
        assert new != old
        eventually(lambda: accepted(system, new) == {True}, "everybody to know the new one", SEEN, every=1)
        assert {True} == accepted(system, old)
        step(system, "token", "switch")
        step(system, "token", "finish")
        eventually(lambda: accepted(system, old) == {False}, "nobody to know the old one", SEEN, every=1)
        more(answers)
    assert {True} == accepted(system, new)


def accepted(system: Installed, token: str) -> set[bool]:
    """Whether functions take a token for the installation's; steps answer 503 to another, which may be late."""
    headers = {"Authorization": f"Bearer {token}"}
    return {EXPECTED not in system.function(name).post(headers=headers).text for name in INTERNAL}


def test_the_owners_passwords(stage, system):
    old = password_of(system, "order-database-url")
    with ordering(stage, stage.new_user(100_000)) as answers:
        step(system, "database", "begin")
        assert opens(old)
        step(system, "database", "switch")
        make(system.cluster, ROOT, "up", "--overlay", "small", "--seconds", "600")
        assert not opens(old)
        more(answers)
        step(system, "database", "finish")
        more(answers)
    assert opens(password_of(system, "order-database-url"))


def password_of(system: Installed, secret: str) -> str:
    return system.secret(secret).split()[0].partition("@")[0].rpartition(":")[2]


def opens(password: str) -> bool:
    """Whether the order's role gets in with it."""
    try:
        pg8000.native.Connection("order", host=GATEWAY, database="food", password=password).close()
    except pg8000.native.DatabaseError:
        return False
    return True


def test_the_key_that_signs(stage, system):
    guest = stage.new_user(100_000)
    with ordering(stage, guest) as answers:
        step(system, "jwt", "begin")
        more(answers)
        step(system, "jwt", "switch")
        more(answers)
        token = insisted(lambda: signed_in(system, guest)).json["access_token"]
        assert key_of(guest.token) != key_of(token)
    step(system, "jwt", "finish")
    assert 401 == insisted(lambda: balance(system, guest, guest.token)).status
    assert 200 == insisted(lambda: balance(system, guest, token)).status


def signed_in(system: Installed, guest: User) -> Answer:
    body = {"username": guest.username, "password": guest.password}
    return system.gateway.post(f"{API}/auth/token", json=body)


def balance(system: Installed, guest: User, token: str) -> Answer:
    body = {"username": guest.username}
    return system.gateway.post(f"{API}/external/user/balance/get", json=body, token=token)


def insisted(call: Callable[[], Answer]) -> Answer:
    """The answer of a client who comes again when told to."""

    def answered() -> Answer | None:
        answer = call()
        return answer if answer.status != 503 else None

    return eventually(answered, "another answer than 503", 60, every=0.5)


def key_of(token: str) -> str:
    return jwt.get_unverified_header(token)["kid"]


def test_the_secret_of_the_oauth_client(stage, system):
    old = system.secret("oauth-client-secret")
    guest = stage.new_user(100_000)
    with ordering(stage, guest) as answers:
        step(system, "oauth-client", "begin")
        new = system.secret("oauth-client-secret").split()[0]
        assert (200, 200) == (login(system, guest, old), login(system, guest, new))
        step(system, "oauth-client", "switch")
        step(system, "oauth-client", "finish")
        assert 200 == login(system, guest, new)
        assert 200 != login(system, guest, old)
        more(answers)


def login(system: Installed, guest: User, secret: str) -> int:
    """The status of the token endpoint."""
    form = f"grant_type=password&username={guest.username}&password={guest.password}"
    headers = urllib3.make_headers(basic_auth=f"USER_CLIENT_APP:{secret}")
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    return insisted(lambda: system.gateway.post("/oauth/token", data=form, headers=headers)).status


def more(answers: list[Any]) -> None:
    """Wait for the next order that is accepted."""
    count = len(answers)
    eventually(lambda: len(answers) > count, "one more order", 60)
