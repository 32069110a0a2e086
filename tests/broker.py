"""An exchange of a test's own with two triggers, a fake function behind each, and the dispatcher between them."""

import base64
import contextlib
import json
import uuid
from pathlib import Path
from typing import Any

import pika
import yaml

from tests.fakes import FakeFunction
from tests.processes import end, log_of, start, trigger
from tests.system import eventually
from tools.local.children import Child
from tools.local.rabbitmq import RabbitMQ
from triggers.topology import RETRY_QUEUES

KEEPER = "ops-dead-letter"
TYPES = {"one": "homework.arch.test.one", "two": "homework.arch.test.two"}
CLASSIC = {"x-queue-type": "classic"}


def stack_file(directory: Path) -> Path:
    """A list of functions as stack.yml, with the two and the keeper of dead letters."""
    topics = {**TYPES, KEEPER: "dead-letters"}
    functions = {
        name: {
            "environment": {"FUNCTION_SOURCE": f"functions/test/{name}.py", "FUNCTION_TARGET": name},
            "annotations": {"caller": "broker", "topic": topic},
        }
        for name, topic in topics.items()
    }
    path = directory / "stack.yml"
    path.write_text(yaml.safe_dump({"functions": functions}))
    return path


class Received:
    """A message taken off a queue."""

    def __init__(self, properties: pika.BasicProperties, body: bytes):
        self.properties, self.body = properties, body
        self.headers: dict[str, Any] = properties.headers

    @property
    def story(self) -> tuple[str, str, str, str]:
        """Of a dead letter: where it failed, with which status and reason, after how many attempts."""
        data = base64.b64decode(self.headers["knativeerrordata"]).decode()
        return (
            self.headers["knativeerrordest"],
            self.headers["knativeerrorcode"],
            data,
            self.headers["deliveryattempts"],
        )


