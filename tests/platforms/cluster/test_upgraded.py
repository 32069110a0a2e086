"""The next version over the one before: what is new comes, what is gone goes, down to the queues in RabbitMQ."""

from tests.platforms.cluster.conftest import GONE, NEW
from tests.system import eventually


def test_an_upgrade_gets_ready_by_itself(upgraded):
    assert upgraded.output.endswith("ready\n")


def test_all_traffic_goes_to_the_new_version(upgraded):
    images = {
        each["metadata"]["name"]: each["spec"]["containers"][0]["image"]
        for each in upgraded.cluster.get("revisions.serving.knative.dev", "--namespace", "food")["items"]
    }
    for service in upgraded.cluster.get("services.serving.knative.dev", "--namespace", "food")["items"]:
        (route,) = service["status"]["traffic"]
        assert (100, "9.9.9") == (route["percent"], images[route["revisionName"]].rpartition(":")[2])


def test_a_new_event_has_its_trigger_and_its_queue(upgraded):
    assert NEW in upgraded.names("triggers.eventing.knative.dev")
    assert any(f".{NEW}." in name for name in queues(upgraded))


def test_nothing_of_a_function_that_is_gone_is_left(upgraded):
    assert not {GONE} & upgraded.names("triggers.eventing.knative.dev")
    assert not {GONE} & upgraded.names("services.serving.knative.dev")
    eventually(lambda: not [name for name in queues(upgraded) if f".{GONE}." in name], "its queues to be gone", 60)
    for kind in ("exchanges.rabbitmq.com", "queues.rabbitmq.com", "bindings.rabbitmq.com", "policies.rabbitmq.com"):
        assert [] == [name for name in upgraded.names(kind) if GONE in name]


def test_a_schedule_is_the_new_one(upgraded):
    redrive = upgraded.cluster.get("pingsource", "order-redrive", "--namespace", "food")
    assert "*/20 * * * * *" == redrive["spec"]["schedule"]


def queues(deployment) -> list[str]:
    return [each["name"] for each in deployment.rabbitmq.ask("GET", "queues/%2F")]
