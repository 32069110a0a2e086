"""Requests that come together are one trip and one commit, and each is answered as if it had come alone."""

import asyncio
import json
from functools import partial
from typing import Any

import pytest

from functions.order.submit import ACCEPT, submit
from functions.shared import database, group_commit
from functions.shared.group_commit import together
from functions.shared.request import Headers, Request
from tests.kit import Reply
from tests.shared.deciding import DECISION, OPENING, ORDERS, cut, holding, two_at_once, waiting
from triggers.functions import Functions


@pytest.fixture
def order(counter):
    """Orders that come together, by their messages; what is changed comes as a second part."""

    def requested(wish: Any, **more: str) -> Request:
        message, changes = wish if isinstance(wish, tuple) else (wish, {})
        body, headers = counter.request(message, **changes)
        return Request("POST", ORDERS, Headers.of([*headers.items(), *more.items()]), body.encode())

    def ordered(*wishes: Any) -> list[Reply]:
        return [Reply(answer) for answer in together([partial(submit, requested(wish)) for wish in wishes])]

    ordered.requested = requested
    return ordered


def statuses(replies: list[Reply]) -> list[str]:
    return [reply.json["status"] for reply in replies]


def quotient(divisor: int, done: list[int]) -> int:
    with group_commit.autocommit() as db:
        db.after_commit(lambda: done.append(divisor))
        return db.row("SELECT 6 / CAST(:divisor AS integer) AS quotient", divisor=divisor).quotient


def inserted(message: str) -> str:
    with group_commit.autocommit() as db:
        db.row("INSERT INTO outbox (id, type, order_id) VALUES (:m, 'a', :m)", m=message)
    return message


def kept(counter) -> list[str]:
    return [row.id for row in counter.bench.admin.rows('SELECT id FROM "order".outbox ORDER BY 1')]


def test_orders_that_come_together_are_accepted_in_one_trip(order, counter, trips):
    assert ["OK"] * 3 == statuses(order("a", "b", "c"))
    assert [DECISION] * 3 in trips
    assert [(message, OPENING) for message in "abc"] == counter.accepted()


def test_each_is_answered_as_if_it_had_come_alone(order, counter):
    alone = [counter.order(message).text for message in "abc"]
    assert alone == [reply.text for reply in order("a", "b", "c")]


def test_one_message_twice_is_one_order(order, counter):
    first, again = order("m", "m")
    assert ("OK", first.text) == (first.json["status"], again.text)
    assert [("m", OPENING)] == counter.accepted()


def test_one_message_for_two_orders_is_one_order_and_one_refusal(order, counter):
    assert ["ERROR", "OK"] == sorted(statuses(order("m", ("m", {"amount": 1}))))
    assert [("m", OPENING)] == counter.accepted()


def test_each_keeps_its_own_trace(order, counter):
    traces = {message: f"00-{message * 32}-{message * 16}-01" for message in "abc"}
    together([partial(submit, order.requested(message, traceparent=trace)) for message, trace in traces.items()])
    joined = 'SELECT msg_id, traceparent FROM "order".outbox JOIN "order".orders USING (order_id)'
    assert traces == {row.msg_id: row.traceparent for row in counter.bench.admin.rows(joined)}


def test_what_is_refused_before_the_database_is_asked_takes_no_part_in_it(order, trips):
    assert [400, 200, 200] == [reply.status for reply in order(("a", {"amount": "x"}), "b", "c")]
    assert [DECISION] * 2 in trips


@pytest.mark.usefixtures("counter")
def test_who_asks_for_what_cannot_be_has_that_alone():
    done: list[int] = []
    first, second, third = together([partial(quotient, divisor, done) for divisor in (1, 0, 3)])
    assert (6, 2, database.Refused) == (first, third, type(second))
    assert [1, 3] == sorted(done)


def test_who_fails_beside_the_database_has_that_alone(counter):
    def wrong() -> None:
        raise RuntimeError("a bug")

    outcomes = together([wrong, partial(inserted, "x")])
    assert ("a bug", "x") == (str(outcomes[0]), outcomes[1])
    assert ["x"] == kept(counter)


def test_what_one_has_inserted_stays_when_another_insert_fails(counter):
    inserted("there")
    outcomes = together([partial(inserted, message) for message in ("a", "there", "b")])
    assert ("a", database.Duplicate, "b") == (outcomes[0], type(outcomes[1]), outcomes[2])
    assert ["a", "b", "there"] == kept(counter)


@pytest.mark.usefixtures("counter")
def test_who_asks_more_than_once_goes_on_in_others_company(trips):
    def twice(message: str) -> list[str]:
        return [inserted(message), inserted(f"{message}2")]

    assert [["a", "a2"], "b", ["c", "c2"]] == together(
        [partial(twice, "a"), partial(inserted, "b"), partial(twice, "c")]
    )
    assert [3, 2] == [len(trip) for trip in trips]


@pytest.mark.parametrize(("when", "there"), [("before", []), ("after", ["a", "b"])])
def test_without_a_database_everybody_hears_so_and_asks_again(order, counter, when, there):
    with cut(counter.bench, "order", when, ACCEPT):
        assert [503, 503] == [reply.status for reply in order("a", "b")]
    assert there == [message for message, _ in counter.accepted()]
    assert ["OK", "OK"] == statuses(order("a", "b"))
    assert ["a", "b"] == [message for message, _ in counter.accepted()]


def test_groups_with_the_same_orders_in_opposite_order_do_not_wait_for_each_other(order, counter, monkeypatch):
    troubles: list[Exception] = []
    monkeypatch.setattr(group_commit, "_answer_each", lambda _, problem: troubles.append(problem))
    with two_at_once(counter.bench, lambda: order("held-a", "b"), lambda: order("b", "held-a")) as runs:
        first, second = (run.result() for run in runs)
    assert [reply.text for reply in first] == [reply.text for reply in reversed(second)]
    assert [] == troubles
    assert [("b", OPENING), ("held-a", OPENING)] == counter.accepted()


def test_our_server_groups_what_comes_while_others_are_worked_on(order, counter, trips):
    """The first waits for a lock, and those that come meanwhile go together as soon as it is known to hang."""

    async def served(app: Functions, message: str) -> str:
        request, body = order.requested(message), bytearray()
        arriving = iter([{"type": "http.request", "body": request.body, "more_body": False}])

        async def receive() -> dict[str, Any]:
            return next(arriving)

        async def send(sent: dict[str, Any]) -> None:
            body.extend(sent.get("body", b""))

        headers = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
        scope = {"type": "http", "method": "POST", "path": ORDERS, "query_string": b"", "headers": headers}
        await app(scope, receive, send)
        return json.loads(bytes(body))["status"]

    async def story() -> list[str]:
        app = Functions(2, alone=submit)
        first = asyncio.create_task(served(app, "held-a"))
        await asyncio.to_thread(waiting, counter.bench.admin, 1)
        trips.clear()
        others = await asyncio.gather(*[served(app, message) for message in "bcd"])
        assert not first.done()
        assert [DECISION] * 3 in trips
        await asyncio.to_thread(release)
        return [await first, *others]

    with holding(counter.bench.admin) as release:
        assert ["OK"] * 4 == asyncio.run(story())
    assert ["b", "c", "d", "held-a"] == [message for message, _ in counter.accepted()]