class Broker:
    """Queues are made by the test itself too, so that events can wait before the dispatcher is there."""

    def __init__(self, rabbitmq: RabbitMQ, directory: Path, queue_type: str = "classic"):
        self.queue_type = queue_type
        self.rabbitmq, self.directory = rabbitmq, directory
        self.exchange = f"t{uuid.uuid4().hex[:8]}"
        self.dead_letters = f"{self.exchange}.dead-letters"
        self.functions = {name: FakeFunction() for name in (*TYPES, KEEPER)}
        self.one, self.two, self.keeper = self.functions.values()
        self.urls = directory / "urls.json"
        self.urls.write_text(json.dumps({name: function.url for name, function in self.functions.items()}))
        self.stack = stack_file(directory)
        self.processes: list[Child] = []
        self.connect()
        self.channel.exchange_declare(self.exchange, "headers", durable=True)
        for name, type in TYPES.items():
            self.channel.queue_declare(self.queue(name), durable=True, arguments={"x-queue-type": queue_type})
            match = {"x-match": "all", "x-knative-trigger": name, "type": type}
            self.channel.queue_bind(self.queue(name), self.exchange, "", match)
            self.functions[name].start()

    def connect(self) -> None:
        self.channel = pika.BlockingConnection(pika.URLParameters(self.rabbitmq.url)).channel()
        self.channel.confirm_delivery()

    def disconnect(self) -> None:
        """A server that is to stop waits half a minute for a client that does not listen."""
        self.channel.connection.close()

    def queue(self, name: str) -> str:
        return f"{self.exchange}.{name}"

    def retry_queue(self, number: int) -> str:
        return f"{self.exchange}.retry.{number}"

    def publish(self, *ids: str, to: str = "one", body: bytes = b"{}", **more: Any) -> None:
        """Events with these ids, as the ingress writes them; `more` are further attributes."""
        for id in ids:
            headers = {
                "specversion": "1.0", "id": id, "source": "/test", "type": TYPES[to], "subject": f"order-{id}",
                "time": "2026-11-23T12:00:00Z", "content-type": "application/json", **more,
            }  # fmt: skip
            self.publish_raw(headers, body, headers["content-type"])

    def publish_raw(self, headers: dict[str, Any], body: bytes, content_type: str, queue: str | None = None) -> None:
        """Any message at all; with a queue it goes there directly, past the bindings."""
        properties = pika.BasicProperties(
            headers=headers, content_type=content_type, delivery_mode=2, message_id=headers.get("id")
        )
        self.channel.basic_publish("" if queue else self.exchange, queue or "", body, properties, mandatory=True)

    def start(self, triggers: str = "one,two", **settings: object) -> Child:
        """A dispatcher that waits shortly; gives it once it consumes."""
        process = self.launch(triggers, **settings)
        self.consumed(triggers.partition(",")[0] or "one")
        return process

    def launch(self, triggers: str = "one,two", **settings: object) -> Child:
        """The same, without waiting for anything."""
        return start(self.prepared(triggers, **settings))

    def prepared(
        self, triggers: str = "one,two", name: str = "dispatcher", port: int | None = None, **settings: object
    ) -> Child:
        """The same, or another trigger with its settings, not started yet."""
        process = trigger(
            name,
            self.directory,
            port,
            EXCHANGE_NAME=self.exchange,
            STACK_FILE=self.stack,
            FUNCTION_URLS=self.urls,
            **{
                "AMQP_URL": self.rabbitmq.url,
                "DISPATCHER_TRIGGERS": triggers,
                "DISPATCHER_BACKOFF_SECONDS": 0.1,
                "DISPATCHER_WORKERS": 1,
                **settings,
            },
        )
        self.processes.append(process)
        return process

    def consumed(self, name: str, consumers: int = 1) -> None:
        """Wait until a queue has that many consumers; it may not be there yet."""
        eventually(lambda: self.consumers(self.queue(name)) == consumers, f"{consumers} consumers on {name}")

    def consumers(self, queue: str) -> int | None:
        try:
            return self.channel.queue_declare(queue, passive=True).method.consumer_count
        except pika.exceptions.ChannelClosedByBroker:
            self.connect()
            return None

    def waiting(self, queue: str) -> int:
        """Messages that no consumer has got."""
        return self.channel.queue_declare(queue, passive=True).method.message_count

    def nothing_left(self, process: Child) -> None:
        """After the dispatcher's end every event of the two triggers is acknowledged, none is on its way."""
        assert 0 == end(process)
        assert [0, 0] == [self.waiting(self.queue(name)) for name in TYPES]
        assert [0] * RETRY_QUEUES == [self.waiting(self.retry_queue(number)) for number in range(RETRY_QUEUES)]

    def listen(self, type: str) -> str:
        """A queue that gets the events of a type, as a trigger's would."""
        queue = f"{self.exchange}.{type}"
        self.channel.queue_declare(queue, durable=True, arguments=CLASSIC)
        self.channel.queue_bind(queue, self.exchange, "", {"x-match": "all", "type": type})
        return queue

    def take(self, queue: str, count: int = 1) -> list[Received]:
        """The next messages of a queue, once there are that many."""
        found: list[Received] = []

        def more() -> bool:
            method, properties, body = self.channel.basic_get(queue, auto_ack=True)
            if method:
                found.append(Received(properties, body))
            return len(found) >= count

        eventually(more, f"{count} messages in {queue}")
        return found

    def outcomes(self, id: str | None = None) -> list[str]:
        """What the dispatcher has told about an event, or about those that came together."""
        lines = [line for process in self.processes[-1:] for line in log_of(process)]
        return [line["outcome"] for line in lines if line["message"] == "delivery" and line.get("id") == id]

    def close(self) -> None:
        for process in self.processes:
            if process.runs:
                end(process)
        for function in self.functions.values():
            function.stop()
        with contextlib.suppress(pika.exceptions.AMQPError):
            self._delete()

    def _delete(self) -> None:
        if self.channel.is_closed:
            self.connect()
        retry_queues = [self.retry_queue(number) for number in range(RETRY_QUEUES)]
        for queue in (*map(self.queue, TYPES), *retry_queues, self.dead_letters):
            self.channel.queue_delete(queue)
        for exchange in (self.exchange, *retry_queues):
            self.channel.exchange_delete(exchange)
        self.channel.connection.close()
