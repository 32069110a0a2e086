"""A step that is cut off before, within or after its statement or its commit does its work once all the same."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import urllib3

from functions.order.submit import ACCEPT
from functions.shared import exact_json
from tests.kit import STRUCTURED
from tests.shared.deciding import (
    OPENING,
    alone_or_in_batches,
    cut,
    ended_afterwards,
    every_decision,
    holding,
    process_of,
    same,
    waiting,
)


@every_decision
@alone_or_in_batches
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_step_whose_connection_ends_around_its_commit_does_its_work_once(bench, short, others, when):
    orders, owner = ["x", "y", "z"][: others + 1], short.partition(".")[0]
    bench.afresh(short, *orders)
    plain, facts = bench.send(short, *orders), bench.facts(short)

    bench.afresh(short, *orders)
    untouched = bench.facts(short)
    with cut(bench, owner, when, "COMMIT" if others else None):
        assert 503 == bench.send(short, *orders).status
    assert (facts if when == "after" else untouched) == bench.facts(short)
    assert same(plain, [bench.send(short, *orders)])
    assert facts == bench.facts(short)


@every_decision
@alone_or_in_batches
def test_a_step_whose_connection_ends_within_its_statement_has_done_nothing_of_it(bench, short, others):
    orders = ["held", "x", "y"][: others + 1]
    bench.afresh(short, *orders)
    untouched = bench.facts(short)
    with ThreadPoolExecutor(1) as threads, holding(bench.admin):
        run = threads.submit(bench.send, short, *orders)
        (pid,) = waiting(bench.admin, 1)
        bench.admin.rows("SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
        assert 503 == run.result().status
    assert untouched == bench.facts(short)
    again = bench.send(short, *orders)
    assert again.status in (200, 204)
    assert same(again, [bench.send(short, *orders)])
    assert untouched != bench.facts(short)


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_order_whose_end_is_not_known_is_notified_by_nobody_but_the_flush(bench, broker, when):
    bench.afresh("order.result", "x", "y")
    with cut(bench, "order", when, "COMMIT"):
        bench.send("order.result", "x", "y")
    assert [] == broker.calls
    waiting_rows = bench.admin.value('SELECT count(*) FROM "order".outbox')
    assert (0 if when == "before" else 2) == waiting_rows


@every_decision
def test_a_process_that_is_killed_within_its_statement_leaves_one_effect_to_the_next(bench, short, tmp_path):
    """PostgreSQL does not see that its client is gone: the statement goes on, beside its repetition."""
    bench.afresh(short, "held")
    plain, facts = bench.send(short, "held"), bench.facts(short)
    bench.afresh(short, "held")
    sent = {"data": exact_json.dumps(bench.event(short, "held")), "headers": {"Content-Type": STRUCTURED}}
    first, second = (process_of(short, tmp_path, number) for number in (1, 2))
    with ThreadPoolExecutor(2) as threads, holding(bench.admin) as release, ended_afterwards(first, second):
        lost = threads.submit(first.http.post, **sent)
        waiting(bench.admin, 1)
        first.child.signal(signal.SIGKILL)
        assert isinstance(lost.exception(), urllib3.exceptions.HTTPError)
        again = threads.submit(second.http.post, **sent)
        waiting(bench.admin, 2)
        release()
        answer = again.result()
    assert (plain.status, plain.text, plain.event[1]) == (answer.status, answer.text, answer.headers.get("ce-id"))
    assert facts == bench.facts(short)


@pytest.mark.parametrize(("when", "orders"), [("before", []), ("after", [("m", OPENING)])])
def test_a_client_that_hears_503_orders_again_and_has_one_order(counter, when, orders):
    with cut(counter.bench, "order", when, ACCEPT):
        assert 503 == counter.order("m").status
    assert orders == counter.accepted()
    assert "OK" == counter.order("m").json["status"]
    assert [("m", OPENING)] == counter.accepted()
