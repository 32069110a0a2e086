"""Money that is moved by a request with a key is moved once, however often the request is sent."""

import contextlib
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from functions.billing.balance_add import balance_add
from functions.billing.balance_withdraw import balance_withdraw
from functions.billing.internal_add import internal_add
from functions.billing.internal_withdraw import internal_withdraw
from functions.billing.purge import purge
from functions.shared import database, exact_json
from functions.shared.database import Connection
from tests.kit import Reply, ask
from tests.system import eventually

PUBLIC, INTERNAL = (balance_add, balance_withdraw), (internal_add, internal_withdraw)
every_method = pytest.mark.parametrize("method", [*PUBLIC, *INTERNAL], ids=lambda method: method.__name__)
EXPECTED = "Idempotency-Key: expected 1 to 255 printable ASCII characters without blanks, got "
LOCK = 7_002
# A commit that moves money waits for whoever holds the lock.
HOLD = f"""
    CREATE FUNCTION public.hold_commit() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock({LOCK}); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER hold_commit AFTER INSERT ON billing.movements DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION public.hold_commit();
"""
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"


class Client:
    """Who moves money, and what came of it."""

    def __init__(self, rows: Any, token: str):
        self.rows, self.token = rows, token

    def ask(self, method: Callable, amount: str = "5.00", key: str | None = None, **changes: str) -> Reply:
        headers = {"Content_Type": "application/json"}
        headers |= {"Authorization": f"Bearer {self.token}"} if method in PUBLIC else {}
        headers |= {"Idempotency_Key": key} if key is not None else {}
        return ask(method, exact_json.dumps({"username": "user1", "amount": Decimal(amount), **changes}), **headers)

    @property
    def moved(self) -> list[tuple[str, str]]:
        return [(row.kind, str(row.amount)) for row in self.rows.rows("SELECT kind, amount FROM billing.movements")]


@pytest.fixture
def client(billing, settings, secrets, signed) -> Client:
    for table in ("idempotency_keys", "movements"):
        billing.rows(f"DELETE FROM billing.{table}")
    settings(JWT_PUBLIC_KEY_FILE=str(secrets / "jwt-public.pem"))
    return Client(billing, signed(user_name="user1"))


@every_method
def test_the_same_key_and_body_move_money_once_and_are_answered_alike(client, method):
    first, again = (client.ask(method, key="a-1") for _ in range(2))
    assert (200, "OK", first.text) == (first.status, first.json["status"], again.text)
    assert 1 == len(client.moved)


@every_method
@pytest.mark.parametrize(("amount", "other"), [("5.00", "5.01"), ("5.00", "6")])
def test_the_same_key_with_another_body_is_refused_and_moves_nothing(client, method, amount, other):
    client.ask(method, amount, key="a-1")
    reply = client.ask(method, other, key="a-1")
    expected = "Idempotency-Key: expected a new one for another request, got one that was used before"
    assert (422, "ERROR", expected) == (reply.status, reply.json["status"], reply.json["error"])
    assert 1 == len(client.moved)


def test_the_same_body_written_otherwise_is_the_same(client):
    client.ask(balance_add, "5.00", key="a-1")
    assert "OK" == client.ask(balance_add, "5", key="a-1", comment="a field that nobody knows").json["status"]
    assert [("add", "5.00")] == client.moved


@pytest.mark.parametrize("methods", [PUBLIC, INTERNAL], ids=["public", "internal"])
def test_a_key_of_adding_is_no_key_for_withdrawing(client, methods):
    assert [200, 422] == [client.ask(method, key="a-1").status for method in methods]
    assert [("add", "5.00")] == client.moved


def test_a_key_belongs_to_its_caller(client, signed):
    client.rows.rows("INSERT INTO billing.clients (username) VALUES ('user2') ON CONFLICT DO NOTHING")
    other = Client(client.rows, signed(user_name="user2"))
    replies = [client.ask(balance_add, key="k"), other.ask(balance_add, key="k", username="user2")]
    replies.append(client.ask(internal_add, key="k"))
    assert ["OK"] * 3 == [reply.json["status"] for reply in replies]
    assert 3 == len(client.moved)


