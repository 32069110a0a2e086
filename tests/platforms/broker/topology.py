"""What the controllers of Knative's RabbitMQ broker declare for a Broker and its Triggers, under the same names.

A broker has an exchange; a trigger has a queue and, because it has a dead-letter sink, an exchange, a queue and a
policy for its dead letters. Triggers are the event functions of stack.yml, named as these.
"""

import hashlib
import uuid
from dataclasses import dataclass
from typing import Any

from tests.platforms.api.cluster import Cluster
from triggers.stack import Function, load

NAMESPACE = BROKER = "food"
BROKER_UID = "0b5f2a6e-7f0d-4c1c-9d4e-2f6a51c0f00d"


def exchange_name(broker_uid: str) -> str:
    return f"b.{NAMESPACE}.{BROKER}.{broker_uid}"


EXCHANGE = exchange_name(BROKER_UID)
# What our own dispatcher is told to find these queues.
QUEUE_NAMES = f"{NAMESPACE}.{{function}}.{BROKER_UID}"
LONGEST_NAME, KEPT_OF_IT = 63, 31

TRIGGERS = [function for function in load() if function.event_type]


@dataclass(frozen=True)
class Trigger:
    """The names of one trigger's parts: they have the ids that the API server gave the broker and the trigger."""

    function: Function
    broker_uid: str = BROKER_UID
    own_uid: str | None = None

    @property
    def uid(self) -> str:
        return self.own_uid or str(uuid.uuid5(uuid.UUID(self.broker_uid), self.function.name))

    @property
    def queue(self) -> str:
        return f"{NAMESPACE}.{self.function.name}.{self.broker_uid}"

    @property
    def dead_letter_exchange(self) -> str:
        return self._child("dlx.")

    @property
    def dead_letter_queue(self) -> str:
        return self._child("dlq.")

    @property
    def policy(self) -> str:
        return self._child("")

    def _child(self, kind: str) -> str:
        return child_name(f"t.{NAMESPACE}.{self.function.name}.{kind}", self.uid)


def triggers_of(cluster: Cluster) -> list[Trigger]:
    """The event functions, with the ids that a cluster gave the Broker and their Triggers."""
    broker = cluster.get("broker.eventing.knative.dev", BROKER, "--namespace", NAMESPACE)["metadata"]["uid"]
    made = cluster.get("triggers.eventing.knative.dev", "--namespace", NAMESPACE)["items"]
    ids = {each["metadata"]["name"]: each["metadata"]["uid"] for each in made}
    return [Trigger(function, broker, ids[function.name]) for function in TRIGGERS]


def child_name(parent: str, uid: str) -> str:
    """Kubernetes has 63 characters for a name: of a longer one Knative keeps the beginning and a hash."""
    if len(parent + uid) <= LONGEST_NAME:
        return parent + uid
    name = parent[:KEPT_OF_IT] + hashlib.md5((parent + uid).encode()).hexdigest()
    return name + uid[: LONGEST_NAME - len(name)]


def definitions(user: str, password: str) -> dict[str, list[dict[str, Any]]]:
    """All of it in the form that RabbitMQ loads at its start, with the only user."""
    everything = dict.fromkeys(("configure", "write", "read"), ".*")
    return {
        "vhosts": [{"name": "/"}],
        "users": [{"name": user, "password": password, "tags": ["administrator"]}],
        "permissions": [{"user": user, "vhost": "/", **everything}],
        **declared([Trigger(function) for function in TRIGGERS]),
    }


def declared(triggers: list[Trigger], broker_uid: str = BROKER_UID) -> dict[str, list[dict[str, Any]]]:
    """What a broker and these triggers of it have."""
    exchanges = (exchange_name(broker_uid), *(each.dead_letter_exchange for each in triggers))
    return {
        "exchanges": [*map(_exchange, exchanges)],
        "queues": [_queue(name) for each in triggers for name in (each.queue, each.dead_letter_queue)],
        "bindings": [binding for each in triggers for binding in _bindings(each)],
        "policies": [*map(_policy, triggers)],
    }


def _exchange(name: str) -> dict[str, Any]:
    kind = {"type": "headers", "durable": True, "auto_delete": False, "internal": False}
    return {"name": name, "vhost": "/", **kind, "arguments": {}}


def _queue(name: str) -> dict[str, Any]:
    kind = {"durable": True, "auto_delete": False, "arguments": {"x-queue-type": "quorum"}}
    return {"name": name, "vhost": "/", **kind}


def _bindings(trigger: Trigger) -> list[dict[str, Any]]:
    function = trigger.function
    match = {"x-match": "all", "x-knative-trigger": function.name, "type": function.event_type}
    return [
        _binding(exchange_name(trigger.broker_uid), trigger.queue, match),
        _binding(trigger.dead_letter_exchange, trigger.dead_letter_queue, {"x-match": "all"}),
    ]


def _binding(source: str, queue: str, match: dict[str, str]) -> dict[str, Any]:
    where = {"source": source, "destination": queue, "destination_type": "queue", "routing_key": ""}
    return {**where, "vhost": "/", "arguments": match}


def _policy(trigger: Trigger) -> dict[str, Any]:
    pattern = "^" + trigger.queue.replace(".", r"\.") + "$"
    dead_letters = {"dead-letter-exchange": trigger.dead_letter_exchange}
    kind = {"vhost": "/", "priority": 1, "apply-to": "queues", "pattern": pattern}
    return {"name": trigger.policy, **kind, "definition": dead_letters}
