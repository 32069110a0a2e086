"""What fails is tried again, and becomes a dead letter in the end."""

import base64
import itertools
import json

from tests.broker import TYPES
from tests.fakes import nothing
from tests.system import eventually
from tests.triggers.dispatcher.behaviour import Gate, done, hold_up, refusing


def test_a_batch_that_fails_is_sent_one_by_one(broker):
    broker.start()
    ids = ["e1", "e2", "e3", "e4"]
    gate = hold_up(broker, *ids, then=lambda call: (500, {}, b"too many") if call.is_batch else nothing(call))
    gate.open()
    done(broker, *ids)
    alone = [call.ids[0] for call in broker.one.calls if not call.is_batch]
    assert ["first", *ids] == alone
    assert ["batch failed, one by one now: 500 too many"] == broker.outcomes(None)


def test_one_bad_event_among_31_good_ones_harms_no_other(broker):
    ids = [f"e{n:02}" for n in range(32)]
    broker.one.behave = refusing("e17", headers={"X-Retry": "never"})
    broker.publish(*ids)
    process = broker.start()
    done(broker, *(id for id in ids if id != "e17"))
    (message,) = broker.take(broker.dead_letters)
    assert ("e17", ("one", "500", "500 cannot", "1")) == (message.headers["id"], message.story)
    broker.nothing_left(process)
    assert 0 == broker.waiting(broker.dead_letters)


def test_a_failed_event_comes_again_with_growing_waits(broker):
    broker.one.behave = lambda call: nothing(call) if len(broker.one.calls) == 4 else (500, {}, b"")
    process = broker.start(DISPATCHER_BACKOFF_SECONDS=0.2)
    broker.publish("a")
    done(broker, "a")
    times = [call.at for call in broker.one.calls]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert 0.16 <= gaps[0] and 0.32 <= gaps[1] and 0.64 <= gaps[2]
    broker.nothing_left(process)


def test_attempts_are_counted_in_the_message_that_waits(broker):
    broker.one.behave = refusing("a")
    broker.start(DISPATCHER_BACKOFF_SECONDS=30)
    broker.publish("a", body=b'{"amount":39.00}')
    (message,) = broker.take(broker.retry_queue(0))
    assert (1, "a", b'{"amount":39.00}') == (message.headers["x-attempts"], message.headers["id"], message.body)
    assert 24_000 <= int(message.properties.expiration) <= 36_000
    assert 2 == message.properties.delivery_mode


def test_the_attempts_of_a_message_are_counted_on(broker):
    broker.one.behave = refusing("a")
    broker.start(DISPATCHER_TRIES=10)
    broker.publish("a", **{"x-attempts": 9})
    assert "10" == broker.take(broker.dead_letters)[0].headers["deliveryattempts"]


def test_a_failing_event_never_holds_up_another(broker):
    broker.one.behave = refusing("bad")
    broker.start(DISPATCHER_BACKOFF_SECONDS=30)
    broker.publish("bad", "good1", "good2")
    done(broker, "good1", "good2")
    eventually(lambda: broker.waiting(broker.retry_queue(0)) == 1, "the bad one in its retry queue")


def test_after_all_tries_an_event_is_a_dead_letter_with_its_story(broker):
    broker.one.behave = refusing("a", status=418)
    process = broker.start(DISPATCHER_TRIES=3)
    broker.publish("a", body=b'{"amount":39.00}', correlationid="saga-1")
    (message,) = broker.take(broker.dead_letters)
    assert ("one", "418", "418 cannot", "3") == message.story
    assert ("a", TYPES["one"], "saga-1", b'{"amount":39.00}') == (
        message.headers["id"], message.headers["type"], message.headers["correlationid"], message.body,
    )  # fmt: skip
    assert "x-attempts" not in message.headers
    assert 3 == len(broker.one.calls)
    broker.nothing_left(process)


def test_an_event_that_can_never_be_handled_is_a_dead_letter_at_once(broker):
    broker.one.behave = refusing("a", headers={"X-Retry": "never"})
    broker.start()
    broker.publish("a")
    assert ("one", "500", "500 cannot", "1") == broker.take(broker.dead_letters)[0].story
    assert 1 == len(broker.one.calls)


def test_half_an_event_as_a_reply_is_a_failure(broker):
    broker.one.behave = lambda _: (200, {"ce-specversion": "1.0"}, b"{}")
    broker.start(DISPATCHER_TRIES=2)
    broker.publish("a")
    _, code, reason, attempts = broker.take(broker.dead_letters)[0].story
    assert ("200", "2") == (code, attempts)
    assert "the reply is no CloudEvent: id: expected a value, got nothing" == reason


def test_a_function_that_hangs_is_given_up_after_the_timeout(broker):
    gate = broker.one.behave = Gate()
    broker.start(DISPATCHER_TRIES=1, DISPATCHER_TIMEOUT_SECONDS=0.3)
    broker.publish("a")
    _, code, reason, _ = broker.take(broker.dead_letters)[0].story
    assert ("-1", "TimedOut: no answer within 0.3 s") == (code, reason)
    gate.open()


def test_a_batch_that_hangs_goes_apart_and_is_not_called_one_by_one(broker):
    ids = ["e1", "e2", "e3"]
    broker.one.behave = gate = Gate()
    broker.publish(*ids)
    broker.start(DISPATCHER_TIMEOUT_SECONDS=0.3, DISPATCHER_BACKOFF_SECONDS=30)
    eventually(lambda: broker.waiting(broker.retry_queue(0)) == 3, "all three in the retry queue")
    assert ids == sorted(id for call in broker.one.calls for id in call.ids)
    gate.open()


def test_a_message_that_is_no_event_becomes_a_dead_letter_that_keeps_it(broker):
    process = broker.start()
    broker.publish_raw({"some": "thing"}, b"\x00\xff", "application/x-any", queue=broker.queue("one"))
    (message,) = broker.take(broker.dead_letters)
    assert "homework.arch.ops.unreadable" == message.headers["type"]
    assert b"\x00\xff" == base64.b64decode(json.loads(message.body)["base64"])
    assert "no CloudEvent: specversion: expected a value, got nothing" == message.story[2]
    assert [] == broker.one.calls
    broker.nothing_left(process)


def test_data_nested_too_deeply_for_anybody_goes_alone_and_blocks_nothing(broker):
    process = broker.start()
    hold_up(broker, "deep", body=b"[" * 100_000).open()
    broker.publish("next")
    done(broker, "deep", "next")
    broker.nothing_left(process)
