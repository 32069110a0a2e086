"""make undeploy takes away what it brought, and what the controllers had made of it."""

from tests.system import eventually
from tools.deploy import KEPT, READY

MADE = ("deployments.apps", "revisions.serving.knative.dev", "routes.serving.knative.dev",
        "ingresses.networking.internal.knative.dev", "exchanges.rabbitmq.com", "queues.rabbitmq.com",
        "bindings.rabbitmq.com", "policies.rabbitmq.com")  # fmt: skip


def test_only_what_holds_data_is_left(undeployed):
    kinds = {kind: f"{kind.partition('/')[2]}.{kind.partition('/')[0]}" for kind in READY}
    left = {kind.partition("/")[2] for kind, name in kinds.items() if undeployed.names(name)}
    assert left <= KEPT


def test_controllers_clear_away_what_they_made(undeployed):
    for kind in MADE:
        eventually(lambda kind=kind: not undeployed.names(kind), f"no {kind} to be left", 120)


def test_nothing_of_the_broker_is_left_in_rabbitmq(undeployed):
    def left() -> list[str]:
        kinds = ("queues", "policies")
        return [each["name"] for kind in kinds for each in undeployed.rabbitmq.ask("GET", f"{kind}/%2F")]

    eventually(lambda: [] == left(), "queues and policies to be gone", 60)
    exchanges = {each["name"] for each in undeployed.rabbitmq.ask("GET", "exchanges/%2F")}
    assert set() == {name for name in exchanges if name and not name.startswith("amq.")}


def test_nothing_at_all_is_left_when_everything_is_to_go(deleted):
    """Not even the namespace: the controllers let go of all that they had made in it."""
    assert not deleted.cluster.kubectl("get", "namespace", "food", "--ignore-not-found")
