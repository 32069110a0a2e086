"""The dispatcher: what is acknowledged was done, what fails harms nothing else, and whatever is away comes back."""

import base64
import itertools
import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.broker import TYPES, Broker
from tests.fakes import BATCH, Call, Reply, nothing
from tests.processes import end, run
from tests.system import eventually
from tools.local.processes import free_port
from tools.local.rabbitmq import RabbitMQ
from triggers.calls import Done, Failed, Unavailable, outcome_of
from triggers.http_client import Headers
from triggers.retries import RetryPolicy, RetrySettings, pauses
from triggers.topology import Topology
from triggers.wire import checked

REPLY_TYPE = "homework.arch.test.reply"


@pytest.fixture
def broker(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Broker]:
    made = Broker(rabbitmq, tmp_path)
    yield made
    made.close()


@pytest.fixture
def own_rabbitmq(directory: Path) -> Iterator[RabbitMQ]:
    """A node that the test may stop."""
    port = free_port()
    server = RabbitMQ(directory / f"rabbitmq-{port}", port)
    server.start()
    yield server
    server.remove()


class Gate:
    """Behaviour that holds every call up until it is opened."""

    def __init__(self, then: Callable[[Call], Reply] = nothing):
        self._open, self._then = threading.Event(), then
        self.open = self._open.set

    def __call__(self, call: Call) -> Reply:
        self._open.wait(30)
        return self._then(call)


def refusing(*bad: str, status: int = 500, headers: dict[str, str] | None = None) -> Callable[[Call], Reply]:
    """Behaviour that fails whatever has one of these events in it."""
    return lambda call: (status, headers or {}, b"cannot") if {*bad} & {*call.ids} else nothing(call)


def reply_to(call: Call) -> Reply:
    """Each event is answered with one that follows it."""
    events = [
        {"specversion": "1.0", "id": f"{id}-reply", "source": "/one", "type": REPLY_TYPE, "data": {"amount": 1}}
        for id in call.ids
    ]
    if call.is_batch:
        return 200, {"Content-Type": BATCH}, json.dumps(events).encode()
    headers = {f"ce-{name}": value for name, value in events[0].items() if name != "data"}
    return 200, {**headers, "Content-Type": "application/json"}, b'{"amount":39.00}'


def hold_up(broker: Broker, *ids: str, then: Callable[[Call], Reply] = nothing, **more: str) -> Gate:
    """One call in flight, and these events with the dispatcher behind it."""
    gate = broker.one.behave = Gate(then)
    broker.publish("first")
    broker.one.wait_for(1)
    broker.publish(*ids, **more)
    eventually(lambda: broker.waiting(broker.queue("one")) == 0, "the events with the dispatcher")
    return gate


def done(broker: Broker, *ids: str) -> None:
    eventually(lambda: all("done" in broker.outcomes(id) for id in ids), f"{ids} done")


# -- good days ------------------------------------------------------------------------------------------------------


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


def test_a_reply_that_nobody_waits_for_is_told_and_is_no_failure(broker):
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


def test_the_log_tells_order_event_function_time_and_outcome(broker):
    process = broker.start()
    broker.publish("a")
    done(broker, "a")
    (line,) = [json.loads(text) for text in process.log.read_text().splitlines() if '"delivery"' in text]
    assert {
        "level": "info", "function": "one", "type": TYPES["one"], "id": "a", "order": "order-a", "attempts": 1,
        "outcome": "done",
    }.items() <= line.items()  # fmt: skip
    assert line["ms"] > 0


# -- failures -------------------------------------------------------------------------------------------------------


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


# -- what is away comes back ----------------------------------------------------------------------------------------


def test_a_function_that_is_unavailable_costs_no_tries_and_no_burst(broker):
    ids = [f"e{n:02}" for n in range(40)]
    broker.one.behave = lambda _: (503, {"Retry-After": "1"}, b"database away")
    broker.publish(*ids)
    process = broker.start(DISPATCHER_TRIES=1, DISPATCHER_WORKERS=2)
    broker.one.wait_for(5)
    away = len(broker.one.calls)
    first, last = broker.one.calls[0].at, broker.one.calls[away - 1].at
    assert away <= 2 + 2 * 10 * (last - first), "calls while nothing could be done"
    broker.one.behave = nothing
    done(broker, *ids)
    assert len(broker.one.calls) <= away + 10
    assert any("function unavailable: 503 database away" == text for id in ids for text in broker.outcomes(id))
    broker.nothing_left(process)
    assert 0 == broker.waiting(broker.dead_letters)


def test_503_without_a_time_is_this_events_own_failure(broker):
    broker.one.behave = refusing("a", status=503)
    broker.start(DISPATCHER_TRIES=2)
    broker.publish("a", "b")
    assert ("one", "503", "503 cannot", "2") == broker.take(broker.dead_letters)[0].story
    done(broker, "b")


