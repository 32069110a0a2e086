"""kn reads what the manifests made, and what faas-cli makes of stack.yml is taken by the same server."""

import json
from pathlib import Path

import pytest
import yaml

from tests.platforms.api import manifests
from tests.platforms.api.cluster import Refused
from tools.local.environment import ROOT
from triggers.stack import load


def names(documents: list[dict], kind: str) -> list[str]:
    """Kubernetes has Services of its own, which kn does not know."""
    known = [each for each in documents if each["apiVersion"] != "v1"]
    return sorted(each["metadata"]["name"] for each in known if each["kind"] == kind)


def kn(cluster, *words) -> str:
    return cluster.run("kn", *words, "--namespace", "food")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("service", "list"), "Service"),
        (("broker", "list"), "Broker"),
        (("trigger", "list"), "Trigger"),
        (("source", "ping", "list"), "PingSource"),
        (("domain", "list"), "DomainMapping"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, tuple) else part,
)
def test_kn_lists_what_the_manifests_made(applied, words, kind):
    listed = json.loads(kn(applied.cluster, *words, "--output", "json"))["items"] or []

    assert names(applied.documents, kind) == names(listed, kind)


@pytest.mark.parametrize("applied", manifests.overlays()[:1], ids=lambda folder: folder.name, indirect=True)
def test_kn_describes_a_trigger_with_its_broker_its_filter_and_its_function(applied):
    trigger = next(each for each in applied.documents if each["kind"] == "Trigger")

    output = kn(applied.cluster, "trigger", "describe", trigger["metadata"]["name"])

    spec = trigger["spec"]
    for expected in (spec["broker"], spec["filter"]["attributes"]["type"], spec["subscriber"]["ref"]["name"]):
        assert expected in output


def test_kn_applies_a_service_of_ours_and_changes_nothing_the_second_time(cluster, tmp_path):
    file = tmp_path / "service.yaml"
    file.write_text(yaml.safe_dump(manifests.elsewhere(manifests.of_kind("Service"), "by-kn")))
    apply = ("kn", "service", "apply", "--filename", file, "--no-wait", "--namespace", "default")

    first, second = (cluster.run(*apply) and cluster.get("ksvc", "by-kn")["spec"] for _ in range(2))
    cluster.run("kn", "service", "delete", "by-kn", "--namespace", "default")

    assert first == second


@pytest.mark.parametrize("applied", [manifests.ROOT / "k8s" / "overlays" / "small"], ids=["small"], indirect=True)
def test_kn_applies_every_service_that_is_shipped_and_changes_nothing(applied, tmp_path):
    services = [each for each in applied.documents if each["kind"] == "Service"]
    shipped = [each for each in services if each["apiVersion"].startswith("serving.")]
    for service in shipped:
        name, file = service["metadata"]["name"], tmp_path / "service.yaml"
        before = applied.cluster.get("ksvc", name, "--namespace", "food")
        file.write_text(yaml.safe_dump(service))
        applied.cluster.run("kn", "service", "apply", "--filename", file, "--no-wait", "--namespace", "food")
        after = applied.cluster.get("ksvc", name, "--namespace", "food")
        assert (before["spec"], before["metadata"]["generation"]) == (after["spec"], after["metadata"]["generation"])
    # kn keeps what it has applied in the same annotation as kubectl.
    applied.cluster.kubectl("apply", "--kustomize", applied.folder)
    assert shipped


def test_what_faas_cli_generates_for_knative_is_taken_for_every_function(cluster):
    made = cluster.run("faas-cli", "generate", "--yaml", ROOT / "stack.yml", "--api", "serving.knative.dev/v1")
    documents = [manifests.elsewhere(each, each["metadata"]["name"]) for each in yaml.safe_load_all(made) if each]

    taken = cluster.kubectl("create", "--dry-run=server", "--validate=strict", documents=documents)

    assert len(load()) == taken.count(" created (server dry run)")


@pytest.fixture(scope="module")
def functions_of_openfaas(cluster) -> list[dict]:
    """What faas-cli makes for OpenFaaS' operator, in a cluster that knows the kind."""
    cluster.kubectl("apply", "--server-side", "--filename", Path(__file__).with_name("function_kind.yaml"))
    cluster.kubectl("wait", "--for=condition=Established", "crd/functions.openfaas.com", "--timeout=60s")
    made = cluster.run("faas-cli", "generate", "--yaml", ROOT / "stack.yml", "--namespace", "default")
    return [each for each in yaml.safe_load_all(made) if each]


def test_what_faas_cli_generates_for_openfaas_is_taken_for_every_function(cluster, functions_of_openfaas):
    taken = cluster.kubectl("create", "--dry-run=server", "--validate=strict", documents=functions_of_openfaas)

    assert len(load()) == taken.count(" created (server dry run)")
    assert {f"registry.example.org/food/{each.name}:0.1.0" for each in load()} == {
        each["spec"]["image"] for each in functions_of_openfaas
    }


def test_a_mistyped_field_of_a_function_is_refused(cluster, functions_of_openfaas):
    wrong = manifests.mistyped(functions_of_openfaas[0], ("spec", "secrets"))

    with pytest.raises(Refused, match=r'unknown field "spec\.secretsx"'):
        cluster.kubectl("create", "--dry-run=server", "--validate=strict", documents=[wrong])
