"""Put the system on a cluster, part by part, each waited for; or take it away again.

`up --overlay production --registry registry.example.org/food --version 0.1.0` puts it there.

`down --overlay production` takes it away but keeps databases, queues and secrets; `--everything` does not.

It calls `kubectl`, with the cluster and the rights that kubectl has.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
import yaml

from tools.generate.manifests.listed import image
from triggers.stack import ROOT

OVERLAYS = ROOT / "k8s" / "overlays"
Document = dict[str, Any]

# What is applied together, in this order; each part is ready before the next begins.
PARTS: dict[str, set[str]] = {
    "namespace": {"Namespace"},
    "servers": {"RabbitmqCluster", "Cluster", "PodDisruptionBudget", "NetworkPolicy"},
    "secrets": {"ServiceAccount", "Role", "RoleBinding", "Job/install-secrets"},
    "tables": {"Job/migrate"},
    "broker": {"RabbitmqBrokerConfig", "Broker", "Deployment/broker-ingress", "Service/broker-ingress"},
    "connector": {"Deployment/connector"},
    "functions": {"Service", "Deployment"},
    "events and schedules": {"Trigger", "PingSource"},
    "public host": {"VirtualService", "Gateway", "ReferenceGrant", "HTTPRoute", "ClusterDomainClaim"},
    "name of the public host": {"DomainMapping"},
    "monitoring": {"PodMonitor", "ServiceMonitor", "PrometheusRule", "ConfigMap"},
}

# The condition that says that one is ready; of the other kinds it is enough that they are there.
READY = {
    "rabbitmq.com/RabbitmqCluster": "AllReplicasReady",
    "postgresql.cnpg.io/Cluster": "Ready",
    "batch/Job": "Complete",
    "apps/Deployment": "Available",
    "eventing.knative.dev/Broker": "Ready",
    "eventing.knative.dev/Trigger": "Ready",
    "serving.knative.dev/Service": "Ready",
    "serving.knative.dev/DomainMapping": "Ready",
    "sources.knative.dev/PingSource": "Ready",
}

# Who brings the kinds that Kubernetes itself does not have.
BROUGHT_BY = {
    "rabbitmq.com": "the RabbitMQ cluster operator",
    "postgresql.cnpg.io": "CloudNativePG",
    "eventing.knative.dev": "Knative Eventing with its RabbitMQ broker",
    "sources.knative.dev": "Knative Eventing",
    "serving.knative.dev": "Knative Serving",
    "networking.internal.knative.dev": "Knative Serving",
    "networking.istio.io": "Istio",
    "gateway.networking.k8s.io": "the Gateway API",
    "monitoring.coreos.com": "the Prometheus operator",
}
# What holds data: `down` leaves it where it is.
KEPT = {"Namespace", "RabbitmqCluster", "Cluster", "PodDisruptionBudget", "NetworkPolicy"}


class DeployFailed(Exception):
    """The cluster is not as it should be; the text says what is missing and what to do."""


def kubectl(*arguments: str, documents: Sequence[Document] = ()) -> str:
    """Run kubectl, with documents on its standard input. Raises DeployFailed with what it said."""
    given = yaml.safe_dump_all(documents) if documents else None
    try:
        done = subprocess.run(["kubectl", *arguments], input=given, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise DeployFailed("expected kubectl on the PATH, found none: install it") from None
    if done.returncode:
        raise DeployFailed(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def rendered(overlay: str, registry: str | None = None, version: str | None = None) -> list[Document]:
    """The documents of an overlay, with images from `registry` in `version`."""
    known = sorted(path.name for path in OVERLAYS.iterdir())
    if overlay not in known:
        raise DeployFailed(f"overlay: expected one of {', '.join(known)}; got {overlay}")
    text = kubectl("kustomize", str(OVERLAYS / overlay))
    usual, _, usual_version = image("jobs").rpartition("/jobs:")
    text = text.replace(f"{usual}/", f"{registry or usual}/")
    if version:
        text = text.replace(f":{usual_version}\n", f":{version}\n")
    return [each for each in yaml.safe_load_all(text) if each]


def group(document: Document) -> str:
    """The API group, empty for Kubernetes' first kinds."""
    return document["apiVersion"].rpartition("/")[0].partition("/")[0]


def name(document: Document) -> str:
    """Kind and name, as kubectl tells them."""
    return f"{document['kind']}/{document['metadata']['name']}"


def parts(documents: Iterable[Document]) -> dict[str, list[Document]]:
    """The documents by parts, in the order of the parts. Raises DeployFailed for a kind that has no part."""
    sorted_out: dict[str, list[Document]] = {part: [] for part in PARTS}
    for document in documents:
        sorted_out[_part_of(document)].append(document)
    return {part: found for part, found in sorted_out.items() if found}


