"""A decision is the memory: what comes twice or at once is decided once and answered alike."""

import json

import pytest

from functions.shared.decisions import Decisions
from functions.shared.step import step
from schemas.events import Sale
from tests.kit import event, send, timeless
from tests.shared.deciding import (
    BEFORE,
    DECISION,
    LOCKING,
    OPENING,
    SHARING,
    alone_or_in_batches,
    every_decision,
    every_step,
    same,
    two_at_once,
)
from tools.declared import steps

# One event, one effect


@every_step
@alone_or_in_batches
def test_an_event_that_comes_three_times_has_one_effect_and_one_answer(bench, short, others):
    orders = ["x", "y", "z"][: others + 1]
    bench.afresh(short, *orders)
    first, rows = bench.send(short, *orders), bench.rows(short)
    assert first.status in (200, 204)
    assert same(first, [bench.send(short, *orders) for _ in range(2)])
    assert rows == bench.rows(short)


@every_decision
def test_three_of_one_event_in_a_batch_have_the_effect_of_one(bench, short):
    bench.afresh(short, "x")
    bench.send(short, "x")
    facts = bench.facts(short)
    bench.afresh(short, "x")
    replies = bench.send(short, "x", "x", "x").json
    assert facts == bench.facts(short)
    assert len({json.dumps(timeless(json.loads(json.dumps(one, default=str)))) for one in replies}) <= 1


@every_decision
def test_a_batch_has_the_effects_and_the_answers_of_its_events_alone(bench, short):
    bench.afresh(short, "x", "y")
    alone = [bench.send(short, order) for order in ("x", "y")]
    facts = bench.facts(short)
    bench.afresh(short, "x", "y")
    batch = bench.send(short, "x", "y").json
    assert facts == bench.facts(short)
    assert [reply.event[1] for reply in alone if reply.status == 200] == [one["id"] for one in batch]


@every_decision
def test_an_event_changes_something(bench, short):
    """Otherwise the tests of this file could be content with nothing."""
    bench.afresh(short, "x")
    before = bench.facts(short)
    bench.send(short, "x")
    assert before != bench.facts(short)


# One event, one statement


@every_decision
def test_an_event_alone_is_one_statement_in_one_trip(bench, short, trips):
    bench.afresh(short, "x")
    trips.clear()
    bench.send(short, "x")
    assert [[DECISION]] == trips


@every_decision
def test_a_batch_is_one_trip_and_its_commit(bench, short, trips):
    bench.afresh(short, "x", "y", "z")
    trips.clear()
    bench.send(short, "x", "y", "z")
    assert [["BEGIN", *[LOCKING] * (short in SHARING), *[DECISION] * 3], ["COMMIT"]] == trips


def test_a_step_that_decides_nothing_makes_no_trip(bench, trips):
    assert [200, 200] == [bench.send("pay.sale", *orders).status for orders in (["x"], ["x", "y"])]
    assert [] == trips


@pytest.mark.parametrize("payStatus", ["NotEnoughMoney", "ClientNotFound"])
def test_where_nothing_is_to_be_booked_no_trip_is_made(bench, payStatus, trips):
    bench.become("pay")
    reply = send(bench.functions["pay.confirmSale"], event("pay.confirmSale", "x", data_={"payStatus": payStatus}))
    assert (200, payStatus, []) == (reply.status, reply.json["payStatus"], trips)


@step
def greedy(order: Sale, db: Decisions) -> None:
    """A step that asks twice."""
    db.row("INSERT INTO emails (order_id, username, email, message) VALUES (:o, 'u', 'e', 'm')", o=order.order_id)
    db.row("SELECT 1 AS one")


@pytest.mark.parametrize("orders", [["x"], ["x", "y"]])
def test_a_second_statement_is_a_bug(bench, orders):
    bench.afresh("notification.email")
    reply = send(greedy, *(event("pay.sale", order) for order in orders))
    assert 500 == reply.status
    assert "RuntimeError in /shared/test_decisions: a step decides in one statement" in reply.json["error"]


def test_of_a_batch_in_which_a_step_asks_twice_nothing_happened(bench):
    bench.afresh("notification.email")
    send(greedy, *(event("pay.sale", order) for order in ("x", "y")))
    assert [] == [fact for fact in bench.facts("notification.email") if fact.startswith("emails")]


def test_a_step_says_by_its_parameters_whether_it_decides():
    assert ["pay.sale"] == [entry.contract.takes.short_type for entry in steps() if not entry.contract.decides]


