"""An error of our own anywhere around the connection: it is told, and no delivery or publication waits for ever."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pika.adapters.base_connection import BaseConnection

from tests.triggers.test_amqp import Queue, linked, queue, unheard, until
from triggers import amqp
from triggers.amqp import Consumer, Delivery, Link, Subscription

__all__ = ["queue"]


def failing_once(then: Callable[..., Any]) -> Callable[..., Any]:
    """Does what it is for, but not the first time."""
    failures = iter(["once"])

    def call(*arguments: Any) -> Any:
        if next(failures, None):
            raise RuntimeError("a bug")
        return then(*arguments)

    return call


async def works(link: Link, queue: Queue) -> None:
    """The connection is there (again) and does all that it is for."""
    assert await link.wait_ready(30)
    await link.publish([queue.message("last")])


def test_a_consumer_that_fails_gets_the_delivery_again(queue):
    taken: list[Delivery] = []

    async def story(link: Link) -> None:
        # Not by the link: the error ends its connection, perhaps before it has heard of the confirmation.
        queue.channel.basic_publish("", queue.name, b"a")
        await until(lambda: taken, "the delivery again")
        link.acknowledge(taken)
        await works(link, queue)

    linked(queue.url, story, Subscription(queue.name, failing_once(taken.append)))
    assert b"a" == taken[0].body


def test_a_failure_when_a_publication_is_confirmed_brings_back_what_it_was_for(queue):
    taken: list[Delivery] = []

    async def story(link: Link) -> None:
        await link.publish([queue.message("a")])
        await until(lambda: taken, "the delivery")
        link.publish_then([queue.message("b")], failing_once(lambda _: None))
        await until(lambda: [one.body for one in taken].count(b"a") == 2, "the delivery again")
        link.acknowledge(taken[1:])
        await works(link, queue)

    linked(queue.url, story, Subscription(queue.name, taken.append))


def test_a_failure_when_a_confirmation_is_late_brings_back_what_it_was_for(queue, monkeypatch):
    monkeypatch.setattr(amqp, "CONFIRM_SECONDS", 0.0)
    taken: list[Delivery] = []
    heard: list[str | None] = []

    def fail(outcome: str | None) -> None:
        heard.append(outcome)
        raise RuntimeError("a bug")

    async def story(link: Link) -> None:
        queue.channel.basic_publish("", queue.name, b"a")
        await until(lambda: taken, "the delivery")
        with unheard(link):
            link.publish_then([queue.message("b")], fail)
            await until(lambda: heard, "the confirmation late")
        monkeypatch.setattr(amqp, "CONFIRM_SECONDS", 10.0)
        await until(lambda: [one.body for one in taken].count(b"a") == 2, "the delivery again")
        link.acknowledge(taken[1:])
        await works(link, queue)

    linked(queue.url, story, Subscription(queue.name, taken.append))
    assert "did not confirm" in heard[0]


def test_a_failure_when_the_connection_is_lost_keeps_nobody_else_from_hearing_it(queue):
    heard: list[str | None] = []

    async def story(link: Link) -> None:
        nowhere = queue.message("a", exchange="nobody")
        link.publish_then([nowhere], failing_once(heard.append))
        link.publish_then([nowhere], heard.append)
        await until(lambda: heard, "the other hears it")
        await until(lambda: not link.is_ready or link._connection, "the connection again")
        await works(link, queue)

    linked(queue.url, story)


@pytest.mark.parametrize("failing", ["acknowledge", "give_back"])
def test_what_cannot_be_acknowledged_or_given_back_comes_again(queue, monkeypatch, failing):
    monkeypatch.setattr(Consumer, failing, failing_once(getattr(Consumer, failing)))
    taken: list[Delivery] = []

    async def story(link: Link) -> None:
        await link.publish([queue.message("a")])
        await until(lambda: taken, "the delivery")
        getattr(link, failing)(taken[:1])
        await until(lambda: len(taken) == 2, "it again")
        link.acknowledge(taken[1:])
        await works(link, queue)

    linked(queue.url, story, Subscription(queue.name, taken.append))


def test_what_cannot_be_written_is_heard_of_and_the_connection_comes_back(queue, monkeypatch):
    async def story(link: Link) -> None:
        failure: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(BaseConnection, "_adapter_emit_data", failing_once(BaseConnection._adapter_emit_data))
        link.publish_then([queue.message("a")], failure.set_result)
        assert "the connection to RabbitMQ was lost" == await asyncio.wait_for(failure, 5)
        await works(link, queue)

    linked(queue.url, story)
