"""What a schema cannot know is refused by Knative's webhooks, which name the field.

Every wrong document is a right one of the project with a single change.
"""

from typing import NamedTuple

import pytest

from tests.platforms.api import manifests
from tests.platforms.api.cluster import Refused

TEMPLATE = ("spec", "template", "spec")
CONTAINER = (*TEMPLATE, "containers", 0)
SCALE = ("spec", "template", "metadata", "annotations")
SMALLEST, LARGEST = "autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/max-scale"
DELIVERY = ("spec", "delivery")
WORKERS = ("metadata", "annotations", "rabbitmq.eventing.knative.dev/parallelism")
FIRST = [{"image": "registry.example.org/first:1"}]
TWO_PORTS = [{"containerPort": 8080}, {"containerPort": 8081}]
ANOTHERS = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "order-submit", "namespace": "other"}


class Wrong(NamedTuple):
    """One change to the project's document of a kind, and what the refusal has to name."""

    kind: str
    path: tuple
    value: object
    named: str


ALONE = {
    "a schedule in words": Wrong("PingSource", ("spec", "schedule"), "every ten seconds", "spec.schedule"),
    "a minute that no hour has": Wrong("PingSource", ("spec", "schedule"), "61 * * * *", "spec.schedule"),
    "the schedule of another source": Wrong("PingSource", ("spec", "schedule"), "@every 10s", "spec.schedule"),
    "an unknown time zone": Wrong("PingSource", ("spec", "timezone"), "Minsk", "spec.timezone"),
    "a source that calls nobody": Wrong("PingSource", ("spec", "sink"), {}, "spec.sink.ref"),
    "an empty trigger": Wrong("Trigger", ("spec",), {}, "spec.broker"),
    "a trigger that calls nobody": Wrong("Trigger", ("spec", "subscriber"), {}, "spec.subscriber.ref"),
    "a name that no attribute can have": Wrong(
        "Trigger", ("spec", "filter", "attributes"), {"Event-Type": "pay.sale"}, "spec.filter.attributes[Event-Type]"
    ),
    "fewer than no retries": Wrong("Trigger", (*DELIVERY, "retry"), -1, "spec.delivery.retry"),
    "an unknown backoff": Wrong("Trigger", (*DELIVERY, "backoffPolicy"), "patient", "spec.delivery.backoffPolicy"),
    "a delay in Go's words": Wrong("Trigger", (*DELIVERY, "backoffDelay"), "200ms", "spec.delivery.backoffDelay"),
    "a timeout in Go's words": Wrong("Trigger", (*DELIVERY, "timeout"), "20s", "spec.delivery.timeout"),
    "no dead-letter sink": Wrong("Trigger", (*DELIVERY, "deadLetterSink"), {}, "spec.delivery.deadLetterSink.ref"),
    "a broker on others' settings": Wrong("Broker", ("spec", "config", "kind"), "ConfigMap", "RabbitmqBrokerConfig"),
    "an unknown kind of queue": Wrong("RabbitmqBrokerConfig", ("spec", "queueType"), "lazy", "spec.queueType"),
    "a broker without a server": Wrong(
        "RabbitmqBrokerConfig", ("spec", "rabbitmqClusterReference"), {}, "spec.rabbitmqClusterReference.name"
    ),
    "a scale in words": Wrong("Service", (*SCALE, SMALLEST), "many", SMALLEST),
    "a scale below nothing": Wrong("Service", (*SCALE, LARGEST), "-1", LARGEST),
    "a smallest scale above the largest": Wrong("Service", (*SCALE, SMALLEST), "9", SMALLEST),
    "a scale where it has no effect": Wrong("Service", ("metadata", "annotations"), {SMALLEST: "1"}, SMALLEST),
    "too many at once": Wrong("Service", (*TEMPLATE, "containerConcurrency"), 2000, "containerConcurrency"),
    "too much patience": Wrong("Service", (*TEMPLATE, "timeoutSeconds"), 900, "spec.template.spec.timeoutSeconds"),
    "two ports": Wrong("Service", (*CONTAINER, "ports"), TWO_PORTS, "spec.template.spec.containers[*].ports"),
    "a container before the others": Wrong("Service", (*TEMPLATE, "initContainers"), FIRST, "spec.initContainers"),
    "an image that is none": Wrong("Service", (*CONTAINER, "image"), "Not One", "spec.containers[0].image"),
    "a secret that no volume brings": Wrong("Service", (*TEMPLATE, "volumes"), [], "volumeMounts[0].name"),
    "another's service": Wrong("DomainMapping", ("spec", "ref"), ANOTHERS, "spec.ref.namespace"),
}
# Of what is there already. A Trigger's workers are looked at only where its Broker is there before it.
LATER = {
    "another broker": Wrong("Trigger", ("spec", "broker"), "drinks", "broker, spec"),
    "another event": Wrong("Trigger", ("spec", "filter", "attributes", "type"), "pay.sale", "filter, spec"),
    "too many workers": Wrong("Trigger", WORKERS, "5000", WORKERS[-1]),
    "workers in words": Wrong("Trigger", WORKERS, "many", WORKERS[-1]),
    "another delivery for all": Wrong("Broker", ("spec", "delivery"), {"retry": 5}, "Delivery.Retry"),
    "other settings": Wrong("Broker", ("spec", "config", "name"), "drinks", "Config.Name"),
    "other queues": Wrong("RabbitmqBrokerConfig", ("spec", "queueType"), "classic", "QueueType"),
}


@pytest.mark.parametrize("wrong", ALONE.values(), ids=ALONE)
def test_it_is_refused_by_the_name_of_the_field(cluster, wrong):
    name = "wrong.example.org" if wrong.kind == "DomainMapping" else "wrong"
    right = manifests.elsewhere(manifests.of_kind(wrong.kind), name)

    with pytest.raises(Refused) as refusal:
        cluster.kubectl("create", "--dry-run=server", documents=[manifests.changed(right, wrong.path, wrong.value)])
    assert wrong.named in refusal.value.reason


@pytest.mark.parametrize("kind", sorted({wrong.kind for wrong in ALONE.values()}))
def test_without_its_change_it_is_taken(cluster, kind):
    name = "right.example.org" if kind == "DomainMapping" else "right"

    cluster.kubectl("create", "--dry-run=server", documents=[manifests.elsewhere(manifests.of_kind(kind), name)])


@pytest.mark.parametrize("wrong", LATER.values(), ids=LATER)
@pytest.mark.parametrize("applied", manifests.overlays()[:1], ids=lambda folder: folder.name, indirect=True)
def test_what_is_there_cannot_be_changed_to_it(applied, wrong):
    right = next(each for each in applied.documents if wrong.kind == each["kind"])

    with pytest.raises(Refused) as refusal:
        applied.cluster.kubectl("apply", "--dry-run=server", documents=[manifests.changed(right, *wrong[1:3])])
    assert wrong.named in refusal.value.reason
