"""Unknown fields are found without a server; what the manifests hold has none."""

import pytest

from tests.platforms.api import manifests
from tests.platforms.api.strict import unheeded_words, unknown_fields

DELIVERY = {"retry": 8, "timeout": "PT20S", "backofPolicy": "exponential"}


@pytest.mark.parametrize("folder", manifests.overlays(), ids=lambda folder: folder.name)
def test_no_document_has_an_unknown_field(folder):
    assert [] == [field for document in manifests.documents(folder) for field in unknown_fields(document)]


@pytest.mark.parametrize("folder", manifests.overlays(), ids=lambda folder: folder.name)
def test_knative_heeds_every_word_that_is_meant_for_it(folder):
    assert [] == [word for document in manifests.documents(folder) for word in unheeded_words(document)]


def test_an_unknown_field_of_a_trigger_is_found_although_its_crd_keeps_it():
    trigger = {"apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "spec": {"broker": "food", "fitler": {}}}

    assert ["spec.fitler"] == unknown_fields(trigger)


def test_an_unknown_field_of_a_brokers_delivery_is_found_and_a_forgotten_one_is_not():
    broker = {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "spec": {"delivery": DELIVERY}}

    assert ["spec.delivery.backofPolicy"] == unknown_fields(broker)


def test_an_unknown_field_in_a_list_is_found_by_its_number():
    container = {"image": "registry.example.org/one:1", "imagePullPolicies": "Always"}
    service = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "spec": {"template": {"spec": {"containers": [container]}}},
    }

    assert ["spec.template.spec.containers[0].imagePullPolicies"] == unknown_fields(service)


def test_words_of_the_authors_own_are_no_unknown_fields():
    service = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"labels": {"one": "two"}},
        "spec": {"template": {"metadata": {"annotations": {"three": "four"}}}},
    }

    assert [] == unknown_fields(service)


def test_a_kind_without_a_crd_is_not_looked_at():
    assert [] == unknown_fields({"apiVersion": "v1", "kind": "ConfigMap", "dataa": {}})


@pytest.mark.parametrize("place", ["labels", "annotations"])
@pytest.mark.parametrize(
    "word",
    [
        ("autoscaling.knative.dev/mim-scale", "1"),
        ("networking.knative.dev/visibility", "secret"),
        ("rabbitmq.eventing.knative.dev/parallelism", "5000"),
        ("rabbitmq.eventing.knative.dev/parallelism", "many"),
    ],
    ids=": ".join,
)
def test_a_word_that_every_server_takes_and_nobody_heeds_is_found(place, word):
    metadata = {place: {"food/caller": "broker", **dict([word])}}

    assert [": ".join(word)] == unheeded_words({"metadata": metadata})
    assert [": ".join(word)] == unheeded_words({"spec": {"template": {"metadata": metadata}}})
