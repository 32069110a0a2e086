"""Orders whose every step is killed at each of its points and starts again: each ends as it should, once.

A step is killed at its first point and gets its event again, is killed at its second point, and so on until it gets
through; then it gets the event once more, because its answer was lost. With CRASH_POINTS=all each point has orders of
its own besides, which are killed there alone.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

import pytest

from functions.billing.balance_add import balance_add
from functions.billing.balance_withdraw import balance_withdraw
from functions.order import outbox
from functions.order.flush import flush
from functions.order.redrive import redrive
from functions.order.submit import submit
from functions.shared import exact_json
from tests.crash_points import FUNCTIONS, Plug
from tests.fakes import Call, FakeFunction
from tests.kit import Reply, ask, event, send
from tests.shared.deciding import RESET, Kept
from tests.system import Rows
from tools.audit import findings, report
from tools.declared import steps

# How an order can end: what is wrong with it, and its three statuses.
OUTCOMES: dict[str, tuple[dict[str, Any], tuple[str, str, str]]] = {
    "completed": ({}, ("Ok", "Ok", "Ok")),
    "no money": ({"amount": 1000.01}, ("NotEnoughMoney", "Skipped", "Skipped")),
    "no such client": ({"userName": "nobody"}, ("ClientNotFound", "Skipped", "Skipped")),
    "sold out": ({"dishs": [{"menuId": 1, "count": 11}]}, ("Ok", "NotAvailable", "Skipped")),
    "couriers busy": ({"deliveryHour": 1}, ("Ok", "Ok", "AllBusy")),
}
ALL = os.environ.get("CRASH_POINTS") == "all"
REQUEST = {name: event("pay.sale", "x")["data"][name] for name in (
    "amount", "discount", "quantity", "userName", "dishs", "deliveryDate", "deliveryHour")}  # fmt: skip
STATUSES = 'SELECT msg_id, pay_status, store_status, delivery_status FROM "order".orders WHERE msg_id LIKE :prefix'


class Memory:
    """The sender's, in a process that dies right after its commit."""

    def __init__(self) -> None:
        self.waiting: deque[outbox.Outgoing] = deque()
        self.put = self.waiting.append


class World:
    """The functions in this process, the broker's side of their outbox, and a plug that is pulled."""

    def __init__(self, rows: Kept, become: Callable, broker: FakeFunction, plug: Plug, signed: Callable):
        self.rows, self._become, self.broker, self.plug, self._signed = rows, become, broker, plug, signed
        self.memory = Memory()
        self.functions = {entry.contract.takes.event_type: entry for entry in steps()}
        self.killed: list[tuple[str, str]] = []
        self._owner, self._read = "", 0

    def become(self, owner: str) -> None:
        if owner != self._owner:
            self._become(owner)
            self._owner = owner

    def insist(self, what: str, work: Callable[[], Reply], points: Iterable[int] | None = None) -> Reply:
        """Do `work`, killed at these points in turn (each, if none are named) until it gets through."""
        self.become(what.partition(".")[0])
        for at in count() if points is None else points:
            answer = self.plug.kill(work, at)
            if not self.plug.where:
                return answer
            self.killed.append((what, self.plug.where))
        return work()

    def headers(self, username: str) -> dict[str, str]:
        return {"Content_Type": "application/json", "Authorization": f"Bearer {self._signed(user_name=username)}"}

    def order(self, message: str, points: Iterable[int] | None = None, **changes: Any) -> None:
        body = {**REQUEST, "msgId": message, **changes}
        headers = self.headers(body["userName"])
        taken = self.insist("order.submit", lambda: ask(submit, exact_json.dumps(body), **headers), points)
        assert "OK" == taken.json["status"], taken.text

    def play(self, alone: bool, only: tuple[str, int] | None = None) -> None:
        """What was accepted, to its end; killed everywhere, or `only` in one step at one point."""

        def points(what: str) -> list[int] | None:
            return None if only is None else [only[1]] if what == only[0] else []

        waiting = deque(self.sent(alone, points))
        while waiting:
            type = waiting[0]["type"]
            some = [waiting.popleft()] if alone else [one for one in waiting if one["type"] == type]
            waiting = deque(one for one in waiting if one not in some)
            waiting += self.deliver(type, some, points)
            if not waiting:
                waiting += self.sent(alone, points)

    def deliver(self, type: str, events: list[dict], points: Callable[[str], list[int] | None]) -> list[dict]:
        step, what = self.functions[type].handle, type.removeprefix("homework.arch.")
        first = self.insist(what, lambda: send(step, *events), points(what))
        assert first.status in (200, 204), first.text
        again = send(step, *events)
        assert [one["id"] for one in _events(first)] == [one["id"] for one in _events(again)]
        self.audit(open_is_fine=True)
        return _events(first)

    def sent(self, alone: bool, points: Callable[[str], list[int] | None]) -> list[dict]:
        """What the broker has got: from the memory of who has written it, or from the flush."""
        while alone and self.memory.waiting:
            outgoing = self.memory.waiting.popleft()
            send_now = lambda: outbox._cross_out(outbox._send_now([outgoing])[0])  # noqa: B023, E731
            self.insist("order.sender", send_now, points("order.sender"))
        self.memory.waiting.clear()
        self.insist("order.flush", lambda: ask(flush), points("order.flush"))
        calls, self._read = self.broker.calls[self._read :], len(self.broker.calls)
        bodies = [exact_json.loads(call.body) for call in calls]
        found = [one for body in bodies for one in (body if isinstance(body, list) else [body])]
        return [*{one["id"]: one for one in found}.values()]

    def audit(self, open_is_fine: bool = False) -> None:
        found = findings(self.rows.connection, open_is_fine)
        assert [] == found, report(found)

    def statuses(self, prefix: str) -> dict[str, tuple[str, str, str]]:
        return {row[0]: tuple(row[1:]) for row in self.rows.rows(STATUSES, prefix=f"{prefix}%")}