def test_a_function_that_is_not_there_is_waited_for(broker):
    broker.one.stop()
    process = broker.start(DISPATCHER_TRIES=1)
    broker.publish("a")
    eventually(lambda: any("function unavailable" in text for text in broker.outcomes("a")), "the first refusal")
    broker.publish("other", to="two")
    done(broker, "other")
    broker.one.start()
    done(broker, "a")
    broker.nothing_left(process)
    assert 0 == broker.waiting(broker.dead_letters)


def test_dead_letters_wait_for_their_sink_and_are_never_given_up(broker):
    letters = []

    def keep_the_third(call: Call) -> Reply:
        letters.append(call)
        return nothing(call) if len(letters) == 3 else (500, {}, b"")

    broker.one.behave = refusing("a", headers={"X-Retry": "never"})
    broker.keeper.behave = keep_the_third
    broker.start(triggers="", DISPATCHER_TRIES=1)
    broker.publish("a")
    eventually(lambda: any("dead letter" in text for text in broker.outcomes("a")), "the dead letter")
    broker.keeper.start()
    broker.keeper.wait_for(3)
    assert ["one"] * 3 == [call.headers["ce-knativeerrordest"] for call in letters]
    done(broker, "a")


def test_a_dead_letter_that_its_sink_refuses_waits_and_does_not_go_in_circles(broker):
    broker.one.behave = refusing("a", headers={"X-Retry": "never"})
    broker.keeper.start()
    broker.keeper.behave = lambda _: (500, {"X-Retry": "never"}, b"what is that")
    broker.start(triggers="", DISPATCHER_BACKOFF_SECONDS=30)
    broker.publish("a")
    eventually(lambda: broker.waiting(broker.retry_queue(0)) == 1, "the dead letter in its retry queue")
    assert 1 == len(broker.keeper.calls)


def test_sigterm_finishes_the_call_in_flight_and_leaves_the_rest_to_redelivery(broker):
    process = broker.start()
    gate = hold_up(broker, "e1", "e2", "e3")
    process.signal(signal.SIGTERM)
    # From here on it takes nothing more: a new event stays in the queue.
    broker.consumed("one", consumers=0)
    gate.open()
    assert 0 == process.process.wait(10)
    assert ["first"] == broker.one.ids
    assert 3 == broker.waiting(broker.queue("one"))
    again = broker.start()
    done(broker, "e1", "e2", "e3")
    assert ["e1", "e2", "e3", "first"] == sorted(broker.one.ids)
    broker.nothing_left(again)


def test_sigterm_while_a_function_is_away_ends_at_once(broker):
    broker.one.stop()
    process = broker.start()
    broker.publish("a")
    eventually(lambda: broker.outcomes("a"), "the first refusal")
    assert 0 == end(process, seconds=5)
    assert 1 == broker.waiting(broker.queue("one"))


def test_after_sigkill_everything_in_flight_is_delivered_again(broker):
    process = broker.start()
    gate = hold_up(broker, "e1", "e2", "e3")
    assert -signal.SIGKILL == end(process, signal.SIGKILL)
    gate.open()
    eventually(lambda: broker.waiting(broker.queue("one")) == 4, "all back in their queue")
    again = broker.start()
    done(broker, "first", "e1", "e2", "e3")
    broker.nothing_left(again)


def test_after_a_restart_of_rabbitmq_everything_carries_on(own_rabbitmq, tmp_path):
    broker = Broker(own_rabbitmq, tmp_path)
    replies = broker.listen(REPLY_TYPE)
    process = broker.start()
    gate = hold_up(broker, "e1", "e2", then=reply_to)
    broker.disconnect()
    own_rabbitmq.restart()
    gate.open()
    broker.connect()
    broker.publish("late")
    found = {message.headers["id"] for message in broker.take(replies, 4)}
    assert {"first-reply", "e1-reply", "e2-reply", "late-reply"} == found
    assert process.runs
    eventually(lambda: broker.outcomes("late") == ["done"], "the last one done")
    assert 0 == end(process)
    assert 0 == broker.waiting(broker.queue("one"))
    broker.close()


def test_a_dispatcher_that_comes_before_rabbitmq_waits_for_it(own_rabbitmq, tmp_path):
    broker = Broker(own_rabbitmq, tmp_path)
    broker.publish("a")
    broker.disconnect()
    own_rabbitmq.stop()
    process = broker.launch()
    eventually(lambda: "RabbitMQ not reached" in process.log.read_text(), "a word about it")
    own_rabbitmq.start()
    broker.one.wait_for(1)
    broker.connect()
    done(broker, "a")
    broker.nothing_left(process)
    broker.close()


def test_a_queue_that_was_deleted_is_made_again_and_consumed(broker):
    broker.start()
    broker.channel.queue_delete(broker.queue("one"))
    broker.consumed("one")
    broker.publish("a")
    done(broker, "a")


