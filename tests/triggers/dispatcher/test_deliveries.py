"""Events are delivered alone or in batches, and replies go back to the broker."""

import json

from tests.broker import TYPES
from tests.triggers.dispatcher.behaviour import REPLY_TYPE, done, hold_up, reply_to


def test_an_event_that_waits_alone_comes_alone_in_binary_mode(broker):
    process = broker.start()
    broker.publish("a", body=b'{"amount":39.00}')
    (call,) = broker.one.wait_for(1)
    assert ("POST", "/", b'{"amount":39.00}') == (call.method, call.path, call.body)
    assert "application/json" == call.headers["content-type"]
    assert {
        "specversion": "1.0", "id": "a", "source": "/test", "type": TYPES["one"], "subject": "order-a",
        "time": "2026-11-23T12:00:00Z",
    } == call.events[0]  # fmt: skip
    done(broker, "a")
    broker.nothing_left(process)
    assert [] == broker.two.calls


def test_each_trigger_gets_its_own_events(broker):
    broker.start()
    broker.publish("a", to="one")
    broker.publish("b", to="two")
    broker.one.wait_for(1)
    broker.two.wait_for(1)
    assert (["a"], ["b"]) == (broker.one.ids, broker.two.ids)


def test_what_waits_together_comes_in_one_batch(broker):
    process = broker.start()
    ids = [f"e{n:02}" for n in range(20)]
    hold_up(broker, *ids, body=b'{"amount":0.10}').open()
    done(broker, *ids)
    batches = [call for call in broker.one.calls if call.is_batch]
    assert {"first", *ids} == {*broker.one.ids} and len(broker.one.ids) == 21
    assert max(len(call.ids) for call in batches) > 10
    assert b'"data":{"amount":0.10}}' in batches[0].body
    broker.nothing_left(process)


def test_a_batch_is_never_larger_than_it_may_be(broker):
    broker.start(DISPATCHER_BATCH=3)
    ids = [f"e{n}" for n in range(10)]
    hold_up(broker, *ids).open()
    done(broker, *ids)
    assert max(len(call.ids) for call in broker.one.calls) <= 3


def test_what_is_no_json_comes_alone_untouched(broker):
    broker.start()
    hold_up(broker, "x", "y", **{"content-type": "text/plain"}).open()
    done(broker, "x", "y")
    assert ["text/plain"] * 2 == [call.headers["content-type"] for call in broker.one.calls[1:]]


def test_an_attribute_in_any_script_can_be_delivered(broker):
    broker.start()
    broker.publish("a", note="Жар-птица\n")
    broker.one.wait_for(1)
    assert broker.one.calls[0].headers["ce-note"].startswith("%D0%96")
    done(broker, "a")


def test_a_reply_goes_back_to_the_broker_as_an_event(broker):
    replies = broker.listen(REPLY_TYPE)
    broker.one.behave = reply_to
    process = broker.start()
    broker.publish("a")
    (reply,) = broker.take(replies)
    assert ("a-reply", "/one", b'{"amount":39.00}') == (reply.headers["id"], reply.headers["source"], reply.body)
    assert ("a-reply", 2) == (reply.properties.message_id, reply.properties.delivery_mode)
    done(broker, "a")
    broker.nothing_left(process)


def test_a_batch_of_replies_goes_back_one_by_one(broker):
    replies = broker.listen(REPLY_TYPE)
    process = broker.start()
    ids = [f"e{n}" for n in range(8)]
    hold_up(broker, *ids, then=reply_to).open()
    assert {"first-reply", *(f"{id}-reply" for id in ids)} == {one.headers["id"] for one in broker.take(replies, 9)}
    done(broker, *ids)
    broker.nothing_left(process)


def test_a_reply_that_nobody_waits_for_is_logged_and_is_no_failure(broker):
    broker.one.behave = reply_to
    process = broker.start()
    broker.publish("a")
    done(broker, "a")
    assert "no trigger takes this event" in process.log.read_text()
    broker.nothing_left(process)


def test_an_answer_that_is_no_event_is_no_reply(broker):
    broker.one.behave = lambda _: (200, {"Content-Type": "text/plain"}, b"OK")
    process = broker.start()
    broker.publish("a")
    done(broker, "a")
    broker.nothing_left(process)


def test_the_log_has_order_event_function_time_and_outcome(broker):
    process = broker.start()
    broker.publish("a")
    done(broker, "a")
    (line,) = [json.loads(text) for text in process.log.read_text().splitlines() if '"delivery"' in text]
    assert {
        "level": "info", "function": "one", "type": TYPES["one"], "id": "a", "order": "order-a", "attempts": 1,
        "outcome": "done",
    }.items() <= line.items()  # fmt: skip
    assert line["ms"] > 0