def _events(reply: Reply) -> list[dict]:
    if reply.status == 204:
        return []
    if reply.text.startswith("["):
        return reply.json
    attributes = {name[3:]: value for name, value in reply.headers.items() if name.startswith("ce-")}
    return [{**attributes, "data": reply.json}]


@pytest.fixture(scope="module")
def kept(admin: Rows):
    rows = Kept(admin.url)
    yield rows
    rows.connection.close()


@pytest.fixture
def world(kept, become, broker, settings, secrets, signed, monkeypatch) -> World:
    kept.rows(RESET)
    kept.rows("DELETE FROM billing.idempotency_keys")
    settings(
        JWT_PUBLIC_KEY_FILE=str(secrets / "jwt-public.pem"), ORDER_BACKLOG_SECONDS="off", ORDER_OUTBOX_AGE_SECONDS="0"
    )
    made = World(kept, become, broker, Plug(monkeypatch), signed)
    monkeypatch.setattr(outbox, "_sender", made.memory)
    return made


def busy(world: World) -> None:
    """Every courier of hour 1 is taken, by orders that nobody has killed."""
    for number in range(3):
        world.order(f"busy-{number}", [], deliveryHour=1, amount=1)
    world.play(alone=True, only=("nothing", 0))


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_order_whose_every_step_is_killed_at_every_point_ends_once(world, outcome):
    changes, expected = OUTCOMES[outcome]
    busy(world)
    world.order("alone", **changes)
    world.play(alone=True)
    world.audit()
    assert {"alone": expected} == world.statuses("alone")
    assert {point.name for point in FUNCTIONS if point.of != "commit" and "function" not in point.name} <= seen(world)


def test_a_batch_of_orders_whose_every_step_is_killed_at_every_point_ends_once(world):
    busy(world)
    for outcome, (changes, _) in OUTCOMES.items():
        world.order(f"batch {outcome}", **changes)
    world.play(alone=False)
    world.audit()
    assert {f"batch {outcome}": expected for outcome, (_, expected) in OUTCOMES.items()} == world.statuses("batch")
    assert {point.name for point in FUNCTIONS if "function" not in point.name} <= seen(world)


def test_money_moves_once_although_the_request_is_killed_at_every_point(world):
    headers = world.headers("user1")
    for method, key in ((balance_add, "a"), (balance_withdraw, "w")):
        body = '{"username": "user1", "amount": 5}'
        answer = world.insist(f"billing.{key}", lambda: ask(method, body, Idempotency_Key=key, **headers))  # noqa: B023
        assert "OK" == answer.json["status"]
    moved = world.rows.rows("SELECT kind, amount FROM billing.movements ORDER BY id")
    assert [("add", 5), ("withdraw", 5)] == [tuple(row) for row in moved]
    assert {"the commit is sent and not answered", "a statement is answered"} <= seen(world)


def test_a_redrive_that_is_killed_at_every_point_heals_all_the_same(world, settings):
    """One order's first event is lost, another one's notification."""
    notification = FakeFunction(lambda call: (200, {}, _lacking(world, call))).start()
    settings(FUNCTION_URL=notification.url)
    world.order("redrive told", [])
    world.play(alone=True, only=("nothing", 0))
    world.rows.rows("DELETE FROM notification.emails")
    world.order("redrive begun", [])
    world.sent(True, lambda _: [])

    def redriven() -> Reply:
        world.rows.rows("UPDATE \"order\".orders SET redrive_at = now() - interval '1 second', redrives = 0")
        return ask(redrive)

    assert 200 == world.insist("order.redrive", redriven).status
    world.play(alone=True, only=("nothing", 0))
    world.audit()
    assert {"before another function is asked", "another function has answered"} <= seen(world)
    notification.stop()


def _lacking(world: World, call: Call) -> bytes:
    there = {row.order_id for row in world.rows.rows("SELECT order_id FROM notification.emails")}
    return json.dumps({"orderIds": [id for id in json.loads(call.body)["orderIds"] if id not in there]}).encode()


def seen(world: World) -> set[str]:
    return {where for _, where in world.killed}


# A statement has three points, a commit three more; the flush has two statements, a post and a commit.
DECIDING = [entry.contract.takes.short_type for entry in steps() if entry.contract.decides]
POINTS = [(step, at, alone) for step in DECIDING for alone in (True, False) for at in range(3 if alone else 6)]
POINTS += [("order.flush", at, False) for at in range(11)] + [("order.sender", at, True) for at in range(5)]


@pytest.mark.skipif(not ALL, reason="make crash-points: each point by itself")
@pytest.mark.parametrize(("step", "at", "alone"), POINTS)
def test_orders_that_are_killed_at_one_point_of_one_step_end_once(world, step, at, alone):
    busy(world)
    for outcome, (changes, _) in OUTCOMES.items():
        world.order(outcome, [], **changes)
    world.play(alone, only=(step, at))
    world.audit()
    assert {step} == {what for what, _ in world.killed}
    assert {outcome: expected for outcome, (_, expected) in OUTCOMES.items()} == {
        message: statuses for message, statuses in world.statuses("").items() if not message.startswith("busy")
    }
