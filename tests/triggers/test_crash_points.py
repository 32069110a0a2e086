"""Dispatcher and ingress are killed at each of their points. RabbitMQ is real: events come again and none is lost."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import urllib3

from tests.broker import TYPES, Broker
from tests.crash_points import AHEAD, DISPATCHER, INGRESS, Point
from tests.fakes import BATCH, Call, Reply
from tests.processes import end, start
from tests.system import Http, eventually
from tests.triggers.dispatcher.behaviour import done
from tests.triggers.test_ingress import http_of, ingress_of
from tools.local.children import Child
from tools.local.rabbitmq import RabbitMQ

ALL = os.environ.get("CRASH_POINTS") == "all"
REPLY_TYPE = "homework.arch.test.reply"
# What comes of an event; in `make test` each point is met once, with what has most to lose: a batch with replies.
OUTCOMES = ["replies", "nothing", "retries", "dead letters"] if ALL else ["replies"]
SIZES = [1, 3] if ALL else [3]


@pytest.fixture
def broker(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Broker]:
    made = Broker(rabbitmq, tmp_path)
    yield made
    made.close()


def replying(call: Call, type: str = REPLY_TYPE) -> Reply:
    """Each event is answered with one that follows it."""
    facts = {"specversion": "1.0", "source": "/one", "type": type, "data": {}}
    events = [{**facts, "id": f"{id}-reply"} for id in call.ids]
    if call.is_batch:
        return 200, {"Content-Type": BATCH}, json.dumps(events).encode()
    headers = {f"ce-{name}": value for name, value in events[0].items() if name != "data"}
    return 200, {**headers, "Content-Type": "application/json"}, b"{}"


def behaviour(outcome: str) -> Callable[[Call], Reply]:
    """A function of which that comes; one that has to be tried again fails each event's first call."""
    failed: set[str] = set()

    def retried(call: Call) -> Reply:
        if call.is_batch or not {*call.ids} <= failed:
            failed.update(() if call.is_batch else call.ids)
            return 500, {}, b"not yet"
        return replying(call)

    never = 500, {"X-Retry": "never"}, b"never"
    return {
        "replies": replying,
        "nothing": lambda _: (204, {}, b""),
        "retries": retried,
        "dead letters": lambda _: never,
    }[outcome]


def dying_at(process: Child, name: str, point: Point) -> Child:
    """The same process, not started yet, which will kill itself at that point."""
    process.command = [sys.executable, "-m", "tests.crash_points", name, point.name]
    return process


def dying(process: Child, name: str, point: Point) -> Child:
    """The same, started."""
    dying_at(process, name, point).start()
    return process


def killed(process: Child) -> None:
    eventually(lambda: not process.runs, "the process to die")
    assert -signal.SIGKILL == process.process.returncode


# Where nothing follows, nothing is confirmed.
CASES = [
    pytest.param(point, outcome, id=f"{point.name}, {outcome}")
    for point in DISPATCHER
    for outcome in OUTCOMES
    if not (outcome == "nothing" and "confirm" in point.name)
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("point", "outcome"), CASES)
def test_a_dispatcher_that_is_killed_at_a_point_loses_no_event(broker, point, outcome, size):
    ids = [f"e{number}" for number in range(size)]
    replies = broker.listen(REPLY_TYPE)
    broker.one.behave = behaviour(outcome)
    broker.publish(*ids)
    killed(dying(broker.prepared(), "dispatcher", point))
    eventually(lambda: not broker.consumers(broker.queue("one")), "RabbitMQ to know of its end")

    again = broker.start()
    eventually(lambda: {*ids} <= {id for call in broker.one.calls for id in call.ids}, "every event at its function")
    queue = {"dead letters": broker.dead_letters, "nothing": None}.get(outcome, replies)
    if queue:
        expected = {f"{id}-reply" for id in ids} if queue == replies else {*ids}
        found: set[str] = set()
        while found != expected:
            found |= {message.headers["id"] for message in broker.take(queue)}
    broker.nothing_left(again)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("point", (*DISPATCHER, *AHEAD) if ALL else AHEAD, ids=lambda point: point.name)
def test_a_dispatcher_that_is_killed_while_it_is_ahead_loses_no_event(broker, point, size):
    ids = [f"e{number}" for number in range(size)]
    broker.one.behave = partial(replying, type=TYPES["two"])
    broker.publish(*ids)
    killed(dying(broker.prepared(DISPATCHER_AHEAD="true"), "dispatcher", point))
    eventually(lambda: not broker.consumers(broker.queue("one")), "RabbitMQ to know of its end")

    again = broker.start(DISPATCHER_AHEAD="true")
    # Nothing was acknowledged: all of it comes again, and what was published already besides.
    broker.publish("last")
    replies = [f"{id}-reply" for id in (*ids, "last")]
    done(broker, *ids, "last", *replies)
    assert {*replies} <= {*broker.two.ids}
    broker.nothing_left(again)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("point", INGRESS, ids=[point.name for point in INGRESS])
def test_an_ingress_that_is_killed_at_a_point_has_said_yes_to_nothing_that_is_lost(broker, point, size):
    events = [{"specversion": "1.0", "id": f"e{n}", "source": "/t", "type": TYPES["one"]} for n in range(size)]
    sent = {"data": json.dumps(events), "headers": {"Content-Type": BATCH}}
    first = started(broker, lambda process: start(dying_at(process, "ingress", point)))
    with pytest.raises(urllib3.exceptions.HTTPError):
        first.post("/", **sent)
    killed(broker.processes[-1])

    again = started(broker, start)
    assert 202 == again.post("/", **sent).status
    found = {message.headers["id"] for message in broker.take(broker.queue("one"), size)}
    while broker.waiting(broker.queue("one")):
        found |= {message.headers["id"] for message in broker.take(broker.queue("one"))}
    assert {event["id"] for event in events} == found
    assert 0 == end(broker.processes[-1])


def started(broker: Broker, how: Callable[[Child], object]) -> Http:
    process = ingress_of(broker)
    how(process)
    return http_of(process)


def test_every_point_has_a_name_of_its_own():
    for points in ((*DISPATCHER, *AHEAD), (*AHEAD, *INGRESS)):
        assert len(points) == len({point.name for point in points})