# -- on the queues of another broker ---------------------------------------------------------------------------------


@pytest.fixture
def foreign(broker: Broker) -> Iterator[str]:
    """A queue as Knative's controllers make it, bound to the exchange beside our own one; its name."""
    name = f"food.one.{broker.exchange}"
    broker.channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
    broker.channel.queue_bind(name, broker.exchange, "", {"x-match": "all", "type": TYPES["one"]})
    broker.channel.queue_delete(broker.queue("one"))
    yield name
    broker.channel.queue_delete(name)


def launched(broker: Broker) -> None:
    broker.launch("one", QUEUE_NAMES=f"food.{{function}}.{broker.exchange}")


def consuming(broker: Broker, queue: str) -> None:
    launched(broker)
    eventually(lambda: broker.consumers(queue) == 1, "the dispatcher to consume it")


def test_queues_of_another_broker_are_consumed_as_they_are(broker, foreign):
    consuming(broker, foreign)
    broker.publish("a")
    done(broker, "a")
    assert ["a"] == broker.one.ids
    # Its own queue would get every event a second time.
    assert broker.consumers(broker.queue("one")) is None


def test_a_failed_event_goes_back_to_the_queue_of_the_other_broker(broker, foreign):
    broker.one.behave = lambda call: nothing(call) if len(broker.one.calls) == 2 else (500, {}, b"")
    consuming(broker, foreign)
    broker.publish("a")
    done(broker, "a")
    assert ["a", "a"] == broker.one.ids


def test_an_event_of_another_brokers_queue_can_become_a_dead_letter(broker, foreign):
    broker.one.behave = refusing("a", headers={"X-Retry": "never"})
    consuming(broker, foreign)
    broker.publish("a")
    assert ("one", "500", "500 cannot", "1") == broker.take(broker.dead_letters)[0].story


def test_a_queue_of_another_broker_that_is_not_there_yet_is_waited_for(broker, foreign):
    broker.channel.queue_delete(foreign)
    launched(broker)
    eventually(lambda: "RabbitMQ channel closed" in broker.processes[-1].log.read_text(), "a word about it")
    broker.channel.queue_declare(foreign, durable=True, arguments={"x-queue-type": "quorum"})
    broker.channel.queue_bind(foreign, broker.exchange, "", {"x-match": "all", "type": TYPES["one"]})
    broker.publish("a")
    done(broker, "a")


# -- small parts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (204, {}, Done([])),
        (202, {}, Done([])),
        (200, {"Content-Type": "text/plain"}, Done([])),
        (500, {}, Failed("500 no", 500)),
        (500, {"X-Retry": "never"}, Failed("500 no", 500, final=True)),
        (400, {}, Failed("400 no", 400)),
        (302, {}, Failed("302 no", 302)),
        (503, {}, Failed("503 no", 503)),
        (503, {"Retry-After": "7"}, Unavailable("503 no")),
        (500, {"Retry-After": "7"}, Failed("500 no", 500)),
    ],
)
def test_every_answer_means_one_thing(status, headers, expected):
    assert expected == outcome_of(status, Headers.of(headers.items()), b"no")


def test_a_reason_is_cut_before_it_fills_the_log():
    assert len(outcome_of(500, {}, b"x" * 10**6).reason) <= 2004


@pytest.mark.parametrize(("attempts", "shortest", "longest"), [(1, 0.4, 0.6), (2, 0.8, 1.2), (50, 48, 72)])
def test_waits_double_up_to_the_longest(attempts, shortest, longest):
    policy = RetryPolicy(RetrySettings(), Topology("x", "classic"), "one", "x.one")
    event = checked({"specversion": "1.0", "id": "a", "source": "/a", "type": "a"}, b"", attempts - 1)
    assert all(shortest <= policy.retry(event).seconds <= longest for _ in range(50))


def test_pauses_grow_and_then_stay():
    first = [*itertools.islice(pauses(), 30)]
    assert first[0] < 0.4 and 10 < first[-1] < 20


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({}, "cannot start: AMQP_URL is not set: address of RabbitMQ, amqp://user:password@host:port/"),
        ({"AMQP_URL": "amqp://x", "DISPATCHER_TRIES": "0"}, "cannot start: DISPATCHER_TRIES is wrong"),
        ({"AMQP_URL": "amqp://x", "QUEUE_NAMES": "food.{name}"}, "cannot start: QUEUE_NAMES is wrong"),
        (
            {"AMQP_URL": "amqp://x", "DISPATCHER_TRIGGERS": "nobody"},
            "DISPATCHER_TRIGGERS: expected some of order-new",
        ),
    ],
)
def test_what_is_wrong_with_the_environment_is_told_in_one_line(environment, text):
    ended = run("triggers.dispatcher", **environment)
    assert 1 == ended.returncode
    assert ended.stderr.startswith(text) and ended.stderr.count("\n") == 1
