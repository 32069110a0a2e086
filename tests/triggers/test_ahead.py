"""A reply whose step begins before RabbitMQ has delivered it: called once, published all the same, never lost."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable

import pytest

from tests.broker import TYPES, Broker
from tests.fakes import BATCH, Call, Reply, nothing
from tests.system import TOKEN
from tests.triggers.dispatcher.behaviour import done
from tests.triggers.dispatcher.conftest import broker
from tests.triggers.stage import Proxy, Stage, until
from triggers import amqp, trigger
from triggers.ahead import Ahead
from triggers.dispatcher import Dispatcher
from triggers.trigger import DispatcherSettings

__all__ = ["broker"]


def answers(call: Call, to: str = "two") -> Reply:
    """Each event is answered with one for the function `to`."""
    facts = {"specversion": "1.0", "source": "/one", "type": TYPES[to], "time": "2026-11-23T12:00:00Z"}
    events = [facts | {"id": f"{id}-{to}", "data": {}} for id in call.ids]
    return 200, {"Content-Type": BATCH}, json.dumps(events).encode()


def played(broker: Broker, story: Callable[[Stage, Proxy], Awaitable[None]]) -> None:
    """Run a story; at its end nothing is left, neither here nor in RabbitMQ."""

    async def run() -> None:
        proxy = Proxy(broker.rabbitmq)
        async with proxy as url, Stage(broker, url, ahead=Ahead(True)) as stage:
            await story(stage, proxy)

    asyncio.run(run())
    assert [0, 0] == [broker.waiting(broker.queue(name)) for name in TYPES]


def holding(proxy: Proxy, loop: asyncio.AbstractEventLoop, then: Callable[[Call], Reply]) -> Callable[[Call], Reply]:
    """Behaviour that has RabbitMQ stall before each answer."""

    def behave(call: Call) -> Reply:
        loop.call_soon_threadsafe(proxy.hold)
        return then(call)

    return behave


async def all_acknowledged(stage: Stage) -> None:
    await until(lambda: not stage.unacknowledged, "all acknowledged")


def test_a_step_begins_while_rabbitmq_says_nothing_and_is_called_once(broker):
    async def story(stage: Stage, proxy: Proxy) -> None:
        broker.one.behave = holding(proxy, asyncio.get_running_loop(), answers)
        broker.publish("a")
        await until(lambda: broker.two.calls, "the step after")
        assert 2 == stage.unacknowledged
        proxy.let_go()
        await all_acknowledged(stage)
        broker.one.behave = answers
        broker.publish("b")
        await until(lambda: len(broker.two.calls) == 2, "the next one")
        await all_acknowledged(stage)

    played(broker, story)
    assert (["a", "b"], ["a-two", "b-two"]) == (broker.one.ids, broker.two.ids)


def test_whoever_else_listens_gets_the_event_as_well(broker):
    heard = broker.listen(TYPES["two"])
    broker.one.behave = answers

    async def story(stage: Stage, _: Proxy) -> None:
        broker.publish("a", traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
        await until(lambda: broker.two.calls, "the step after")
        await all_acknowledged(stage)

    played(broker, story)
    (copy,) = broker.take(heard)
    (call,) = broker.two.calls
    assert b"{}" == copy.body == call.body
    attributes = {name: value for name, value in copy.headers.items() if name not in ("tracestate", "content-type")}
    assert attributes.pop("traceparent") == call.headers["traceparent"]
    assert attributes == call.events[0]


def test_events_go_on_and_on_from_function_to_function(broker):
    broker.one.behave = answers
    broker.two.behave = lambda call: answers(call, "one") if len(call.ids[0]) < 20 else nothing(call)

    async def story(stage: Stage, _: Proxy) -> None:
        broker.publish("a")
        await until(lambda: len(broker.two.calls) >= 3, "the last step")
        await all_acknowledged(stage)

    played(broker, story)
    assert (["a", "a-two-one", "a-two-one-two-one"], 3) == (broker.one.ids, len(broker.two.ids))


def test_what_fails_ahead_is_tried_again_like_everything_else(broker):
    broker.one.behave = answers
    fails = iter([(500, {}, b"not yet")])
    broker.two.behave = lambda call: next(fails, None) or nothing(call)

    async def story(stage: Stage, _: Proxy) -> None:
        broker.publish("a")
        await until(lambda: len(broker.two.calls) == 2, "a second try")
        await all_acknowledged(stage)

    played(broker, story)
    assert (["a"], ["a-two"] * 2) == (broker.one.ids, broker.two.ids)


def test_without_a_confirmation_all_of_it_comes_again(broker, monkeypatch):
    monkeypatch.setattr(amqp, "CONFIRM_SECONDS", 0.2)
    monkeypatch.setattr(trigger, "AFTER_TROUBLE", 0.05)

    async def story(stage: Stage, proxy: Proxy) -> None:
        broker.one.behave = holding(proxy, asyncio.get_running_loop(), answers)
        broker.publish("a")
        await until(lambda: broker.two.calls and not stage.delivered, "it given back")
        broker.one.behave = answers
        proxy.let_go()
        await until(lambda: len(broker.one.calls) == 2, "it again")
        await until(lambda: len(broker.two.calls) >= 2, "and what comes of it")
        await all_acknowledged(stage)

    played(broker, story)
    assert ({"a"}, {"a-two"}) == ({*broker.one.ids}, {*broker.two.ids})


def test_what_was_begun_and_not_called_yet_when_its_publication_fails_is_not_lost(broker, monkeypatch):
    monkeypatch.setattr(amqp, "CONFIRM_SECONDS", 0.2)
    monkeypatch.setattr(trigger, "AFTER_TROUBLE", 0.05)
    opened = threading.Event()

    def waiting(call: Call) -> Reply:
        opened.wait(30)
        return nothing(call)

    broker.two.behave = waiting

    async def story(stage: Stage, proxy: Proxy) -> None:
        # The only worker of `two` is busy: what is begun waits behind it.
        broker.publish("busy", to="two")
        await until(lambda: broker.two.calls, "the first call")
        broker.one.behave = holding(proxy, asyncio.get_running_loop(), answers)
        broker.publish("a")
        await until(lambda: broker.one.calls and stage.delivered == 1, "it given back")
        broker.one.behave = answers
        opened.set()
        proxy.let_go()
        await until(lambda: "a-two" in broker.two.ids, "what comes of it")
        await all_acknowledged(stage)

    played(broker, story)


def test_an_exception_of_our_own_leaves_what_was_begun_to_its_delivery(broker, monkeypatch):
    monkeypatch.setattr(trigger, "AFTER_TROUBLE", 0.05)
    read, fails = trigger.wire.from_amqp, iter([True])
    broker.one.behave = answers

    def fail_once(headers: dict, *rest: object) -> object:
        if headers["id"] == "a-two" and next(fails, False):
            raise RuntimeError("ours")
        return read(headers, *rest)

    monkeypatch.setattr(trigger.wire, "from_amqp", fail_once)

    async def story(stage: Stage, _: Proxy) -> None:
        broker.publish("a")
        await until(lambda: broker.two.calls, "the step after")
        await all_acknowledged(stage)

    played(broker, story)
    assert (["a"], ["a-two"]) == (broker.one.ids, broker.two.ids)


def test_a_connection_that_is_lost_brings_everything_again(broker):
    async def story(stage: Stage, proxy: Proxy) -> None:
        broker.one.behave = holding(proxy, asyncio.get_running_loop(), answers)
        broker.publish("a")
        await until(lambda: broker.two.calls, "the step after")
        broker.one.behave = answers
        stage.link._connection._terminate_stream(ConnectionError("lost"))
        proxy.let_go()
        await until(lambda: len(broker.one.calls) == 2, "it again")
        await until(lambda: len(broker.two.calls) == 2, "and what comes of it")
        await all_acknowledged(stage)

    played(broker, story)
    assert (["a"] * 2, ["a-two"] * 2) == (broker.one.ids, broker.two.ids)


def test_a_quorum_queues_copy_is_known_as_well(rabbitmq, tmp_path):
    broker = Broker(rabbitmq, tmp_path, "quorum")
    broker.one.behave = answers

    async def story(stage: Stage, _: Proxy) -> None:
        broker.publish("a")
        await until(lambda: broker.two.calls, "the step after")
        await all_acknowledged(stage)

    try:
        played(broker, story)
        assert (["a"], ["a-two"]) == (broker.one.ids, broker.two.ids)
    finally:
        broker.close()


@pytest.mark.parametrize("ahead", [False, True])
def test_a_dispatcher_is_ahead_when_its_settings_say_so(rabbitmq, ahead):
    settings = {"amqp_url": rabbitmq.url, "installation_token": TOKEN, "dispatcher_ahead": ahead}
    made = Dispatcher(DispatcherSettings(**settings))
    assert {ahead} == {trigger._ahead.is_on for trigger in made.triggers}


def test_the_dispatchers_process_calls_once_what_it_begins_ahead(broker):
    broker.one.behave = answers
    process = broker.start(DISPATCHER_AHEAD="true")
    broker.publish(*"abc")
    done(broker, *(f"{id}-two" for id in "abc"))
    broker.nothing_left(process)
    assert ["a-two", "b-two", "c-two"] == sorted(broker.two.ids)


@pytest.mark.parametrize("size", [1, 150])
def test_more_than_may_be_unacknowledged_waits_in_the_queue_and_each_is_called_once(broker, size):
    opened = threading.Event()

    def waiting(call: Call) -> Reply:
        opened.wait(30)
        return nothing(call)

    broker.one.behave, broker.two.behave = answers, waiting
    ids = [f"e{number:03}" for number in range(size)]

    async def story(stage: Stage, _: Proxy) -> None:
        broker.publish(*ids)
        await until(lambda: len(broker.one.ids) == size, "the steps before")
        opened.set()
        await until(lambda: len(broker.two.ids) >= size, "the steps after")
        await all_acknowledged(stage)

    played(broker, story)
    assert (ids, [f"{id}-two" for id in ids]) == (sorted(broker.one.ids), sorted(broker.two.ids))
