"""Knative's own RabbitMQ data plane without Kubernetes: its ingress and dispatchers as processes, kept running.

For what no controller of Knative's would do: to stop theirs, and let ours go on with the same queues. The topology
comes with RabbitMQ, as if the controllers had made it; tests/platforms/cluster sees that they make the same one.
"""

import json
import os
import signal
import threading
from collections.abc import Iterable
from pathlib import Path

import pika
import urllib3

from functions.shared.retry_policy import KNATIVE_WORKERS
from tests.platforms.broker.topology import (
    BROKER,
    EXCHANGE,
    NAMESPACE,
    QUEUE_NAMES,
    TRIGGERS,
    Trigger,
    definitions,
)
from tests.platforms.programs import find
from tests.processes import trigger
from tests.system import System, eventually
from tools.generate.manifests import knative
from tools.local import children
from tools.local.children import Child
from tools.local.environment import passed_on
from tools.local.postgres import Postgres
from tools.local.processes import free_port
from tools.local.rabbitmq import USER, RabbitMQ
from triggers.stack import Function, load

# As in the manifests.
DELIVERY = {
    "RETRY": str(knative.DELIVERY["retry"]),
    "BACKOFF_POLICY": knative.DELIVERY["backoffPolicy"],
    "BACKOFF_DELAY": knative.DELIVERY["backoffDelay"].removeprefix("PT").lower(),
    "TIMEOUT": knative.DELIVERY["timeout"].removeprefix("PT").lower(),
    "PARALLELISM": str(KNATIVE_WORKERS),
}
# Otherwise the dispatchers write every reply into their logs, with the data: who ordered what for when.
LOGGING = {"loglevel.rabbitmq-dispatcher": "warn", "loglevel.rabbitmq-ingress": "error"}
# What the orders need besides the steps: the way in of clients, and what cron calls.
CALLED = {
    *("auth-registration", "auth-issue-token", "auth-revocations", "billing-client-create", "billing-balance-add"),
    *("billing-balance-get", "order-submit", "order-find", "order-flush", "notification-list-emails"),
    "ops-health",
}
TICK = 0.1


class Prepared(RabbitMQ):
    """A node that has the topology from its first start on."""

    def _write_configuration(self) -> None:
        super()._write_configuration()
        path = self.directory / "definitions.json"
        path.write_text(json.dumps(definitions(USER, self.password)))
        with (self.directory / "rabbitmq.conf").open("a") as configuration:
            configuration.write(f"load_definitions = {path}\n")


class Plane:
    """One ingress, and for each trigger a dispatcher."""

    def __init__(self, ingress: str, amqp: str, relay: str, logs: Path):
        self._variables = {
            "NAMESPACE": NAMESPACE,
            "BROKER_NAME": BROKER,
            "BROKER_NAMESPACE": NAMESPACE,
            "SYSTEM_NAMESPACE": "knative-eventing",
            "EXCHANGE_NAME": EXCHANGE,
            "BROKER_INGRESS_URL": ingress,
            "RABBIT_URL": amqp,
            "K_LOGGING_CONFIG": json.dumps(LOGGING),
            **DELIVERY,
        }
        self._address, self._amqp, self._logs = ingress, amqp, logs
        self._relay = relay
        port = str(urllib3.util.parse_url(ingress).port)
        self.ingress = self._program("ingress", "ingress", BROKER_URL=amqp, PORT=port)
        self.dispatchers = [self._dispatcher(Trigger(function)) for function in TRIGGERS]
        self._kept: list[Child] = []
        self._changing = threading.Lock()
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep_running, name="plane", daemon=True)

    def _program(self, name: str, program: str, **variables: str) -> Child:
        environment = passed_on(os.environ) | self._variables | variables
        environment |= {"POD_NAME": f"{name}-0", "CONTAINER_NAME": program}
        return Child(f"knative-{name}", [str(find(program))], environment, self._logs / f"knative-{name}.log")

    def _dispatcher(self, trigger: Trigger) -> Child:
        return self._program(
            f"{trigger.function.name}-dispatcher",
            "dispatcher",
            QUEUE_NAME=trigger.queue,
            DLX_NAME=trigger.dead_letter_exchange,
            SUBSCRIBER=self._subscriber(trigger.function),
        )

    def _subscriber(self, function: Function) -> str:
        return f"{self._relay}/function/{function.name}"

    def start(self, *programs: Child) -> None:
        """Start these, and again whenever they end."""
        with self._changing:
            for program in programs:
                program.start()
                self._kept.append(program)
        if not self._keeper.is_alive():
            self._keeper.start()

    def stop(self, *programs: Child) -> None:
        """End these for good. By SIGKILL: at SIGTERM a dispatcher often hangs until it is killed."""
        with self._changing:
            self._kept = [kept for kept in self._kept if kept not in programs]
            for program in programs:
                program.signal(signal.SIGKILL)
        for program in programs:
            if program.process:
                program.process.wait()

    def close(self) -> None:
        """End everything."""
        self._ended.set()
        self.stop(self.ingress, *self.dispatchers)

    def takes_events(self) -> bool:
        """Whether the ingress listens; it answers nothing but a POST of an event with success."""
        try:
            return urllib3.request("GET", self._address, retries=False, timeout=2).status == 405
        except urllib3.exceptions.HTTPError:
            return False

    def consumers(self) -> dict[str, int]:
        """How many dispatchers, theirs or ours, each queue has."""
        queues = [each.queue for each in map(Trigger, TRIGGERS)]
        with pika.BlockingConnection(pika.URLParameters(self._amqp)) as connection:
            channel = connection.channel()
            found = {name: channel.queue_declare(name, passive=True).method for name in queues}
        return {name: method.consumer_count for name, method in found.items()}

    def _keep_running(self) -> None:
        while not self._ended.wait(TICK):
            with self._changing:
                for program in self._kept:
                    program.keep_running()


