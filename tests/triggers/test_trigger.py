"""A trigger when RabbitMQ says no or nothing, and when the fault is ours: every delivery comes again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.broker import Broker
from tests.fakes import Call, Reply, nothing
from tests.triggers.dispatcher.behaviour import REPLY_TYPE, reply_to
from tests.triggers.dispatcher.conftest import broker
from tests.triggers.stage import Proxy, Stage, until
from triggers import amqp, trigger, wire

__all__ = ["broker"]


def played(broker: Broker, story: Callable[[Stage], Awaitable[None]], workers: int = 1) -> None:
    """Run a story; at its end nothing is left, neither here nor in RabbitMQ."""

    async def run() -> None:
        async with Stage(broker, broker.rabbitmq.url, workers) as stage:
            await story(stage)

    asyncio.run(run())
    assert 0 == broker.waiting(broker.queue("one"))


@pytest.fixture(autouse=True)
def _shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger, "AFTER_TROUBLE", 0.05)


def full(broker: Broker) -> str:
    """A queue for replies that takes no more than the one that is in it; RabbitMQ refuses what comes after."""
    queue = f"{broker.exchange}.full"
    arguments = {"x-queue-type": "classic", "x-max-length": 1, "x-overflow": "reject-publish"}
    broker.channel.queue_declare(queue, arguments=arguments, exclusive=True)
    broker.channel.queue_bind(queue, broker.exchange, "", {"x-match": "all", "type": REPLY_TYPE})
    broker.channel.basic_publish("", queue, b"the one")
    return queue


def test_what_rabbitmq_refuses_to_take_brings_the_event_back_until_it_is_taken(broker):
    queue = full(broker)
    broker.one.behave = reply_to

    async def story(stage: Stage) -> None:
        broker.publish("a")
        await until(lambda: len(broker.one.calls) >= 3, "the event again and again")
        broker.channel.queue_purge(queue)
        # Given back, an event is nowhere here for a moment: only its reply says that it was taken.
        await until(lambda: broker.waiting(queue), "the reply")
        await stage.settled("a")

    played(broker, story)
    assert "a-reply" == broker.take(queue)[0].headers["id"]


def test_a_refusal_that_stays_is_no_storm_of_calls(broker, monkeypatch):
    monkeypatch.setattr(trigger, "AFTER_TROUBLE", 0.5)
    queue = full(broker)
    broker.one.behave = reply_to

    async def story(stage: Stage) -> None:
        broker.publish("a")
        first, *_, last = await until(lambda: broker.one.calls[3:] and broker.one.calls, "four calls")
        assert last.at - first.at >= 1.4
        broker.channel.queue_purge(queue)
        # Given back, an event is nowhere here for a moment: only its reply says that it was taken.
        await until(lambda: broker.waiting(queue), "the reply")
        await stage.settled("a")

    played(broker, story)


def test_an_event_whose_retry_queue_is_gone_comes_again_and_is_not_lost(broker):
    broker.one.behave = lambda call: nothing(call) if len(broker.one.calls) > 3 else (500, {}, b"not yet")

    async def story(stage: Stage) -> None:
        broker.channel.queue_unbind(broker.retry_queue(0), broker.retry_queue(0))
        broker.publish("a")
        await until(lambda: len(broker.one.calls) > 3, "the event again and again")
        await stage.settled("a")

    played(broker, story)
    assert 0 == broker.waiting(broker.retry_queue(0))


def test_an_exception_of_our_own_brings_every_event_of_the_batch_back(broker, monkeypatch):
    ids, failures = [f"e{n}" for n in range(10)], iter(["first", "second"])
    whole = wire.to_batch

    def fail_twice(events: list[wire.WireEvent]) -> tuple[dict[str, str], bytes]:
        if next(failures, None):
            raise RuntimeError("a bug")
        return whole(events)

    monkeypatch.setattr(wire, "to_batch", fail_twice)
    broker.publish(*ids)
    played(broker, lambda stage: stage.settled(*ids))
    assert next(failures, None) is None
    assert ids == sorted(broker.one.ids)


def test_an_exception_after_the_call_repeats_what_is_not_acknowledged_and_nothing_else(broker, monkeypatch):
    failures, whole = iter(["once"]), wire.from_amqp

    def fail_on_the_last(headers: Any, *rest: Any) -> wire.WireEvent:
        if headers["id"] == "c" and next(failures, None):
            raise RuntimeError("a bug")
        return whole(headers, *rest)

    monkeypatch.setattr(wire, "from_amqp", fail_on_the_last)
    broker.publish("a", "b", "c", **{"content-type": "text/plain"})
    played(broker, lambda stage: stage.settled("a", "b", "c"))
    assert ["a", "b", "c"] == sorted(broker.one.ids)


def test_a_stop_waits_for_the_confirmation_of_the_last_reply(broker):
    replies = broker.listen(REPLY_TYPE)
    ids = [f"e{n:02}" for n in range(50)]
    broker.one.behave = reply_to
    broker.publish(*ids)

    async def story(_: Stage) -> None:
        await until(lambda: broker.one.calls, "a call")

    async def run() -> None:
        async with Stage(broker, broker.rabbitmq.url) as stage:
            await story(stage)

    asyncio.run(run())
    handled = len(broker.one.ids)
    assert 50 - handled == broker.waiting(broker.queue("one"))
    assert handled == broker.waiting(replies)


# -- RabbitMQ stalls ------------------------------------------------------------------------------------------------


def stalled(broker: Broker, story: Callable[[Stage, Proxy], Awaitable[None]], workers: int = 2) -> None:
    """A story with a proxy between the trigger and RabbitMQ."""

    async def run() -> None:
        proxy = Proxy(broker.rabbitmq)
        async with proxy as url, Stage(broker, url, workers) as stage:
            await story(stage, proxy)

    asyncio.run(run())
    assert 0 == broker.waiting(broker.queue("one"))


def holding(proxy: Proxy, loop: asyncio.AbstractEventLoop, then: Callable[[Call], Reply]) -> Callable[[Call], Reply]:
    """Behaviour that has RabbitMQ stall before the first answer."""
    first = iter(["hold"])

    def behave(call: Call) -> Reply:
        if next(first, None):
            asyncio.run_coroutine_threadsafe(_hold(proxy), loop).result(10)
        return then(call)

    return behave


async def _hold(proxy: Proxy) -> None:
    proxy.hold()


def test_when_rabbitmq_stalls_every_delivery_comes_back_and_is_handled_soon_after(broker, monkeypatch):
    monkeypatch.setattr(amqp, "CONFIRM_SECONDS", 0.3)
    replies = broker.listen(REPLY_TYPE)
    ids = [f"e{n:02}" for n in range(40)]

    async def story(stage: Stage, proxy: Proxy) -> None:
        broker.one.behave = holding(proxy, asyncio.get_running_loop(), reply_to)
        broker.publish(*ids)
        await until(lambda: broker.one.calls and not stage.unacknowledged, "all given back while it stalls")
        before = len(broker.one.ids)
        proxy.let_go()
        await until(lambda: {*ids} <= {*broker.one.ids[before:]}, "all of them, those that were given back again")
        await until(lambda: not stage.unacknowledged, "all acknowledged")

    stalled(broker, story)
    assert {f"{id}-reply" for id in ids} == {
        letter.headers["id"] for letter in broker.take(replies, broker.waiting(replies))
    }


def test_a_confirmation_that_is_late_acknowledges_nothing_twice(broker, monkeypatch):
    monkeypatch.setattr(amqp, "CONFIRM_SECONDS", 0.2)

    async def story(stage: Stage, proxy: Proxy) -> None:
        broker.one.behave = holding(proxy, asyncio.get_running_loop(), reply_to)
        broker.publish("a")
        await until(lambda: broker.one.calls and not stage.unacknowledged, "it given back")
        proxy.let_go()
        await until(lambda: len(broker.one.calls) == 2, "it again")
        await stage.settled("a")
        # An acknowledgement of what is none closes the channel, and everything would begin again.
        broker.publish("b")
        await stage.settled("b")

    stalled(broker, story)
    assert ["a", "a", "b"] == broker.one.ids


def test_a_stop_while_rabbitmq_stalls_ends_and_loses_nothing(broker, monkeypatch):
    monkeypatch.setattr(amqp, "LAST_CONFIRMS_SECONDS", 0.2)

    async def run() -> None:
        proxy = Proxy(broker.rabbitmq)
        async with proxy as url:
            stage = Stage(broker, url)
            await stage.__aenter__()
            broker.one.behave = holding(proxy, asyncio.get_running_loop(), reply_to)
            broker.publish("a")
            await until(lambda: broker.one.calls, "a call")
            stopping = asyncio.create_task(stage.__aexit__())
            await until(lambda: stage.link._stopping.is_set(), "the stop")
            proxy.let_go()
            await stopping

    asyncio.run(run())
    assert 1 == broker.waiting(broker.queue("one"))
