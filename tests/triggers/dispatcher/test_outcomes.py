"""What an answer means, how long a retry waits, and a wrong environment."""

import itertools

import pytest

from functions.shared.request import Headers
from tests.processes import run
from triggers.calls import Done, Failed, Unavailable, outcome_of
from triggers.retries import RetryPolicy, RetrySettings, pauses
from triggers.topology import Topology
from triggers.wire import checked


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
def test_what_is_wrong_with_the_environment_is_reported_in_one_line(environment, text):
    ended = run("triggers.dispatcher", **environment)
    assert 1 == ended.returncode
    assert ended.stderr.startswith(text) and ended.stderr.count("\n") == 1