# Two runs at once


@every_decision
@alone_or_in_batches
@pytest.mark.parametrize("others_of_second", [0, 2], ids=["beside one alone", "beside a batch"])
def test_two_runs_of_one_event_at_once_have_one_effect_and_one_answer(bench, short, others, others_of_second):
    first, second = (["held", *("x", "y")[:n]] for n in (others, others_of_second))
    bench.afresh(short, *{*first, *second})
    bench.send(short, *sorted({*first, *second}, reverse=True))
    facts = bench.facts(short)

    bench.afresh(short, *{*first, *second})
    with two_at_once(bench, lambda: bench.send(short, *first), lambda: bench.send(short, *second)) as runs:
        replies = [run.result() for run in runs]
    assert {reply.status for reply in replies} <= {200, 204}
    assert facts == bench.facts(short)
    rows = bench.rows(short)
    assert same(replies[0], [bench.send(short, *first)])
    assert same(replies[1], [bench.send(short, *second)])
    assert rows == bench.rows(short)


@every_decision
def test_two_runs_of_one_event_at_once_are_both_answered_whatever_the_first_left(bench, short):
    """The beaten run is answered from the other's decision, though alone it would have decided otherwise now."""
    bench.afresh(short, "held")
    bench.admin.rows("UPDATE billing.clients SET opening = 76.09, balance = 76.09 - coalesce((SELECT sum(amount)"
                     " FROM billing.charges), 0)")  # fmt: skip
    bench.admin.rows("UPDATE store.dishes SET in_stock = 2 WHERE in_stock > 2")
    with two_at_once(bench, *[lambda: bench.send(short, "held")] * 2) as runs:
        first, second = (run.result() for run in runs)
    assert first.status in (200, 204)
    assert same(first, [second, bench.send(short, "held")])


@every_decision
def test_batches_with_the_same_orders_in_opposite_order_have_one_effect(bench, short):
    bench.afresh(short, "held", "x")
    plain = bench.send(short, "x", "held")
    facts = bench.facts(short)

    bench.afresh(short, "held", "x")
    with two_at_once(bench, lambda: bench.send(short, "held", "x"), lambda: bench.send(short, "x", "held")) as runs:
        replies = [run.result() for run in runs]
    assert {200} == {reply.status for reply in replies}
    assert facts == bench.facts(short)
    assert same(plain, [bench.send(short, "x", "held")])


def test_a_result_that_its_own_repetition_overtakes_is_looked_at_once_more(bench):
    bench.afresh("order.result", "held")
    with two_at_once(bench, *[lambda: bench.send("order.result", "held")] * 2) as runs:
        assert [204, 204] == [run.result().status for run in runs]


@pytest.mark.parametrize("short", BEFORE)
@alone_or_in_batches
def test_what_comes_too_early_is_looked_at_twice_and_sent_back(bench, short, others, trips):
    bench.afresh(short)
    facts, locking = bench.facts(short), [LOCKING] * (short in SHARING)
    assert 503 == bench.send(short, *["x", "y", "z"][: others + 1]).status
    assert ([[DECISION]] if others == 0 else [["BEGIN", *locking, *[DECISION] * 3], ["ROLLBACK"]]) * 2 == trips
    assert facts == bench.facts(short)


# An order is accepted in one statement too


def test_an_order_is_accepted_in_one_statement_and_found_again_in_one(counter, trips):
    first, again = counter.order("m"), counter.order("m")
    assert (200, "OK", first.text) == (first.status, first.json["status"], again.text)
    assert [[DECISION]] * 2 == trips[:2]
    assert [("m", OPENING)] == counter.accepted()


def test_another_order_by_the_same_message_is_refused_in_one_statement(counter, trips):
    counter.order("m")
    assert "ERROR" == counter.order("m", amount=1).json["status"]
    assert [[DECISION]] * 2 == trips[:2]
    assert [("m", OPENING)] == counter.accepted()


@pytest.mark.parametrize(("changes", "status"), [({}, "OK"), ({"amount": 1}, "ERROR")])
def test_of_two_equal_messages_at_once_one_is_the_order(counter, changes, status):
    first, second = lambda: counter.order("held-m"), lambda: counter.order("held-m", **changes)
    with two_at_once(counter.bench, first, second) as runs:
        one, two = (run.result() for run in runs)
    assert ("OK", status) == (one.json["status"], two.json["status"])
    assert (one.text == two.text) == (status == "OK")
    assert [("held-m", OPENING)] == counter.accepted()