def _part_of(document: Document) -> str:
    # One that is named goes before the rest of its kind.
    for wanted in (name(document), document["kind"]):
        for part, kinds in PARTS.items():
            if wanted in kinds:
                return part
    raise DeployFailed(f"{name(document)}: expected one of the kinds that have a part in tools/deploy.py")


def missing_kinds(documents: Iterable[Document]) -> list[str]:
    """Groups that the cluster does not serve, each with who brings it."""
    served = set(kubectl("api-versions").split())
    lacking = {document["apiVersion"] for document in documents} - served
    who = {version: BROUGHT_BY.get(version.partition("/")[0], "what brings it") for version in lacking}
    return [f"{version}: install {brings}" for version, brings in sorted(who.items())]


@dataclass
class Progress:
    """What of one part is ready; tells each change."""

    part: str
    documents: list[Document]
    shown: int = -1

    def waiting(self) -> dict[str, str]:
        """What is not ready yet, with what the cluster says about it. Raises DeployFailed when a Job gave up."""
        listed = json.loads(kubectl("get", "-f", "-", "-o", "json", documents=self.documents))
        items = listed.get("items", [listed])
        late = {name(item): _lacks(item) for item in items if _lacks(item) is not None}
        ready = len(items) - len(late)
        if ready != self.shown:
            self.shown = ready
            print(f"  {self.part}: {ready} of {len(items)} ready", flush=True)
        return late


def _lacks(item: Document) -> str | None:
    wanted = READY.get(f"{group(item)}/{item['kind']}")
    conditions = {each["type"]: each for each in item.get("status", {}).get("conditions", ())}
    if item["kind"] == "Job" and conditions.get("Failed", {}).get("status") == "True":
        shown = f"kubectl logs --namespace {item['metadata']['namespace']} {name(item).lower()}"
        raise DeployFailed(f"{name(item)} gave up: see {shown}")
    if wanted is None or conditions.get(wanted, {}).get("status") == "True":
        return None
    return conditions.get(wanted, {}).get("message") or f"no condition {wanted} yet"


def up(documents: list[Document], seconds: float, pause: Callable[[float], None] = time.sleep) -> None:
    """Apply part by part, and wait until each is ready. Raises DeployFailed."""
    if lacking := missing_kinds(documents):
        raise DeployFailed("this cluster lacks:\n  " + "\n  ".join(lacking))
    for part, found in parts(documents).items():
        print(f"{part}: {len(found)} to apply", flush=True)
        # A Job cannot be changed; both of ours may run as often as one likes.
        if jobs := [each for each in found if each["kind"] == "Job"]:
            kubectl("delete", "--ignore-not-found", "--wait", "-f", "-", documents=jobs)
        kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", documents=found)
        _wait(Progress(part, found), seconds, pause)
    print("ready", flush=True)


def _wait(progress: Progress, seconds: float, pause: Callable[[float], None]) -> None:
    deadline = time.monotonic() + seconds
    while late := progress.waiting():
        if time.monotonic() > deadline:
            reasons = "\n  ".join(f"{what}: {why}" for what, why in sorted(late.items()))
            raise DeployFailed(f"{progress.part}: not ready within {seconds:.0f} s:\n  {reasons}")
        pause(1)


def down(documents: list[Document], everything: bool) -> None:
    """Delete part by part, the last one first; what holds data only when `everything` is to go."""
    for part, found in reversed(parts(documents).items()):
        if gone := [each for each in found if everything or each["kind"] not in KEPT]:
            print(f"{part}: {len(gone)} to delete", flush=True)
            kubectl("delete", "--ignore-not-found", "--wait", "-f", "-", documents=gone)
    print("gone" if everything else "gone; databases, queues and secrets are kept (--everything deletes them)")


@click.group(help=__doc__)
def main() -> None:
    """See the module's text."""


OVERLAY = click.option("--overlay", default="production", show_default=True, help="a folder of k8s/overlays")


@main.command("up")
@OVERLAY
@click.option("--registry", help="where the images are, such as registry.example.org/food")
@click.option("--version", help="the images' tag")
@click.option("--seconds", default=600.0, show_default=True, help="longest wait for each part")
def up_command(overlay: str, registry: str | None, version: str | None, seconds: float) -> None:
    """Put the system on the cluster."""
    with _one_line():
        up(rendered(overlay, registry, version), seconds)


@main.command("down")
@OVERLAY
@click.option("--everything", is_flag=True, help="databases, queues and secrets too")
def down_command(overlay: str, everything: bool) -> None:
    """Take it away again."""
    with _one_line():
        down(rendered(overlay), everything)


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except DeployFailed as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
