"""make kind, as far as it goes without docker: its script is sound, and asks for pinned versions in the right order.

docker, kind, make and kubectl are stand-ins here that write down what they are asked.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.platforms import programs
from tools.local.environment import ROOT
from tools.render import K8S

SCRIPT, VERSIONS = K8S / "kind" / "kind.sh", K8S / "kind" / "versions.env"
STAND_IN = """\
#!/bin/sh
echo "$(basename "$0") $*" >> "$ASKED"
"""


def scripts() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [ROOT / name for name in listed if name.endswith(".sh") or name == ".ci/run"]


def versions() -> dict[str, str]:
    lines = [line for line in VERSIONS.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("script", scripts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_shellcheck_finds_nothing_wrong(script):
    command = [programs.find("shellcheck"), "--external-sources", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert (0, "") == (done.returncode, done.stdout)


def test_every_version_is_one_and_none_is_written_into_the_script():
    assert all(re.search(r"\d+\.\d+", version) and "latest" not in version for version in versions().values())
    assert not re.findall(r"v?\d+\.\d+\.\d+(?!\.\d)", re.sub(r"127\.0\.0\.1", "", SCRIPT.read_text("utf-8")))


def asked(tmp_path: Path) -> list[str]:
    folder, log = tmp_path / "bin", tmp_path / "asked"
    folder.mkdir()
    for name in ("docker", "kind", "kubectl", "make"):
        (folder / name).write_text(STAND_IN)
        (folder / name).chmod(0o755)
    environment = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "ASKED": str(log), "HOME": str(tmp_path)}
    subprocess.run([SCRIPT], cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120)
    return log.read_text().splitlines()


def test_it_brings_everything_that_the_overlay_needs_and_deploys_it_last(tmp_path):
    lines = asked(tmp_path)
    urls = [url for line in lines for url in re.findall(r"https://github\.com/(\S+)", line)]
    brought = [url.split("/releases/")[0] for url in urls]

    assert brought == [
        "cert-manager/cert-manager", "cloudnative-pg/cloudnative-pg", "rabbitmq/cluster-operator",
        "rabbitmq/messaging-topology-operator", "knative/serving", "knative/serving",
        "knative-extensions/net-kourier", "knative/eventing", "knative/eventing",
        "knative-extensions/eventing-rabbitmq",
    ]  # fmt: skip
    assert all(any(version in url for version in versions().values()) for url in urls)
    assert lines[-1].startswith("make deploy overlay=small registry=kind.local/food version=dev host=")
    assert "kind load docker-image --name food kind.local/food/jobs:dev" in lines


def test_the_documents_of_its_own_are_those_that_the_server_knows(cluster):
    (service,) = yaml.safe_load_all((K8S / "kind" / "kourier.yaml").read_text("utf-8"))

    taken = cluster.kubectl("create", "--dry-run=server", "--validate=strict", documents=[service])
    assert "(server dry run)" in taken


def test_the_ports_of_the_machine_lead_to_those_of_the_network_layer():
    (node,) = yaml.safe_load((K8S / "kind" / "cluster.yaml").read_text("utf-8"))["nodes"]
    service = yaml.safe_load((K8S / "kind" / "kourier.yaml").read_text("utf-8"))

    assert [each["containerPort"] for each in node["extraPortMappings"]] == [
        each["nodePort"] for each in service["spec"]["ports"]
    ]


def test_the_example_of_a_kustomization_of_ones_own_is_built(cluster):
    made = cluster.run("kustomize", "build", K8S / "examples")

    assert "food.mine.org" in made and "arch.homework:" not in made and "local-config" not in made
    assert "registry.mine.org/food/triggers:0.1.0" in made
