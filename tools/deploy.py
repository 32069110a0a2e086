"""Put the system on a cluster, part by part, each waited for; or take it away again.

`up --overlay production --registry registry.example.org/food --version 0.1.0` puts it there.

`down --overlay production` takes it away but keeps databases, queues and secrets; `--everything` does not.

`up` ends with taking away what an earlier version had and this one has not. It calls `kubectl`, with the cluster and
the rights that kubectl has.
"""

import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
import yaml

from tools import render
from tools.generate.manifests import overlays

Document = dict[str, Any]

# What is applied together, in this order; each part is ready before the next begins.
PARTS: dict[str, set[str]] = {
    "namespace": {"Namespace"},
    "servers": {
        *("ServiceAccount/food", "NetworkPolicy", "PodDisruptionBudget"),
        *("RabbitmqCluster", "Cluster", "Pooler", "ObjectStore", "ScheduledBackup"),
    },
    "secrets": {"ServiceAccount", "Role", "RoleBinding", "Job/install-secrets"},
    "tables": {"Job/migrate"},
    "broker": {"RabbitmqBrokerConfig", "Broker", "Deployment/broker-ingress", "Service/broker-ingress"},
    "connector": {"Deployment/connector"},
    "functions": {"Service", "Deployment"},
    "events and schedules": {"Trigger", "PingSource"},
    "public host": {
        *("Certificate", "ClusterDomainClaim", "EnvoyFilter"),
        *("Gateway", "HTTPRoute", "ReferenceGrant", "VirtualService"),
    },
    "name of the public host": {"DomainMapping"},
    "monitoring": {"PodMonitor", "ServiceMonitor", "PrometheusRule", "ConfigMap"},
}

# The condition that says that one is ready; of the other kinds it is enough that they are there.
READY = {
    "rabbitmq.com/RabbitmqCluster": "AllReplicasReady",
    "postgresql.cnpg.io/Cluster": "Ready",
    "batch/Job": "Complete",
    "apps/Deployment": "Available",
    "cert-manager.io/Certificate": "Ready",
    "gateway.networking.k8s.io/Gateway": "Programmed",
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
    "cert-manager.io": "cert-manager",
    "barmancloud.cnpg.io": "CloudNativePG's plugin for Barman Cloud",
    "monitoring.coreos.com": "the Prometheus operator",
}
# Kinds that we have none of and nothing works without: who makes exchanges and queues of Brokers and Triggers.
NEEDED_BESIDE = {"Broker": ("queues.rabbitmq.com", "the RabbitMQ messaging topology operator")}
# What holds data, and what keeps it safe: `down` leaves it where it is.
KEPT = {
    *("Namespace", "RabbitmqCluster", "Cluster", "ObjectStore", "ScheduledBackup"),
    *("PodDisruptionBudget", "NetworkPolicy"),
}
# What `up` never takes away, though the version that it deploys has none: data.
NEVER_PRUNED = {"Namespace", "RabbitmqCluster", "Cluster", "ObjectStore", "ScheduledBackup"}
LABEL = "app.kubernetes.io/part-of=food"


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


def rendered(overlay: str, **more: str | None) -> list[Document]:
    """The documents of an overlay; `registry`, `version`, `host` and `issuer` may be others than the tree's."""
    try:
        return [each for each in yaml.safe_load_all(render.rendered(overlay, **more)) if each]
    except render.RenderFailed as problem:
        raise DeployFailed(str(problem)) from None


def group(document: Document) -> str:
    """The API group, empty for Kubernetes' first kinds."""
    return document["apiVersion"].rpartition("/")[0].partition("/")[0]


def name(document: Document) -> str:
    """Kind and name, as kubectl prints them."""
    return f"{document['kind']}/{document['metadata']['name']}"


def parts(documents: Iterable[Document]) -> dict[str, list[Document]]:
    """The documents by parts, in the order of the parts. Raises DeployFailed for a kind that has no part."""
    sorted_out: dict[str, list[Document]] = {part: [] for part in PARTS}
    for document in documents:
        sorted_out[_part_of(document)].append(document)
    return {part: found for part, found in sorted_out.items() if found}


def _part_of(document: Document) -> str:
    # One that is named goes before the rest of its kind; a Job's name ends with the sum of its content.
    for wanted in (re.sub(r"-[0-9a-f]{8}$", "", name(document)), document["kind"]):
        for part, kinds in PARTS.items():
            if wanted in kinds:
                return part
    raise DeployFailed(f"{name(document)}: expected one of the kinds that have a part in tools/deploy.py")


def missing_kinds(documents: Iterable[Document]) -> list[str]:
    """Groups that the cluster does not serve, each with who brings it."""
    served = set(kubectl("api-versions").split())
    lacking = {document["apiVersion"] for document in documents} - served
    who = {version: BROUGHT_BY.get(version.partition("/")[0], "what brings it") for version in lacking}
    resources = set(kubectl("api-resources", "--no-headers", "-o", "name").split())
    kinds = {document["kind"] for document in documents}
    beside = {resource: brings for kind, (resource, brings) in NEEDED_BESIDE.items()
              if kind in kinds and resource not in resources}  # fmt: skip
    return [f"{version}: install {brings}" for version, brings in sorted({**who, **beside}.items())]


