"""What the topology operator makes in a real RabbitMQ: what Knative's names say, and what our own broker binds."""

import json
from urllib.parse import quote

import pika
import pytest

from tests.platforms.broker.topology import TRIGGERS, Trigger, declared, triggers_of
from triggers.topology import Topology

OURS = "ours"


@pytest.fixture(scope="module")
def triggers(deployed) -> list[Trigger]:
    return triggers_of(deployed.cluster)


@pytest.fixture
def ours(deployed):
    """What our own broker declares on quorum queues, in a virtual host of its own."""
    rabbitmq = deployed.rabbitmq
    rabbitmq.ask("PUT", f"vhosts/{OURS}")
    rabbitmq.let_in(rabbitmq.user, rabbitmq.password, OURS)
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url.replace("%2F", OURS))) as connection:
        Topology("food.events", "quorum").declare(connection.channel())
    yield OURS
    rabbitmq.ask("DELETE", f"vhosts/{OURS}")


def in_rabbitmq(deployed, kind: str, vhost: str = "/") -> list[dict]:
    """What there is of a kind, without what every RabbitMQ has."""
    found = deployed.rabbitmq.ask("GET", f"{kind}/{quote(vhost, safe='')}")
    key = "source" if kind == "bindings" else "name"
    return [each for each in found if each[key] and not each[key].startswith("amq.")]


def in_order(declared: list[dict]) -> list[str]:
    return sorted(json.dumps(each, sort_keys=True) for each in declared)


@pytest.mark.parametrize("kind", ["exchanges", "queues", "bindings", "policies"])
def test_the_operator_makes_exactly_what_knative_says(deployed, triggers, kind):
    wanted = declared(triggers, triggers[0].broker_uid)[kind]
    found = [{key: each[key] for key in wanted[0]} for each in in_rabbitmq(deployed, kind)]
    assert in_order(wanted) == in_order(found)


def test_our_own_broker_binds_its_queues_in_the_same_way(deployed, ours):
    def matches(vhost: str) -> list[str]:
        found = in_rabbitmq(deployed, "bindings", vhost)
        return in_order([each["arguments"] for each in found if "x-knative-trigger" in each["arguments"]])

    assert len(TRIGGERS) == len(matches(ours))
    assert matches("/") == matches(ours)
