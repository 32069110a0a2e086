"""The outbox: sent once, in order, whatever the broker answers."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cloudevents.http import CloudEvent

from functions.order import outbox
from functions.order.broker import AT_A_TIME, Outgoing
from functions.order.flush import flush
from functions.order.notice import notice_event
from functions.order.saga_start import event_id, start_event
from functions.shared import database, exact_json
from functions.shared.telemetry import traces
from tests.fakes import FakeFunction
from tests.kit import BATCH, STRUCTURED, ask, event
from tests.system import Rows, eventually

ORDER = """
    INSERT INTO "order".orders (order_id, msg_id, username, email, request, amount, status, redrive_at, reason)
    VALUES (:id, :id, 'user1', 'user1@example.org', :request, 76.09, 'Accepted', now(), 'told')
    ON CONFLICT (order_id) DO UPDATE SET status = 'Accepted'
    RETURNING order_id, msg_id, username, email, request, reason
"""
REQUEST = {name: event("pay.sale", "x")["data"][name] for name in (
    "amount", "discount", "quantity", "userName", "dishs", "deliveryDate", "deliveryHour")}  # fmt: skip


def order(admin: Rows, id: str) -> Any:
    """The row of an accepted order."""
    return admin.row(ORDER, id=id, request=exact_json.dumps(REQUEST))


def opened(admin: Rows, *ids: str) -> list[CloudEvent]:
    """The first events of new orders."""
    return [start_event(order(admin, id)) for id in ids]


def put(*made: CloudEvent) -> None:
    """Write that these are to be sent, and end before one is."""
    with database.transaction() as db:
        for one in made:
            outbox.put(db, one)
        db.forget_actions()


def sent_to(broker: FakeFunction) -> list[dict[str, Any]]:
    """The events that the broker was asked to take, whether alone or as a batch."""
    bodies = [exact_json.loads(call.body) for call in broker.calls]
    return [one for body in bodies for one in (body if isinstance(body, list) else [body])]


def subjects(broker: FakeFunction) -> list[str]:
    return [one["subject"] for one in sent_to(broker)]


def kept(admin: Rows) -> list[tuple[str, str | None]]:
    """What is in the outbox: of which order, and why it was refused."""
    return [tuple(row) for row in admin.rows('SELECT order_id, refusal FROM "order".outbox ORDER BY position')]


@pytest.fixture
def at_once(broker: FakeFunction, settings: Any) -> FakeFunction:
    """The flush takes up whatever waits, however young."""
    settings(ORDER_OUTBOX_AGE_SECONDS="0")
    return broker


def test_what_waits_is_sent_in_its_order_and_deleted(at_once, admin):
    put(*opened(admin, "o1", "o2", "o3"))
    put(*opened(admin, "o2"))
    assert {"sent": 3} == ask(flush).json
    assert ["o1", "o2", "o3"] == subjects(at_once)
    assert [] == kept(admin)


def test_a_row_of_the_version_before_with_a_whole_event_is_sent_as_it_is(at_once, admin):
    whole = event("notification.email", "o9", id="whole")
    insert = 'INSERT INTO "order".outbox (id, event, traceparent, tracestate) VALUES (:id, :event, NULL, NULL)'
    admin.rows(insert, id="whole", event=exact_json.dumps(whole))
    put(*opened(admin, "o1"))
    assert {"sent": 2} == ask(flush).json
    assert [whole["data"], "o1"] == [sent_to(at_once)[0]["data"], subjects(at_once)[1]]
    assert [] == kept(admin)


def test_many_events_are_one_request(at_once, admin):
    put(*opened(admin, "o1", "o2", "o3"))
    ask(flush)
    assert [BATCH] == [call.headers["content-type"] for call in at_once.calls]


def test_the_event_is_made_from_its_order_when_it_is_sent(at_once, admin):
    (made,) = opened(admin, "o1")
    put(made, notice_event(order(admin, "o1")))
    ask(flush)
    first, notice = sent_to(at_once)
    assert (made["id"], "homework.arch.order.newOrder") == (first["id"], first["type"])
    assert exact_json.dumps(made.data) == exact_json.dumps(first["data"])
    assert ("homework.arch.notification.email", "told") == (notice["type"], notice["data"]["message"])


@pytest.mark.parametrize("status", [None, 503, 500, 404])
def test_while_the_broker_is_away_everything_stays(at_once, admin, status):
    put(*opened(admin, "o1", "o2"))
    if status is None:
        at_once.stop()
    at_once.behave = lambda _: (status, {}, b"")
    assert {"sent": 0} == ask(flush).json
    assert [("o1", None), ("o2", None)] == kept(admin)
    if status is None:
        at_once.start()
    at_once.behave = lambda _: (202, {}, b"")
    assert {"sent": 2} == ask(flush).json


def test_an_event_that_the_broker_refuses_is_marked_and_holds_up_no_other(at_once, admin):
    at_once.behave = lambda call: (400, {}, b"bad") if event_id("o1").encode() in call.body else (202, {}, b"")
    put(*opened(admin, "o1", "o2"))
    assert {"sent": 1} == ask(flush).json
    assert [("o1", "400 bad")] == kept(admin)
    calls = len(at_once.calls)
    assert {"sent": 0} == ask(flush).json
    assert calls == len(at_once.calls)


def test_an_event_that_was_refused_is_sent_again_when_its_order_is_driven_on(at_once, admin):
    at_once.behave = lambda _: (400, {}, b"bad")
    put(*opened(admin, "o1"))
    assert {"sent": 0} == ask(flush).json
    at_once.behave = lambda _: (202, {}, b"")
    put(*opened(admin, "o1"))
    assert [("o1", None)] == kept(admin)
    assert {"sent": 1} == ask(flush).json
    assert [] == kept(admin)


def test_a_broker_that_takes_no_batches_is_sent_single_events_from_then_on(at_once, admin):
    at_once.behave = lambda call: (415 if call.is_batch else 202, {}, b"")
    put(*opened(admin, "o1", "o2"))
    assert {"sent": 2} == ask(flush).json
    put(*opened(admin, "o3", "o4"))
    assert {"sent": 2} == ask(flush).json
    assert [BATCH, *[STRUCTURED] * 4] == [call.headers["content-type"] for call in at_once.calls]


def test_a_broker_that_is_away_is_not_asked_for_each_event(at_once, admin):
    at_once.behave = lambda call: (415 if call.is_batch else 503, {}, b"")
    put(*opened(admin, *(f"o{n}" for n in range(20))))
    assert {"sent": 0} == ask(flush).json
    assert 1 + AT_A_TIME == len(at_once.calls)
    assert 20 == len(kept(admin))


def test_with_a_slow_broker_what_is_confirmed_in_time_is_kept_as_sent(at_once, admin, monkeypatch):
    monkeypatch.setattr(outbox.broker, "LONGEST", 0.01)
    monkeypatch.setattr(outbox.broker._Known, "takes_batches", False)
    put(*opened(admin, *(f"o{n:02}" for n in range(20))))
    slow = threading.Event()
    at_once.behave = lambda _: (slow.wait(0.02) or 202, {}, b"")
    assert (AT_A_TIME, 0) == outbox._flush_some(age=0)
    assert [f"o{n:02}" for n in range(AT_A_TIME, 20)] == [id for id, _ in kept(admin)]


def test_a_refusal_beside_an_outage_leaves_the_outage_known(broker, admin):
    first, second = opened(admin, "r1", "r2")
    answers = {first["id"]: (415, {}, b"no"), second["id"]: (503, {}, b"")}
    broker.behave = lambda call: (415, {}, b"") if call.is_batch else answers[json.loads(call.body)["id"]]
    taken, there = outbox._send_now([lambda: outbox.Outgoing(first), lambda: outbox.Outgoing(second)])
    assert ([], False) == (taken, there)


def test_an_event_that_cannot_be_made_now_is_left_to_the_flush_and_the_others_are_sent(broker, admin):
    (event,) = opened(admin, "m1")

    def fail() -> Outgoing:
        raise RuntimeError("ours")

    assert ([event["id"]], True) == outbox._send_now([fail, lambda: Outgoing(event)])
    assert ([], True) == outbox._send_now([fail])
    assert 1 == len(broker.calls)


def test_an_event_goes_on_in_the_trace_of_the_request_that_wrote_it(at_once, admin):
    came = traces.Trace(f"00-{'a' * 32}-{'b' * 16}-01", "vendor=1")
    with traces.within(came):
        put(*opened(admin, "traced"))
    put(*opened(admin, "untraced"))
    assert {"sent": 2} == ask(flush).json
    traced, untraced = sent_to(at_once)
    assert came == (traced["traceparent"], traced["tracestate"])
    assert "traceparent" not in untraced


def test_an_event_alone_has_its_trace_in_the_headers(at_once, admin):
    came = traces.Trace(f"00-{'a' * 32}-{'b' * 16}-01", "vendor=1")
    with traces.within(came):
        put(*opened(admin, "traced"))
    assert {"sent": 1} == ask(flush).json
    assert came == tuple(at_once.calls[0].headers[name] for name in traces.NAMES)


def test_two_flushes_at_once_send_everything_once(at_once, admin):
    started, go_on = threading.Event(), threading.Event()

    def slowly(_: Any) -> tuple[int, dict, bytes]:
        started.set()
        go_on.wait(10)
        return 202, {}, b""

    at_once.behave = slowly
    put(*opened(admin, "o1", "o2"))
    with ThreadPoolExecutor(1) as other:
        first = other.submit(ask, flush)
        started.wait(10)
        assert {"sent": 0} == ask(flush).json
        go_on.set()
        assert {"sent": 2} == first.result().json
    assert ["o1", "o2"] == subjects(at_once)


def test_after_a_commit_the_event_is_sent_without_cron(broker, admin):
    (made,) = opened(admin, "n1")
    with database.transaction() as db:
        outbox.put(db, made)
    eventually(lambda: kept(admin) == [], "the outbox empty")
    assert ["n1"] == subjects(broker)


def test_after_a_rollback_no_event_is_sent(broker, admin):
    made, later = opened(admin, "n1", "n2")
    with pytest.raises(KeyError), database.transaction() as db:
        outbox.put(db, made)
        raise KeyError
    with database.transaction() as db:
        outbox.put(db, later)
    eventually(lambda: subjects(broker) == ["n2"], "the other event alone to be sent")


def test_the_flush_leaves_young_rows_to_whoever_has_written_them(broker, admin):
    put(*opened(admin, "young", "old"))
    admin.rows("""UPDATE "order".outbox SET written_at = now() - interval '3 seconds' WHERE order_id = 'old'""")
    assert {"sent": 1} == ask(flush).json
    assert ["old"] == subjects(broker)
    assert [("young", None)] == kept(admin)


def test_when_the_broker_is_back_what_was_left_is_sent_with_the_next_event(broker, admin):
    broker.behave = lambda _: (503, {}, b"")
    first, second = opened(admin, "n1", "n2")
    with database.transaction() as db:
        outbox.put(db, first)
    broker.wait_for(1)
    assert [("n1", None)] == kept(admin)
    broker.behave = lambda _: (202, {}, b"")
    with database.transaction() as db:
        outbox.put(db, second)
    eventually(lambda: kept(admin) == [], "the outbox empty")
    assert ["n1", "n2", "n1"] == subjects(broker)