@dataclass
class Progress:
    """What of one part is ready; prints each change."""

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
    """What is missing for it to be ready; None when nothing is. Raises DeployFailed when a Job gave up."""
    status = item.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions", ())}
    if item["kind"] == "Job" and conditions.get("Failed", {}).get("status") == "True":
        shown = f"kubectl logs --namespace {item['metadata']['namespace']} {name(item).lower()}"
        raise DeployFailed(f"{name(item)} gave up: see {shown}")
    if status.get("observedGeneration", math.inf) < item["metadata"].get("generation", 0):
        return "its controller has not seen the change yet"
    wanted = READY.get(f"{group(item)}/{item['kind']}")
    if wanted is not None and not _is_true(conditions.get(wanted), item):
        return conditions.get(wanted, {}).get("message") or f"no condition {wanted} yet"
    return OF_KIND.get(f"{group(item)}/{item['kind']}", lambda _: None)(item)


def _is_true(condition: Document | None, item: Document) -> bool:
    """Whether it holds, and for the object as it is now."""
    seen = (condition or {}).get("observedGeneration", math.inf)
    return condition is not None and condition["status"] == "True" and seen >= item["metadata"].get("generation", 0)


def _in_rollout(item: Document) -> str | None:
    """A Deployment is Available while its old pods are."""
    wanted, status = item["spec"].get("replicas", 1), item.get("status", {})
    has = [status.get(f"{which}eplicas", 0) for which in ("updatedR", "availableR", "r")]
    return None if has == [wanted] * 3 else f"{has[0]} of {wanted} pods are new, {has[2]} are there"


def _not_accepted(item: Document) -> str | None:
    """A route is fit when every Gateway that it names has taken it, with all that it leads to."""
    parents = item.get("status", {}).get("parents", ())
    for parent in parents:
        conditions = {each["type"]: each for each in parent.get("conditions", ())}
        for wanted in ("Accepted", "ResolvedRefs"):
            if not _is_true(conditions.get(wanted), item):
                return conditions.get(wanted, {}).get("message") or f"no condition {wanted} yet"
    return None if len(parents) >= len(item["spec"]["parentRefs"]) else "no Gateway has taken it yet"


def _too_few(item: Document, has: str) -> str | None:
    wanted, there = item["spec"]["instances"], item.get("status", {}).get(has, 0)
    return None if there >= wanted else f"{there} of {wanted} instances"


OF_KIND: dict[str, Callable[[Document], str | None]] = {
    "apps/Deployment": _in_rollout,
    "gateway.networking.k8s.io/HTTPRoute": _not_accepted,
    "postgresql.cnpg.io/Cluster": lambda item: _too_few(item, "readyInstances"),
    "postgresql.cnpg.io/Pooler": lambda item: _too_few(item, "instances"),
}


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
    prune(documents)
    print("ready", flush=True)


def prune(documents: Sequence[Document]) -> None:
    """Delete what carries our label, is of a kind that we ever had, and is not among `documents` any more."""
    wanted = {(group(each), name(each), each["metadata"].get("namespace")) for each in documents}
    found = json.loads(kubectl("get", _kinds(), "--all-namespaces", f"--selector={LABEL}", "-o", "json"))["items"]
    # What a controller has made out of ours may have our labels too, and goes with what it was made for.
    gone = [each for each in found
            if (group(each), name(each), each["metadata"].get("namespace")) not in wanted
            and not each["metadata"].get("ownerReferences")]  # fmt: skip
    if gone:
        print(f"left over: {', '.join(map(name, gone))}", flush=True)
        kubectl("delete", "--ignore-not-found", "--wait", "-f", "-", documents=gone)


def _kinds() -> str:
    """Every kind of every overlay that the cluster serves, as kubectl reads them."""
    served = set(kubectl("api-versions").split())
    everything = [each for overlay in overlays.names() for each in overlays.built(overlay)]
    ours = {(each["apiVersion"], each["kind"]) for each in everything}
    kinds = (
        (kind, *reversed(version.rpartition("/")[::2]))
        for version, kind in ours
        if version in served and kind not in NEVER_PRUNED
    )
    return ",".join(sorted(f"{kind}.{version}.{group}" for kind, version, group in kinds))


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
    # Another version's Jobs have other names, and this tree may know less than what was deployed.
    prune([each for each in documents if not everything and each["kind"] in KEPT])
    print("gone" if everything else "gone; databases, queues and secrets are kept (--everything deletes them)")


@click.group(help=__doc__)
def main() -> None:
    """See the module's text."""


HOST = click.option("--host", help="the public host's name (arch.homework)")
OVERLAY = click.option("--overlay", default="production", show_default=True, help="a folder of k8s/overlays")


@main.command("up")
@OVERLAY
@click.option("--registry", help="where the images are, such as registry.example.org/food")
@click.option("--version", help="the images' tag")
@HOST
@click.option("--issuer", help="cert-manager's ClusterIssuer (food)")
@click.option("--release", help="the label by which Prometheus finds its monitors (kube-prometheus-stack)")
@click.option("--seconds", default=600.0, show_default=True, help="longest wait for each part")
def up_command(overlay: str, seconds: float, **more: str | None) -> None:
    """Put the system on the cluster."""
    with _one_line():
        up(rendered(overlay, **more), seconds)


@main.command("down")
@OVERLAY
@HOST
@click.option("--everything", is_flag=True, help="databases, queues and secrets too")
def down_command(overlay: str, host: str | None, everything: bool) -> None:
    """Take it away again."""
    with _one_line():
        down(rendered(overlay, host=host), everything)


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except DeployFailed as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
