"""The buffer of dead letters: 202 means that one waits in RabbitMQ, and it waits for as long as the sink is away."""

import signal
from collections.abc import Iterator

import pytest

from tests.broker import KEEPER, TYPES, Broker
from tests.processes import end, start, trigger
from tests.system import TOKEN, Http, eventually
from tools.local.children import Child
from tools.local.processes import free_port
from tools.local.rabbitmq import RabbitMQ

DEAD = {
    "ce-specversion": "1.0", "ce-id": "a", "ce-source": "/test", "ce-type": TYPES["one"],
    "Content-Type": "text/plain",
    "ce-knativeerrordest": "http://relay/function/one", "ce-knativeerrorcode": "500",
}  # fmt: skip


@pytest.fixture
def broker(rabbitmq: RabbitMQ, tmp_path) -> Iterator[Broker]:
    made = Broker(rabbitmq, tmp_path)
    yield made
    made.close()


@pytest.fixture
def process(broker: Broker) -> Iterator[Child]:
    variables = {"AMQP_URL": broker.rabbitmq.url, "EXCHANGE_NAME": broker.exchange, "STACK_FILE": broker.stack,
                 "FUNCTION_URLS": broker.urls, "INSTALLATION_TOKEN": TOKEN}  # fmt: skip
    running = start(trigger("buffer", broker.directory, free_port(), **variables))
    yield running
    end(running)


def buffer(process: Child) -> Http:
    return Http(f"http://127.0.0.1:{process.environment['PORT']}")


def test_a_dead_letter_reaches_the_sink_as_it_came_with_the_token(broker, process):
    broker.keeper.start()
    assert 202 == buffer(process).post("/", data="not JSON", headers=DEAD).status

    eventually(lambda: broker.keeper.calls, "the sink to be called")
    (call,) = broker.keeper.calls
    assert b"not JSON" == call.body
    assert DEAD == {**DEAD, **{name: call.headers.get(name.lower()) for name in DEAD}}
    assert call.headers["authorization"].startswith("Bearer ")


def test_it_waits_for_a_sink_that_is_away_and_outlives_the_buffer_itself(broker, process):
    assert 202 == buffer(process).post("/", data="{}", headers=DEAD).status
    end(process, signal.SIGKILL)
    eventually(lambda: 1 == broker.waiting(broker.dead_letters), "it to be back in its queue")

    start(process)
    broker.keeper.start()
    eventually(lambda: ["a"] == broker.keeper.ids, "the sink to have it")
    eventually(lambda: 0 == broker.waiting(broker.dead_letters), "the queue to be empty")


def test_no_trigger_of_the_event_gets_it_again(broker, process):
    broker.keeper.start()
    buffer(process).post("/", data="{}", headers=DEAD)

    eventually(lambda: broker.keeper.calls, "the sink to be called")
    assert [0, 0] == [broker.waiting(broker.queue(name)) for name in TYPES]


def test_the_sink_of_the_tests_is_the_function_of_dead_letters():
    assert "ops-dead-letter" == KEEPER
