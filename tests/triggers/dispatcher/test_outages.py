"""Functions, the dead-letter sink, RabbitMQ and the dispatcher itself go away and come back."""

import signal

from tests.broker import Broker
from tests.fakes import Call, Reply, nothing
from tests.processes import end
from tests.system import eventually
from tests.triggers.dispatcher.behaviour import REPLY_TYPE, done, hold_up, refusing, reply_to


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