class OnKnative(System):
    """Our functions one by one, as they are deployed, behind Knative's broker or, in turns, behind our own."""

    starts_within = 240

    def __init__(self, directory: Path, postgres: Postgres, rabbitmq: RabbitMQ, database: str):
        needed = [each for each in load() if each in TRIGGERS or each.name in CALLED]
        super().__init__(
            directory, postgres, rabbitmq, database, functions=needed, each=True, SAGA_DEADLINE_SECONDS="10"
        )
        # As in a cluster: what Knative's dispatchers send goes by the relay, which adds the installation's token.
        port = free_port()
        self.relay = trigger("relay", self.installation.logs, port, FUNCTION_URLS=self.installation.function_urls)
        self.plane = Plane(self.installation.broker, rabbitmq.url, f"http://127.0.0.1:{port}", self.installation.logs)
        self.our_ingress, self.our_dispatcher = map(self.plan.trigger, ("ingress", "dispatcher"))
        for ours in (self.our_ingress, self.our_dispatcher):
            ours.environment |= {"EXCHANGE_NAME": EXCHANGE, "QUEUE_NAMES": QUEUE_NAMES, "QUEUE_TYPE": "quorum"}
        # Replies that Knative's dispatchers send come without a token, as to Knative's own ingress.
        self.our_ingress.environment["INSTALLATION_TOKEN"] = "off"

    @property
    def processes(self) -> list[Child]:
        return [*self.plan.functions, self.plan.triggers["gateway"], self.relay]

    def start(self) -> "OnKnative":
        self.plane.start(self.plane.ingress, *self.plane.dispatchers)
        super().start()
        self.ready()
        return self

    def ready(self) -> None:
        """Wait until the broker takes events, and every queue has somebody who takes them off."""
        eventually(self.plane.takes_events, "the ingress to take events", 60)
        eventually(lambda: set(self.plane.consumers().values()) == {1}, "a dispatcher on every queue", 60)

    def stop(self) -> None:
        self.plane.close()
        children.stop([self.our_ingress, self.our_dispatcher, self.relay])
        super().stop()

    def use(self, ingress: str = "theirs", dispatcher: str = "theirs") -> None:
        """Change to our ingress or dispatcher, or back; each finds the other's events where they are."""
        self._change(self.our_ingress, [self.plane.ingress], ingress)
        self._change(self.our_dispatcher, self.plane.dispatchers, dispatcher)
        self.ready()

    def _change(self, ours: Child, theirs: Iterable[Child], wanted: str) -> None:
        if ours.runs == (wanted == "ours"):
            return
        if wanted == "ours":
            self.plane.stop(*theirs)
            ours.ready = False
            ours.start()
            eventually(ours.check, f"{ours.name} to be ready")
        else:
            children.stop([ours])
            self.plane.start(*theirs)
