"""The connection to RabbitMQ: what is confirmed is there, what is acknowledged is gone, and it comes back."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pika
import pytest

from tests.system import eventually
from tools.local.processes import free_port
from tools.local.rabbitmq import RabbitMQ
from triggers import amqp
from triggers.amqp import Link, Message, NotConfirmed, Subscription
from triggers.deliveries import Delivery


class Queue:
    """A queue of a test's own, and the other side's channel to it."""

    def __init__(self, url: str):
        self.url = url
        self.channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
        self.name = self.channel.queue_declare("").method.queue

    @property
    def waiting(self) -> int:
        return self.channel.queue_declare(self.name, passive=True).method.message_count

    def message(self, id: str = "a", **more: Any) -> Message:
        return Message(**{"exchange": "", "routing_key": self.name, "headers": {}, "body": id.encode(),
                          "content_type": "application/json", "id": id} | more)  # fmt: skip


@pytest.fixture
def queue(rabbitmq: RabbitMQ) -> Iterator[Queue]:
    made = Queue(rabbitmq.url)
    yield made
    if made.channel.is_closed:
        made.channel = made.channel.connection.channel()
    made.channel.queue_delete(made.name)
    made.channel.connection.close()


def linked(
    url: str,
    story: Callable[[Link], Awaitable[Any]],
    *subscriptions: Subscription,
    loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> Any:
    """What a story with a link to RabbitMQ gives."""

    async def run() -> Any:
        link = Link(url, lambda _: None, subscriptions).start()
        try:
            assert await link.wait_ready(30)
            return await story(link)
        finally:
            await link.stop()

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(run())


async def until(condition: Callable[[], Any], what: str) -> Any:
    return await asyncio.to_thread(eventually, condition, what)


def test_what_is_published_is_there_when_it_is_confirmed(queue):
    async def story(link: Link) -> int:
        await link.publish([queue.message(str(n)) for n in range(500)])
        return queue.waiting

    assert 500 == linked(queue.url, story)


def test_a_message_that_no_queue_takes_is_confirmed_unless_it_must_arrive(queue):
    async def story(link: Link) -> None:
        await link.publish([queue.message(routing_key="nobody")])
        with pytest.raises(NotConfirmed, match="no queue takes messages of nobody"):
            await link.publish([queue.message("a"), queue.message("b", routing_key="nobody", must_arrive=True)])

    linked(queue.url, story)


def test_an_exchange_that_is_not_there_fails_the_publication_and_the_link_comes_back(queue):
    async def story(link: Link) -> None:
        with pytest.raises(NotConfirmed, match="connection to RabbitMQ was lost"):
            await link.publish([queue.message(exchange="nowhere")])
        assert await link.wait_ready(30)
        await link.publish([queue.message()])

    linked(queue.url, story)
    assert 1 == queue.waiting


@contextmanager
def unheard(link: Link) -> Iterator[None]:
    """What the broker says meanwhile is read later."""
    link._connection._transport.pause_reading()
    yield
    link._connection._transport.resume_reading()


def test_without_a_confirmation_in_time_it_is_not_confirmed(queue, monkeypatch):
    monkeypatch.setattr(amqp, "CONFIRM_SECONDS", 0.0)

    async def story(link: Link) -> None:
        with unheard(link), pytest.raises(NotConfirmed, match="RabbitMQ did not confirm within 0 seconds"):
            await link.publish([queue.message()])

    linked(queue.url, story)


def test_before_there_is_a_connection_nothing_is_published():
    async def run() -> None:
        link = Link(f"amqp://127.0.0.1:{free_port()}/", lambda _: None).start()
        with pytest.raises(NotConfirmed, match="RabbitMQ is not there"):
            await link.publish([Message("", "x", {}, b"", "text/plain", "a")])
        assert not await link.wait_ready(0.1)
        await link.stop()

    asyncio.run(run())


def test_an_outcome_is_heard_once_whatever_happens(queue, monkeypatch):
    monkeypatch.setattr(amqp, "CONFIRM_SECONDS", 0.0)
    heard: list[str | None] = []

    async def story(link: Link) -> None:
        with unheard(link):
            link.publish_then([queue.message()], heard.append)
            await until(lambda: queue.waiting and heard, "the message there, and its confirmation late")
        monkeypatch.setattr(amqp, "CONFIRM_SECONDS", 10.0)
        await link.publish([queue.message()])

    linked(queue.url, story)
    assert 1 == len(heard) and "did not confirm" in heard[0]


def test_an_acknowledged_delivery_is_gone_and_one_that_is_given_back_comes_again(queue):
    taken: list[Delivery] = []
    subscription = Subscription(queue.name, taken.append)

    async def story(link: Link) -> None:
        await link.publish([queue.message("a"), queue.message("b")])
        await until(lambda: len(taken) == 2, "both")
        link.acknowledge(taken[:1])
        link.give_back(taken[1:])
        await until(lambda: len(taken) == 3, "the second again")
        link.acknowledge(taken[2:])

    linked(queue.url, story, subscription)
    assert [b"a", b"b", b"b"] == [delivery.body for delivery in taken]
    assert 0 == queue.waiting


def test_what_nobody_dealt_with_goes_back_when_the_link_stops(queue):
    taken: list[Delivery] = []

    async def story(link: Link) -> None:
        await link.publish([queue.message("a")])
        await until(lambda: taken, "the delivery")

    linked(queue.url, story, Subscription(queue.name, taken.append))
    assert (1, True) == (queue.waiting, taken[0].is_stale)


def test_a_consumer_takes_no_more_than_its_prefetch(queue):
    taken: list[Delivery] = []

    async def story(link: Link) -> int:
        await link.publish([queue.message(str(n)) for n in range(5)])
        await until(lambda: len(taken) == 2, "two deliveries")
        return queue.waiting

    assert 3 == linked(queue.url, story, Subscription(queue.name, taken.append, prefetch=2))


def test_a_queue_can_be_consumed_later_and_no_more(queue):
    taken: list[Delivery] = []
    subscription = Subscription(queue.name, taken.append)

    async def story(link: Link) -> None:
        await link.publish([queue.message("a")])
        link.subscribe(subscription)
        await until(lambda: taken, "the delivery")
        link.unsubscribe(subscription)
        await until(lambda: queue.waiting == 1, "it back in its queue")
        assert link.is_ready

    linked(queue.url, story)


def test_depths_are_those_of_queues_that_there_are(queue):
    async def story(link: Link) -> tuple[dict[str, int], dict[str, int]]:
        await link.publish([queue.message("a")])
        both = await link.depths([queue.name, "nobody"])
        return both, await link.depths([])

    assert ({queue.name: 1}, {}) == linked(queue.url, story)


def test_a_link_that_is_stopped_while_it_connects_does_not_stay(rabbitmq):
    reached, go_on = threading.Event(), threading.Event()

    async def run() -> None:
        link = Link(rabbitmq.url, lambda _: reached.set() or go_on.wait(30)).start()
        await asyncio.to_thread(reached.wait, 30)
        stopping = asyncio.create_task(link.stop())
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.wait_for(stopping, 5)
        assert not link.is_ready and link._kept_up.done()

    asyncio.run(run())


def test_an_error_of_our_own_while_connecting_is_logged_and_tried_again(rabbitmq):
    failures = iter(["once", "twice"])

    def declare(_: Any) -> None:
        if next(failures, None):
            raise RuntimeError("a bug")

    async def run() -> None:
        link = Link(rabbitmq.url, declare).start()
        assert await link.wait_ready(30)
        await link.stop()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("tag", "multiple", "expected"),
    [(3, False, [3]), (4, False, []), (5, True, [1, 3, 5]), (4, True, [1, 3]), (9, True, [1, 3, 5, 6])],
)
def test_a_confirmation_of_many_means_all_up_to_its_number(tag, multiple, expected):
    assert expected == amqp._tags(dict.fromkeys([1, 3, 5, 6]), tag, multiple)


def test_what_one_turn_of_the_loop_writes_leaves_in_one_piece(queue):
    async def story(link: Link) -> list[int]:
        pieces: list[int] = []
        transport = link._connection._transport

        def write(data: bytes) -> None:
            pieces.append(len(data))
            transport.write(data)

        link._connection._transport = SimpleNamespace(write=write)
        await link.publish([queue.message(str(n)) for n in range(20)])
        link._connection._transport = transport
        return pieces

    assert 1 == len(linked(queue.url, story))
