"""make deploy and make undeploy against the API server; what controllers would say of their objects is said here."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.platforms.api.cluster import Cluster, Refused, namespace
from tools.deploy import KEPT, OF_KIND, PARTS, READY
from tools.deploy import group as group_of
from tools.local.environment import ROOT

MOMENT = "2026-11-23T00:00:00Z"
CONDITIONS = {"Complete": ["SuccessCriteriaMet", "Complete"]}
# A Job that is complete has started and ended.
ENDED = {"startTime": MOMENT, "completionTime": MOMENT, "succeeded": 1}


def more_than_conditions(item: dict) -> dict:
    """What else the controllers say of a kind that is ready."""
    spec = item["spec"]
    match item["kind"]:
        case "Deployment":
            names = ("replicas", "updatedReplicas", "availableReplicas", "readyReplicas")
            return {"observedGeneration": item["metadata"]["generation"]} | dict.fromkeys(names, spec["replicas"])
        case "Cluster":
            return {"readyInstances": spec["instances"]}
        case "Pooler":
            return {"instances": spec["instances"]}
        case "HTTPRoute":
            conditions = [condition(each) for each in ("Accepted", "ResolvedRefs")]
            by = {"parentRef": spec["parentRefs"][0], "controllerName": "tests/gateway"}
            return {"parents": [{**by, "conditions": conditions}]}
    return {}


def condition(kind: str) -> dict:
    return {"type": kind, "status": "True", "lastTransitionTime": MOMENT, "reason": "Tests", "message": "-"}


class Controllers:
    """Says of every object that it is ready, in a thread; but for those that are to fail."""

    def __init__(self, cluster: Cluster, failing: str | None = None):
        self.cluster, self.failing = cluster, failing
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        names = ",".join(f"{name}.{group}" for group, _, name in (kind.partition("/") for kind in READY | OF_KIND))
        while not self.stopped.wait(0.2):
            with suppress(Refused):
                for item in self.cluster.get(names, "--namespace", "food")["items"]:
                    self._tend(item)

    def _tend(self, item: dict) -> None:
        kind = f"{group_of(item)}/{item['kind']}"
        conditions = item.get("status", {}).get("conditions", ())
        # A new Gateway has conditions that nobody has judged yet.
        wanted, known = READY.get(kind), {each["type"] for each in conditions if each["status"] == "True"}
        # Of a change of its own the server says nothing: what was said of an old one is said again.
        seen = item.get("status", {}).get("observedGeneration", 0) >= item["metadata"]["generation"]
        if "Failed" not in known and (wanted not in known or (kind in OF_KIND and not seen)):
            self._say(item, f"{item['kind']}.{group_of(item)}/{item['metadata']['name']}", wanted)

    def _say(self, item: dict, what: str, wanted: str | None) -> None:
        fails = self.failing is not None and self.failing in what.lower()
        types = ["FailureTarget", "Failed"] if fails else CONDITIONS.get(wanted, [wanted] if wanted else [])
        more = {} if wanted != "Complete" else {"startTime": MOMENT} if fails else ENDED
        status = {"conditions": [condition(each) for each in types]} if types else {}
        patch = json.dumps({"status": {**status, **more, **more_than_conditions(item)}})
        where = ("--namespace", "food", "--subresource=status", "--type=merge")
        self.cluster.kubectl("patch", what, *where, "--patch", patch)


@contextmanager
def controllers(cluster: Cluster, failing: str | None = None) -> Iterator[None]:
    working = Controllers(cluster, failing)
    working.thread.start()
    try:
        yield
    finally:
        working.stopped.set()
        working.thread.join()


def deploy(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tools.deploy", *arguments]
    return subprocess.run(command, cwd=ROOT, env=cluster.environment, capture_output=True, text=True, timeout=600)


def deployed(cluster: Cluster, overlay: str, *arguments: str) -> subprocess.CompletedProcess:
    with controllers(cluster):
        done = deploy(cluster, "up", "--overlay", overlay, *arguments)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done


def there(cluster: Cluster) -> set[str]:
    kinds = ",".join(f"{kind.partition('/')[2]}.{kind.partition('/')[0]}" for kind in READY)
    return {each["kind"] for each in cluster.get(kinds, "--namespace", "food")["items"]}


@pytest.fixture(scope="module", autouse=True)
def food(cluster: Cluster) -> None:
    """The namespace, with the account that pods need: nobody makes one here."""
    cluster.add_namespaces(namespace("food"))


def migration(cluster: Cluster) -> dict:
    """The Job of the version that is deployed: there is no other."""
    jobs = cluster.get("jobs", "--namespace", "food", "--selector", "app.kubernetes.io/component=migration")
    (job,) = jobs["items"]
    return job


def image_of(job: dict) -> str:
    return job["spec"]["template"]["spec"]["containers"][0]["image"]


@pytest.mark.parametrize("overlay", ["small", "openfaas"])
def test_an_overlay_comes_part_by_part_and_goes_without_its_data(cluster, overlay):
    came = deployed(cluster, overlay, "--registry", "registry.mine.example/food", "--version", "9.9.9")
    conditions = [line.partition(":")[0] for line in came.stdout.splitlines() if " to apply" in line]
    assert [part for part in PARTS if part in conditions] == conditions
    assert came.stdout.endswith("ready\n")
    assert "registry.mine.example/food/jobs:9.9.9" == image_of(migration(cluster))

    gone = deploy(cluster, "down", "--overlay", overlay)
    assert 0 == gone.returncode, gone.stderr
    assert {"RabbitmqCluster", "Cluster"} == there(cluster) <= KEPT


def test_a_new_version_runs_the_migration_again_and_leaves_no_old_one(cluster):
    before, after = (
        deployed(cluster, "openfaas", "--version", version) and migration(cluster) for version in ("1.0.0", "1.0.1")
    )
    deploy(cluster, "down", "--overlay", "openfaas")

    assert before["metadata"]["name"] != after["metadata"]["name"]
    assert image_of(after).endswith("/jobs:1.0.1")


def test_what_a_version_no_longer_has_is_taken_away_and_what_others_made_is_not(cluster):
    labels = {"app.kubernetes.io/part-of": "food"}
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    old, of_theirs, theirs = (
        kind | {"metadata": {"name": name, "namespace": "food", "labels": marked, **more}}
        for name, marked, more in (
            ("of-an-old-version", labels, {}),
            ("made-by-a-controller", labels, {"ownerReferences": [owner(cluster)]}),
            ("of-somebody-else", {}, {}),
        )
    )
    about = {"name": "a-secret", "namespace": "food", "labels": labels}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": about}
    cluster.kubectl("apply", documents=[old, of_theirs, theirs, secret])

    came = deployed(cluster, "openfaas")
    left = {each["metadata"]["name"] for each in cluster.get("configmaps,secrets", "--namespace", "food")["items"]}
    deploy(cluster, "down", "--overlay", "openfaas")

    assert "left over: ConfigMap/of-an-old-version\n" in came.stdout
    of_others = left - {"kube-root-ca.crt", "food-orders-dashboard"}
    assert {"made-by-a-controller", "of-somebody-else", "a-secret"} == of_others


def owner(cluster: Cluster) -> dict:
    namespace = cluster.get("namespace", "food")
    return {"apiVersion": "v1", "kind": "Namespace", "name": "food", "uid": namespace["metadata"]["uid"]}


def test_what_never_gets_ready_is_named_with_the_clusters_own_words(cluster):
    done = deploy(cluster, "up", "--overlay", "small", "--seconds", "1")
    deploy(cluster, "down", "--overlay", "small")

    assert 1 == done.returncode
    assert done.stderr.startswith("servers: not ready within 1 s:\n")
    assert "  Pooler/food-db-pooler: 0 of 1 instances\n" in done.stderr


def test_a_job_that_gave_up_ends_the_deployment(cluster):
    with controllers(cluster, failing="/migrate-"):
        done = deploy(cluster, "up", "--overlay", "small", "--seconds", "60")
    deploy(cluster, "down", "--overlay", "small")

    assert 1 == done.returncode
    gave_up = r"Job/(migrate-[0-9a-f]{8}) gave up: see kubectl logs --namespace food job/\1\n"
    assert re.fullmatch(gave_up, done.stderr)


def test_an_overlay_that_there_is_not_is_reported(cluster):
    done = deploy(cluster, "up", "--overlay", "large")

    assert (1, "overlay: expected one of gateway-api, openfaas, openfaas-ce, production, small; got large\n") == (
        done.returncode, done.stderr
    )  # fmt: skip
