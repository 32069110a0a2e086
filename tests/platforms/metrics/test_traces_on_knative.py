"""Knative's own ingress and dispatcher read the trace that we write, and write the one that we read."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.shared.telemetry import traces
from functions.shared.telemetry.traces import Trace
from tests.broker import TYPES, Broker
from tests.platforms.programs import find
from tests.processes import child
from tests.system import Http, eventually
from tools.local.children import Child
from tools.local.processes import free_port, is_free
from tools.local.rabbitmq import RabbitMQ
from triggers import wire
from triggers.wire import message_of

BINARY = {"ce-specversion": "1.0", "ce-source": "/test", "ce-type": TYPES["one"], "Content-Type": "application/json"}
NAMES = {
    "BROKER_NAME": "broker",
    "BROKER_NAMESPACE": "food",
    "NAMESPACE": "food",
    "POD_NAME": "pod",
    "CONTAINER_NAME": "container",
    "SYSTEM_NAMESPACE": "system",
}


class Knative:
    """The two programs on the queues of a test's own broker, in the place of ours."""

    def __init__(self, broker: Broker):
        url, self.broker = broker.rabbitmq.url.rstrip("/"), broker
        self.http = Http(f"http://127.0.0.1:{free_port()}")
        port = self.http.base.rpartition(":")[2]
        self.ingress = self._program("ingress", BROKER_URL=url, EXCHANGE_NAME=broker.exchange, PORT=port)
        self.dispatcher = self._program(
            "dispatcher", RABBIT_URL=url, QUEUE_NAME=broker.queue("one"), SUBSCRIBER=broker.one.url,
            BROKER_INGRESS_URL=self.http.base, DLX_NAME="none", RETRY="1", BACKOFF_DELAY="50ms",
        )  # fmt: skip

    def _program(self, name: str, **environment: str) -> Child:
        return child(name, [str(find(name))], self.broker.directory, **NAMES, **environment)

    def start(self) -> "Knative":
        self.ingress.start()
        self.dispatcher.start()
        port = int(self.http.base.rpartition(":")[2])
        eventually(lambda: not is_free(port), "Knative's ingress")
        self.broker.consumed("one")
        return self

    def stop(self) -> None:
        for process in (self.ingress, self.dispatcher):
            # They often hang at a SIGTERM.
            process.process.kill()
            process.process.wait()


@pytest.fixture
def knative(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Knative]:
    broker = Broker(rabbitmq, tmp_path)
    made = Knative(broker)
    yield made.start()
    made.stop()
    broker.close()


@pytest.mark.parametrize("state", ["vendor=1", ""])
def test_our_message_gives_knatives_dispatcher_the_trace_for_the_function(knative, state):
    came, broker = context(state), knative.broker
    event = wire.from_http({**BINARY, "ce-id": "ours", **came.headers()}, b"{}")
    message = message_of(event, broker.exchange)

    broker.channel.basic_publish(message.exchange, "", message.body, message.properties())

    (call,) = broker.one.wait_for(1)
    assert came == traces.extract(call.headers.get)


def test_the_trace_of_a_request_goes_through_both_to_the_function_and_we_read_it_too(knative):
    came, broker = context("vendor=1"), knative.broker
    tap = broker.listen(TYPES["one"])

    assert 202 == knative.http.post("/", data="{}", headers={**BINARY, "ce-id": "theirs", **came.headers()}).status

    (message,) = broker.take(tap)
    assert came == wire.from_amqp(message.headers, message.properties.content_type, message.body).trace
    (call,) = broker.one.wait_for(1)
    assert came == traces.extract(call.headers.get)


def context(state: str) -> Trace:
    return Trace(f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01", state)
