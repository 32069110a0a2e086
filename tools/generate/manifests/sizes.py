"""What each overlay asks for: processors, memory and pods of a first deployment, and connections to PostgreSQL."""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import yaml

from tools.generate.manifests import overlays
from tools.generate.manifests.listed import VARIABLE, owners
from triggers.stack import ROOT

Document = dict[str, Any]
Row = tuple[str, ...]
UNITS = {"m": 1 / 1000, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 10**3, "M": 10**6, "G": 10**9}
# The operator, its exporter, replication, both Jobs, an administrator; PostgreSQL keeps three of them for superusers.
BESIDE = 30
# Of Knative's proxy beside each function (queue-sidecar-cpu-request).
PROXY_CPU = 0.025
# Threads where a stack file says none: the image's own.
THREADS = 8
# The functions of these come by faas-cli and are no part of the overlay.
STACKS = {"openfaas": "stack.yml", "openfaas-ce": "stack-ce.yml"}


class Asked(NamedTuple):
    """So many pods, and what each of them asks for: processors, bytes."""

    pods: int
    cpu: float
    memory: float


class Connections(NamedTuple):
    """How many connections functions may want, the pooler may open, and PostgreSQL has."""

    wanted: int
    taken: int
    of_a_role: int
    opened: int
    there_are: int

    @property
    def fits(self) -> bool:
        """Every function's thread gets in, and what the pooler opens is there."""
        return self.wanted <= self.taken and self.opened + BESIDE <= self.there_are


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number: processors, or bytes."""
    unit = next((unit for unit in sorted(UNITS, key=len, reverse=True) if str(text).endswith(unit)), "")
    return float(str(text).removesuffix(unit)) * UNITS.get(unit, 1)


def of_kind(overlay: str, kind: str, group: str = "") -> list[Document]:
    """The documents of one kind, of one API group where it has several."""
    found = (each for each in overlays.built(overlay) if each["kind"] == kind)
    return [each for each in found if each["apiVersion"].startswith(group)]


def scale(service: Document, name: str, default: int) -> int:
    """One of a Knative Service's bounds."""
    found = service["spec"]["template"]["metadata"]["annotations"]
    return int(found.get(f"autoscaling.knative.dev/{name}", default))


def functions(overlay: str) -> Iterator[Document]:
    """The Knative Services of an overlay."""
    yield from of_kind(overlay, "Service", "serving.knative.dev")


@cache
def stack(file: str) -> dict[str, Document]:
    """The deployments of an OpenFaaS stack file."""
    return yaml.safe_load(VARIABLE.sub(r"\1", (ROOT / file).read_text("utf-8")))["functions"]


# -- what it asks for ------------------------------------------------------------------------------------------


def asked(overlay: str, at_rest: bool) -> list[Asked]:
    """Everything that runs after a first deployment; `at_rest` a minute later, when what may sleep does."""
    return [
        *_of_functions(overlay, at_rest),
        *_of_stack(overlay),
        *_of_broker(overlay),
        *(_pods(each, each["spec"]["replicas"]) for each in of_kind(overlay, "Deployment")),
        *(_of(each["spec"]["resources"], each["spec"]["replicas"]) for each in of_kind(overlay, "RabbitmqCluster")),
        *(_of(each["spec"]["resources"], each["spec"]["instances"]) for each in of_kind(overlay, "Cluster")),
        *(_pods(each, each["spec"]["instances"]) for each in of_kind(overlay, "Pooler")),
    ]


def _of(resources: Document, pods: int, more: float = 0) -> Asked:
    requests = resources["requests"]
    return Asked(pods, quantity(requests["cpu"]) + more, quantity(requests["memory"]))


def _pods(document: Document, pods: int, more: float = 0) -> Asked:
    (container,) = overlays.containers(document)
    return _of(container["resources"], pods, more)


def _of_functions(overlay: str, at_rest: bool) -> Iterator[Asked]:
    for service in functions(overlay):
        least = scale(service, "min-scale", 0)
        first = max(least, scale(service, "initial-scale", 1))
        yield _pods(service, least if at_rest else first, PROXY_CPU)


def _of_stack(overlay: str) -> Iterator[Asked]:
    if overlay in STACKS:
        for entry in stack(STACKS[overlay]).values():
            yield _of(entry, int(entry["labels"]["com.openfaas.scale.min"]))


def _of_broker(overlay: str) -> Iterator[Asked]:
    # A Trigger has two dispatchers, one for its dead letters; a Broker one ingress.
    for kind, pods in (("Trigger", 2), ("Broker", 1)):
        for document in of_kind(overlay, kind):
            words = document["metadata"]["annotations"]
            cpu, memory = (words[f"rabbitmq.eventing.knative.dev/{name}-request"] for name in ("cpu", "memory"))
            yield Asked(pods, quantity(cpu), quantity(memory))


def asked_table() -> list[Row]:
    """A row for each overlay, as the README of k8s/ has it."""
    return [(overlay, *_sum(asked(overlay, False)), *_sum(asked(overlay, True))) for overlay in overlays.names()]


def _sum(all_of_them: list[Asked]) -> Row:
    cpu = sum(each.pods * each.cpu for each in all_of_them)
    memory = sum(each.pods * each.memory for each in all_of_them) / 2**30
    return str(sum(each.pods for each in all_of_them)), f"{cpu:.1f}", f"{memory:.1f} GiB"


# -- connections -----------------------------------------------------------------------------------------------


def connections(overlay: str) -> Connections:
    """The sum for one overlay. A pooler's instance that replaces another is counted beside it."""
    (pooler,), (cluster,) = of_kind(overlay, "Pooler"), of_kind(overlay, "Cluster")
    words = pooler["spec"]["pgbouncer"]["parameters"]
    of_a_role = (pooler["spec"]["instances"] + 1) * int(words["default_pool_size"])
    return Connections(
        wanted=sum(_wanted(overlay)),
        taken=int(words["max_client_conn"]),
        of_a_role=of_a_role,
        opened=len(owners()) * of_a_role,
        there_are=int(cluster["spec"]["postgresql"]["parameters"]["max_connections"]),
    )


def role_limit(overlay: str) -> int:
    """What the migration lets each role have open."""
    (job,) = (each for each in of_kind(overlay, "Job") if each["metadata"]["name"] == "migrate")
    (container,) = overlays.containers(job)
    return next(int(each["value"]) for each in container["env"] if each["name"] == "ROLE_CONNECTIONS")


def _wanted(overlay: str) -> Iterator[int]:
    """At the most: a connection for each thread of each instance."""
    for service in functions(overlay):
        (container,) = overlays.containers(service)
        environment = {each["name"]: each.get("value") for each in container["env"]}
        if "DATABASE_URL_FILE" in environment:
            yield scale(service, "max-scale", 0) * int(environment["THREADS"])
    if overlay in STACKS:
        for entry in stack(STACKS[overlay]).values():
            if "DATABASE_URL_FILE" in entry["environment"]:
                threads = int(entry["environment"].get("THREADS", THREADS))
                yield int(entry["labels"]["com.openfaas.scale.max"]) * threads


def connections_table() -> list[Row]:
    """A row for each overlay, as the README of k8s/ has it."""
    rows = ((overlay, connections(overlay)) for overlay in overlays.names())
    return [
        (overlay, *map(str, (one.wanted, one.taken, one.of_a_role, one.opened, BESIDE, one.there_are)))
        for overlay, one in rows
    ]
