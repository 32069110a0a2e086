"""make deploy and make undeploy against the API server; what controllers would say of their objects is said here."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.platforms.api.cluster import Cluster, Refused, namespace
from tools.deploy import KEPT, PARTS, READY
from tools.local.environment import ROOT

MOMENT = "2026-11-23T00:00:00Z"
CONDITIONS = {"Complete": ["SuccessCriteriaMet", "Complete"]}
# A Job that is complete has started and ended.
ENDED = {"startTime": MOMENT, "completionTime": MOMENT, "succeeded": 1}


class Controllers:
    """Says of every object that it is ready, in a thread; but for those that are to fail."""

    def __init__(self, cluster: Cluster, failing: str | None = None):
        self.cluster, self.failing = cluster, failing
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        while not self.stopped.wait(0.2):
            for kind, condition in READY.items():
                self._tend(kind, condition)

    def _tend(self, kind: str, condition: str) -> None:
        group, _, name = kind.partition("/")
        with suppress(Refused):
            for item in self.cluster.get(f"{name}.{group}", "--namespace", "food")["items"]:
                known = {each["type"] for each in item.get("status", {}).get("conditions", ())}
                if not known & {condition, "Failed"}:
                    self._say(f"{name}.{group}/{item['metadata']['name']}", condition)

    def _say(self, what: str, condition: str) -> None:
        fails = self.failing is not None and what.endswith(self.failing)
        types = ["FailureTarget", "Failed"] if fails else CONDITIONS.get(condition, [condition])
        common = {"status": "True", "lastTransitionTime": MOMENT, "reason": "Tests", "message": "-"}
        conditions = [{"type": each, **common}
                for each in types]  # fmt: skip
        more = {} if condition != "Complete" else {"startTime": MOMENT} if fails else ENDED
        patch = json.dumps({"status": {"conditions": conditions, **more}})
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
    return subprocess.run(command, cwd=ROOT, env=cluster.environment, capture_output=True, text=True, timeout=300)


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


@pytest.mark.parametrize("overlay", ["small", "openfaas"])
def test_an_overlay_comes_part_by_part_and_goes_without_its_data(cluster, overlay):
    came = deployed(cluster, overlay, "--registry", "registry.mine.example/food", "--version", "9.9.9")
    conditions = [line.partition(":")[0] for line in came.stdout.splitlines() if " to apply" in line]
    assert [part for part in PARTS if part in conditions] == conditions
    assert came.stdout.endswith("ready\n")
    job = cluster.get("job", "migrate", "--namespace", "food")
    assert "registry.mine.example/food/jobs:9.9.9" == job["spec"]["template"]["spec"]["containers"][0]["image"]

    gone = deploy(cluster, "down", "--overlay", overlay)
    assert 0 == gone.returncode, gone.stderr
    assert {"RabbitmqCluster", "Cluster"} == there(cluster) <= KEPT


def test_a_new_version_runs_the_migration_again(cluster):
    before, after = (
        deployed(cluster, "openfaas", "--version", version) and cluster.get("job", "migrate", "--namespace", "food")
        for version in ("1.0.0", "1.0.1")
    )
    deploy(cluster, "down", "--overlay", "openfaas")

    assert before["metadata"]["uid"] != after["metadata"]["uid"]
    assert after["spec"]["template"]["spec"]["containers"][0]["image"].endswith("/jobs:1.0.1")


def test_what_never_gets_ready_is_named_with_the_clusters_own_words(cluster):
    # The servers are kept, and so is what was said of them.
    done = deploy(cluster, "up", "--overlay", "small", "--seconds", "1")
    deploy(cluster, "down", "--overlay", "small")

    assert 1 == done.returncode
    assert "secrets: not ready within 1 s:\n  Job/install-secrets: no condition Complete yet\n" == done.stderr


def test_a_job_that_gave_up_ends_the_deployment(cluster):
    with controllers(cluster, failing="/migrate"):
        done = deploy(cluster, "up", "--overlay", "small", "--seconds", "60")
    deploy(cluster, "down", "--overlay", "small")

    assert (1, "Job/migrate gave up: see kubectl logs --namespace food job/migrate\n") == (
        done.returncode, done.stderr
    )  # fmt: skip


def test_an_overlay_that_there_is_not_is_told(cluster):
    done = deploy(cluster, "up", "--overlay", "large")

    assert (1, "overlay: expected one of gateway-api, openfaas, production, small; got large\n") == (
        done.returncode, done.stderr
    )  # fmt: skip
