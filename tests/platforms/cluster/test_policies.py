"""The network policies, read by an engine of others (np-guard's), over the pods that the controllers have made.

Every path that has to be open is a row of the table; every other one has to be closed.
"""

import json
import re
from collections import defaultdict
from itertools import product

import pytest
import yaml

from tests.platforms import programs
from tests.platforms.api.webhooks import apply
from tests.platforms.cluster.controllers import deployment
from tests.system import eventually

# Who there is, by the names of their pods.
WHO = {
    "function": r"food/.+-\d{5}-deployment-.+",
    "dispatcher": r"food/.+-dispatcher-.+",
    "ingress": r"food/food-broker-ingress-.+",
    "rabbitmq": r"food/rabbitmq-server-\d",
    "postgres": r"food/food-db-\d",
    "pooler": r"food/food-db-pooler-.+",
    "dead-letters": r"food/dead-letters-.+",
    "relay": r"food/relay-.+",
    "job": r"food/(install-secrets|migrate).*",
    "gateway": r"kourier-system/.+",
    "knative": r"knative-serving/.+",
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
# The ports of what a function needs outside: names anywhere, and the collector of traces.
NAMES = "TCP 53,5353,UDP 53,5353"
TRACES = "TCP 53,4317-4318,5353,UDP 53,5353"
ALL = "All Connections"
# What comes to ours.
IN = {
    ("gateway", "function"): ALL,
    ("knative", "function"): ALL,
    ("prometheus", "function"): "TCP 8080,9091,9095",
    ("prometheus", "dispatcher"): "TCP 9090",
    ("function", "ingress"): "TCP 8080",
    ("dispatcher", "ingress"): "TCP 8080",
    ("prometheus", "ingress"): "TCP 9090",
    ("dispatcher", "relay"): "TCP 8080",
    ("cron", "relay"): "TCP 8080",
    ("prometheus", "relay"): "TCP 8080",
    ("dispatcher", "dead-letters"): "TCP 8080",
    ("prometheus", "dead-letters"): "TCP 8080",
    ("dispatcher", "rabbitmq"): "TCP 5672",
    ("ingress", "rabbitmq"): "TCP 5672",
    ("dead-letters", "rabbitmq"): "TCP 5672",
    ("rabbitmq", "rabbitmq"): ALL,
    ("rabbitmq-operator", "rabbitmq"): "TCP 15672",
    ("prometheus", "rabbitmq"): "TCP 15692",
    ("function", "pooler"): "TCP 5432",
    ("job", "pooler"): "TCP 5432",
    ("postgres-operator", "pooler"): "TCP 5432",
    ("prometheus", "pooler"): "TCP 9127",
    ("pooler", "postgres"): "TCP 5432,8000",
    ("job", "postgres"): "TCP 5432",
    ("postgres", "postgres"): "TCP 5432,8000",
    ("postgres-operator", "postgres"): "TCP 5432,8000",
    ("prometheus", "postgres"): "TCP 9187",
}
# Where functions may go, beside that. Nobody else of ours is held back: the servers and Knative's programs.
OUT = {
    ("function", "gateway"): ALL,
    ("function", "knative"): ALL,
    ("function", "prometheus"): TRACES,
    **{
        ("function", elsewhere): NAMES
        for elsewhere in ("cron", "dns", "postgres-operator", "rabbitmq-operator", "stranger", "world")
    },
}
OURS = {to for _, to in IN} | {"job"}


@pytest.fixture(scope="module")
def paths(deployed, tmp_path_factory) -> dict[tuple[str, str], set[str]]:
    """What the engine says of each of them and each of ours; one text where all that play the part have the same."""
    cluster = deployed.cluster
    apply(cluster, OTHERS)
    for each in OTHERS:
        name, where = each["metadata"]["name"], each["metadata"]["namespace"]
        eventually(lambda name=name, where=where: ready(cluster, name, where), f"a pod of {name}", 60)
    folder = tmp_path_factory.mktemp(f"policies-{deployed.overlay}")
    documents = [*map(alone, everything(cluster, "pods")), *everything(cluster, "networkpolicies"),
                 *everything(cluster, "namespaces")]  # fmt: skip
    (folder / "everything.yaml").write_text(yaml.safe_dump_all(documents))
    engine = programs.find("netpolicy")
    said = cluster.run(engine, "list", "--dirpath", folder, "--quiet", "--output", "json")
    listed = {(each["src"], each["dst"]): each["conn"] for each in json.loads(said)}
    workloads = {each for pair in listed for each in pair}
    found = defaultdict(set)
    for source, target in product(workloads, workloads):
        if source != target:
            found[who(source), who(target)].add(listed.get((source, target), "nothing"))
    return found


def everything(cluster, kind: str) -> list[dict]:
    """All of a kind, each as a document of its own."""
    return cluster.get(kind, "--all-namespaces")["items"]


def alone(pod: dict) -> dict:
    """The pod without its owner: the engine takes all pods of one for the same, and a replica is not a primary."""
    return pod | {"metadata": {name: pod["metadata"][name] for name in ("name", "namespace", "labels")}}


def ready(cluster, name: str, where: str) -> bool:
    return bool(cluster.get("deployment", name, "--namespace", where).get("status", {}).get("readyReplicas"))


def who(workload: str) -> str:
    """The part that a pod plays, named as the engine does: `food/relay-1[Pod]`; its own name for one in no part."""
    name = workload.partition("[")[0]
    return next((part for part, pattern in WHO.items() if re.fullmatch(pattern, name)), name)


@pytest.mark.parametrize("pair", [*IN, *OUT], ids=" to ".join)
def test_what_has_to_be_open_is(paths, pair):
    if pair in paths:  # one instance has nobody of its kind to talk to
        assert {(IN | OUT)[pair]} == paths[pair]
    else:
        assert pair[0] == pair[1]


def test_everything_else_is_closed(paths):
    wanted = {pair: texts for pair, texts in paths.items() if pair[1] in OURS or pair[0] == "function"}
    assert {} == {pair: texts for pair, texts in wanted.items() if texts != {"nothing"} and pair not in IN | OUT}
    # And everybody was asked about.
    assert set(WHO) <= {part for pair in paths for part in pair}
