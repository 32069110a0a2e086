"""Ingress and dispatcher in one process: a step begins while its event is published, and yes is said after that."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import urllib3

from tests.broker import TYPES, Broker
from tests.crash_points import AHEAD, INGRESS
from tests.fakes import BATCH, Call, Reply, nothing
from tests.processes import end, start
from tests.system import Answer, eventually
from tests.triggers.dispatcher.behaviour import done
from tests.triggers.stage import Proxy, until
from tests.triggers.test_crash_points import dying_at, killed
from tests.triggers.test_ingress import http_of
from tools.local.children import Child
from tools.local.processes import free_port
from tools.local.rabbitmq import RabbitMQ

# What is begun ahead is not published at once, where an ingress alone has its first two.
POINTS = (*AHEAD, *INGRESS[2:])


@pytest.fixture
def broker(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Broker]:
    made = Broker(rabbitmq, tmp_path)
    yield made
    made.close()


def prepared(broker: Broker, ahead: bool = True, **settings: object) -> Child:
    """The process, not started yet."""
    return broker.prepared(name="broker", port=free_port(), DISPATCHER_AHEAD=ahead, **settings)


def post(process: Child, *ids: str) -> Answer:
    events = [{"specversion": "1.0", "id": id, "source": "/t", "type": TYPES["one"], "data": {}} for id in ids]
    return http_of(process).post("/", data=json.dumps(events), headers={"Content-Type": BATCH})


def held(broker: Broker, ahead: bool, story: Callable[[Awaitable[Answer], Proxy], Awaitable[None]]) -> None:
    """Post an event while RabbitMQ says nothing; whatever the story then sees, it ends with nothing left."""

    async def run() -> None:
        proxy = Proxy(broker.rabbitmq)
        async with proxy as url:
            process = prepared(broker, ahead, AMQP_URL=url)
            await asyncio.to_thread(start, process)
            await asyncio.to_thread(broker.consumed, "one")
            proxy.hold()
            posted = asyncio.create_task(asyncio.to_thread(post, process, "a"))
            await story(posted, proxy)
            assert 0 == await asyncio.to_thread(end, process)

    asyncio.run(run())
    assert [0, 0] == [broker.waiting(broker.queue(name)) for name in TYPES]


def test_a_step_begins_while_rabbitmq_says_nothing_and_yes_is_said_when_it_has_confirmed(broker):
    async def story(posted: asyncio.Task, proxy: Proxy) -> None:
        await until(lambda: broker.one.calls, "the step")
        assert not posted.done()
        proxy.let_go()
        assert 202 == (await posted).status

    held(broker, True, story)
    assert ["a"] == broker.one.ids


def test_where_it_is_not_ahead_the_step_waits_for_the_delivery(broker):
    async def story(posted: asyncio.Task, proxy: Proxy) -> None:
        await asyncio.wait([posted], timeout=0.3)
        assert ([], False) == (broker.one.calls, posted.done())
        proxy.let_go()
        assert 202 == (await posted).status
        await until(lambda: broker.one.calls, "the step")

    held(broker, False, story)
    assert ["a"] == broker.one.ids


def test_an_event_that_nobody_here_takes_is_published_all_the_same(broker):
    heard = broker.listen("homework.arch.test.other")
    process = start(prepared(broker))
    event = {"specversion": "1.0", "id": "a", "source": "/t", "type": "homework.arch.test.other"}
    sent = {"data": json.dumps(event), "headers": {"Content-Type": "application/cloudevents+json"}}
    assert 202 == http_of(process).post("/", **sent).status
    assert "a" == broker.take(heard)[0].headers["id"]


def test_a_signal_to_stop_lets_what_is_in_flight_finish(broker):
    def stopping(call: Call) -> Reply:
        process.signal(signal.SIGTERM)
        return nothing(call)

    broker.one.behave = stopping
    process = start(prepared(broker))
    broker.consumed("one")
    assert 202 == post(process, "a").status
    assert 0 == process.process.wait(20)
    assert [0, 0] == [broker.waiting(broker.queue(name)) for name in TYPES]
    assert ["a"] == broker.one.ids


def test_metrics_of_both_are_there_with_the_depth_of_queues(broker):
    process = start(prepared(broker))
    broker.consumed("one")
    text = http_of(process).get("/_/metrics").text
    assert f'broker_queue_messages{{queue="{broker.queue("one")}"}} 0.0' in text
    assert "dispatcher_connected 1.0" in text
    assert 202 == post(process, "a").status
    eventually(lambda: "ingress_event_duration_seconds_count" in http_of(process).get("/_/metrics").text, "its count")


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_a_broker_that_is_killed_at_a_point_has_said_yes_to_nothing_that_is_lost(broker, point):
    ids = ["e0", "e1", "e2"]
    process = dying_at(prepared(broker), "broker", point)
    start(process)
    broker.consumed("one")
    try:
        answer = post(process, *ids).status
    except urllib3.exceptions.HTTPError:
        answer = None
    killed(process)
    eventually(lambda: not broker.consumers(broker.queue("one")), "RabbitMQ to know of its end")

    again = start(prepared(broker))
    if answer != 202:
        # As whoever keeps it in an outbox does.
        assert 202 == post(again, *ids).status
    done(broker, *ids)
    broker.nothing_left(again)