def test_a_refusal_is_kept_too(client):
    assert "Not enough money" == client.ask(balance_withdraw, "1000.01", key="a-1").json["error"]
    client.ask(balance_add)
    assert "Not enough money" == client.ask(balance_withdraw, "1000.01", key="a-1").json["error"]
    assert [("add", "5.00")] == client.moved


def test_without_a_key_every_request_is_one_of_its_own(client):
    assert ["OK", "OK"] == [client.ask(balance_add).json["status"] for _ in range(2)]
    assert 2 == len(client.moved)


def test_a_key_may_come_in_quotes(client):
    assert ["OK", "OK"] == [client.ask(balance_add, key=key).json["status"] for key in ("a-1", '"a-1"')]
    assert 1 == len(client.moved)


@pytest.mark.parametrize("key", ["", '""', "two words", "x" * 256, "ключ".encode().decode("latin-1")])
def test_a_key_of_another_form_is_refused_by_its_name(client, key):
    reply = client.ask(balance_add, key=key)
    assert (400, True, []) == (reply.status, reply.json["error"].startswith(EXPECTED), client.moved)


def test_a_foreign_name_leaves_the_key_unused(client):
    assert "Access denied" == client.ask(balance_add, key="k", username="user2").json["error"]
    assert "OK" == client.ask(balance_add, key="k").json["status"]


def test_many_at_once_with_one_key_move_money_once(client):
    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(lambda _: client.ask(balance_add, key="a-1"), range(8)))
    assert {(200, replies[0].text)} == {(reply.status, reply.text) for reply in replies}
    assert [("add", "5.00")] == client.moved


def test_old_keys_are_purged_and_young_ones_stay(client, settings):
    settings(IDEMPOTENCY_KEY_HOURS="2")
    client.ask(balance_add, key="young")
    keep = (
        "INSERT INTO billing.idempotency_keys (caller, key, operation, request, answer, kept_at)"
        " SELECT 'user1', n, 'add', '{}', '{}', now() - interval '121 minutes' FROM generate_series(1, 1100) AS n"
    )
    client.rows.rows(keep)
    assert {"keys": 1100} == ask(purge).json
    assert ["young"] == [row.key for row in client.rows.rows("SELECT key FROM billing.idempotency_keys")]


# Nobody knows


@contextlib.contextmanager
def the_answer_to_the_commit_is_lost(client: Client, monkeypatch: pytest.MonkeyPatch):
    """The connection ends while PostgreSQL commits; it does not notice and goes on."""
    used: list[Connection] = []
    take = database.pool.take
    monkeypatch.setattr(database.pool, "take", lambda: used.append(take()) or used[-1])
    client.rows.rows(HOLD)
    holder = client.rows.connected()
    holder.run(f"SELECT pg_advisory_lock({LOCK})")

    def cut() -> None:
        eventually(lambda: client.rows.value(WAITING), "the commit to wait")
        used[-1]._connection._usock.shutdown(socket.SHUT_RDWR)

    with ThreadPoolExecutor(1) as threads:
        cutting = threads.submit(cut)
        yield
        cutting.result()
    holder.close()
    client.rows.rows("DROP TRIGGER hold_commit ON billing.movements; ")
    client.rows.rows("DROP FUNCTION public.hold_commit")


def test_when_nobody_knows_whether_money_moved_the_answer_is_504_without_retry_after(client, monkeypatch):
    with the_answer_to_the_commit_is_lost(client, monkeypatch):
        reply = client.ask(balance_add)
    assert (504, False) == (reply.status, "Retry-After" in reply.headers)
    expected = "Nobody knows whether it was done; with an Idempotency-Key it is safe to ask again"
    assert expected == reply.json["message"]
    eventually(lambda: client.moved == [("add", "5.00")], "the commit to be done all the same")


def test_with_a_key_it_may_be_asked_again_and_money_moves_once(client, monkeypatch):
    with the_answer_to_the_commit_is_lost(client, monkeypatch):
        reply = client.ask(balance_add, key="a-1")
    assert (503, "1") == (reply.status, reply.headers["Retry-After"])
    assert "OK" == client.ask(balance_add, key="a-1").json["status"]
    assert [("add", "5.00")] == client.moved
