"""Knative's admission webhooks beside the API server: they say what a CRD's schema cannot.

Each is installed by its project's own manifests, with two changes for a server without nodes: its Service points at
this machine, and its port is the one that the program listens on here.
"""

from pathlib import Path
from typing import NamedTuple

import yaml

from tests.platforms import programs
from tests.platforms.api.cluster import Cluster, Refused, namespace
from tools.local.processes import free_port

CRDS = Path(__file__).parent.parent / "crds"
# Namespaces that the platforms' own installations make; the manifests name some of them.
PLATFORMS = ("knative-serving", "knative-eventing", "istio-system", "kourier-system", "monitoring", "openfaas-fn")
HOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Webhook(NamedTuple):
    """A program, its Service, and a document that nobody but this webhook refuses, with the word for it."""

    program: str
    namespace: str
    service: str
    wrong: dict
    why: str


def document(version: str, kind: str, spec: dict, **annotations: str) -> dict:
    """A document in the namespace `default`, which is always there."""
    metadata = {"name": "wrong", "namespace": "default", "annotations": annotations}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


CONTAINER = {"spec": {"containers": [{"image": "registry.example.org/one:1"}], "containerConcurrency": -1}}
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "name": "food", "namespace": "default"}
RABBITMQ = {"eventing.knative.dev/broker.class": "RabbitMQBroker"}
WEBHOOKS = (
    Webhook(
        "serving-webhook",
        "knative-serving",
        "webhook",
        document("serving.knative.dev/v1", "Service", {"template": CONTAINER}),
        "containerConcurrency",
    ),
    Webhook(
        "eventing-webhook",
        "knative-eventing",
        "eventing-webhook",
        document("eventing.knative.dev/v1", "Trigger", {"broker": "food", "subscriber": {}}),
        "subscriber",
    ),
    Webhook(
        "rabbitmq-webhook",
        "knative-eventing",
        "rabbitmq-broker-webhook",
        document("eventing.knative.dev/v1", "Broker", {"config": CONFIG}, **RABBITMQ),
        "RabbitmqCluster",
    ),
)


def install(cluster: Cluster) -> None:
    """Give the cluster every kind of the platforms, and the webhooks that check Knative's."""
    cluster.add_namespaces(*map(namespace, ("default", *PLATFORMS)))
    ports = {webhook.program: free_port() for webhook in WEBHOOKS}
    installed = [
        made
        for webhook in WEBHOOKS
        for made in manifests(webhook, ports[webhook.program], cluster.host(webhook.program))
    ]
    ours = [made for path in sorted(CRDS.rglob("*.yaml")) for made in yaml.load_all(path.read_text("utf-8"), LOADER)]
    # Of a kind that is in both, the committed one counts.
    apply(cluster, of_kind(installed, "CustomResourceDefinition"))
    apply(cluster, of_kind(ours, "CustomResourceDefinition"))
    apply(cluster, of_kind(installed, "ConfigMap", "Secret", "Service"))
    for webhook in WEBHOOKS:
        launch(cluster, webhook, ports[webhook.program])
    # Last: from here on nothing passes that its webhook has not seen.
    apply(cluster, of_kind(installed, *HOOKS))
    for webhook in WEBHOOKS:
        cluster.until(lambda webhook=webhook: answers(cluster, webhook.wrong, webhook.why), webhook.program)


def apply(cluster: Cluster, documents: list[dict]) -> None:
    cluster.kubectl("apply", "--server-side", "--force-conflicts", documents=documents)


def of_kind(documents: list[dict], *kinds: str) -> list[dict]:
    return [each for each in documents if each and each["kind"] in kinds]


def manifests(webhook: Webhook, port: int, host: str) -> list[dict]:
    """What the webhook's project installs, as far as the API server reads it."""
    text = programs.configuration(programs.named(webhook.program)).read_text("utf-8")
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": webhook.service, "namespace": webhook.namespace},
        "spec": {"type": "ExternalName", "externalName": host},
    }
    read = [each for each in yaml.load_all(text, LOADER) if each and each["metadata"]["name"] != webhook.service]
    return [*(aimed(each, port) for each in read), service]


def aimed(document: dict, port: int) -> dict:
    """The document, and where it makes the API server call the webhook, at this port."""
    calls = [each["clientConfig"] for each in document.get("webhooks", [])]
    if document["kind"] == "CustomResourceDefinition" and "webhook" in document["spec"].get("conversion", {}):
        calls.append(document["spec"]["conversion"]["webhook"]["clientConfig"])
    for call in calls:
        call["service"]["port"] = port
    return document


def launch(cluster: Cluster, webhook: Webhook, port: int) -> None:
    cluster.launch(
        webhook.program,
        {"kubeconfig": cluster.kubeconfig, "kube-api-qps": 1000, "kube-api-burst": 1000},
        health=None,
        SYSTEM_NAMESPACE=webhook.namespace,
        POD_NAME=f"{webhook.service}-1",
        WEBHOOK_NAME=webhook.service,
        WEBHOOK_PORT=str(port),
        CONFIG_LOGGING_NAME="config-logging",
        CONFIG_OBSERVABILITY_NAME="config-observability",
        METRICS_DOMAIN="knative.dev/tests",
        METRICS_PROMETHEUS_PORT=str(free_port()),
        PROBE_PORT=str(free_port()),
        SINK_BINDING_SELECTION_MODE="exclusion",
    )


def answers(cluster: Cluster, wrong: dict, why: str) -> bool:
    """Whether a webhook refuses what is wrong by its own word: one that is not there is a refusal too."""
    try:
        cluster.kubectl("create", "--dry-run=server", documents=[wrong])
    except Refused as refusal:
        return why in str(refusal) and "failed calling" not in str(refusal)
    return False
