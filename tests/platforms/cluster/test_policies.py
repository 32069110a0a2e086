"""The network policies, read by an engine of others (np-guard's), over the pods that the controllers have made.

Every path that has to be open is a row of the table; every other one has to be closed.
"""

import json
import re
from collections import defaultdict

import pytest

from tests.platforms import programs
from tests.platforms.api.webhooks import apply
from tests.platforms.cluster.controllers import deployment
from tests.system import eventually

# Who there is; names of workloads as the engine writes them, without what it says about their kind.
WHO = {
    "function": r"food/.+-\d{5}-deployment-\w+",
    "dispatcher": r"food/.+-dispatcher-\w+",
    "ingress": r"food/food-broker-ingress-\w+",
    "rabbitmq": r"food/rabbitmq-server(-\d)?",
    "postgres": r"food/food-db(-\d)?",
    "pooler": r"food/food-db-pooler-\w+",
    "job": r"food/(install-secrets|migrate).*",
    "gateway": r"kourier-system/.+",
    "activator": r"knative-serving/activator.+",
    "cron": r"knative-eventing/pingsource-mt-adapter.+",
    "postgres-operator": r"cnpg-system/.+",
    "rabbitmq-operator": r"rabbitmq-system/.+",
    "prometheus": r"monitoring/.+",
    "dns": r"kube-system/.+",
    "stranger": r"default/.+",
    "world": r"0\.0\.0\.0-255\.255\.255\.255",
}
# One pod each of those that are no part of what is installed here.
OTHERS = [deployment(name, where, {"app": name}) for name, where in (
    ("operators", "rabbitmq-system"), ("prometheus", "monitoring"), ("dns", "kube-system"), ("stranger", "default"),
)]  # fmt: skip
OURS = ("function", "dispatcher", "ingress", "rabbitmq", "postgres", "pooler", "job")
PORTS = (53, 4317, 4369, 5432, 5672, 8000, 8012, 8080, 8443, 9090, 9091, 9095, 9127, 9187, 15672, 15692, 25672)
EVERY = "all"

TABLE = """
"""


def ports(connection: str) -> set[object]:
    """The ports of TCP in the engine's words: `TCP 5432,8000`, `All Connections`, `TCP 1-52,UDP 1-65535`."""
    if connection == "All Connections":
        return {EVERY}
    (tcp,) = re.findall(r"TCP ([\d,-]+)", connection) or [""]
    ranges = [tuple(map(int, part.split("-"))) for part in tcp.strip(",").split(",") if part]
    return {port for port in PORTS if any(first[0] <= port <= first[-1] for first in ranges)}


@pytest.fixture(scope="module")
def paths(deployed) -> dict[tuple[str, str], set]:
    """The open ports from each of them to each; all that play a part have the same."""
    cluster = deployed.cluster
    apply(cluster, OTHERS)
    for each in OTHERS:
        name, where = each["metadata"]["name"], each["metadata"]["namespace"]
        eventually(lambda name=name, where=where: ready(cluster, name, where), f"a pod of {name}", 60)
    engine = programs.find("netpolicy")
    said = cluster.run(engine, "list", "--kubeconfig", cluster.kubeconfig, "--quiet", "--output", "json")
    listed = json.loads(said)
    found = defaultdict(list)
    for each in listed:
        found[who(each["src"]), who(each["dst"])].append(ports(each["conn"]))
    return {pair: set.union(*each) for pair, each in found.items() if set(pair) & set(OURS)}


def ready(cluster, name: str, where: str) -> bool:
    return bool(cluster.get("deployment", name, "--namespace", where).get("status", {}).get("readyReplicas"))


def who(workload: str) -> str:
    name = workload.partition("[")[0]
    return next((part for part, pattern in WHO.items() if re.fullmatch(pattern, name)), name)


def test_show(paths):
    for pair in sorted(paths):
        print(*pair, sorted(map(str, paths[pair])))
    raise AssertionError
