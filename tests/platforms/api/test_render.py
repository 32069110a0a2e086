"""make render: plain manifests by kustomize's own means, taken by the server, also after another version of them."""

import subprocess
import sys

import pytest
import yaml

from tests.platforms.api import manifests
from tools.generate.manifests import overlays
from tools.local.environment import ROOT

MINE = ("--registry", "registry.mine.example:5000/food", "--host", "food.mine.example", "--issuer", "letsencrypt")


def render(cluster, overlay: str, *arguments: str) -> list[dict]:
    command = [sys.executable, "-m", "tools.render", "--overlay", overlay, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=cluster.environment, capture_output=True, text=True, timeout=120)
    assert 0 == done.returncode, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize("overlay", overlays.names())
def test_registry_version_host_and_issuer_are_everywhere(cluster, overlay):
    text = str(render(cluster, overlay, *MINE, "--version", "1.2.3"))

    for gone in ("registry.example.org", ":0.1.0", "'arch.homework'", "arch.homework:443"):
        assert gone not in text
    for there in ("registry.mine.example:5000/food/jobs:1.2.3", "'food.mine.example'", "'name': 'letsencrypt'"):
        assert there in text
    assert "local-config" not in text


def test_without_a_wish_it_is_the_overlay_with_jobs_named_by_their_content(cluster):
    def without_names(documents: list[dict]) -> list[dict]:
        return [each for each in documents if each["kind"] != "Job"]

    made = render(cluster, "small")

    assert without_names(made) == without_names(manifests.documents(overlays.OVERLAYS / "small"))


@pytest.mark.parametrize("applied", [None], ids=["nothing"], indirect=True)
def test_a_second_version_is_taken_beside_the_first(applied):
    cluster = applied.cluster
    for version in ("1.0.0", "1.0.1"):
        documents = render(cluster, "openfaas", "--version", version)
        cluster.add_namespaces(*(each for each in documents if each["kind"] == "Namespace"))
        cluster.kubectl("apply", "--server-side", documents=documents)
    jobs = cluster.get("jobs", "--namespace", "food")["items"]
    cluster.clear([*documents, *jobs])

    assert 4 == len({each["metadata"]["name"] for each in jobs})


def test_the_kustomization_that_it_prints_builds_the_same(cluster, tmp_path):
    overlay, wishes = "small", (*MINE, "--version", "1.2.3")
    top, settings = render(cluster, overlay, *wishes, "--kustomization")
    folder = tmp_path / "mine" / "food"
    folder.mkdir(parents=True)
    (tmp_path / "k8s").symlink_to(ROOT / "k8s")
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(top))
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))

    assert render(cluster, overlay, *wishes) == manifests.documents(folder)


@pytest.mark.parametrize("component", ["backups", "restore", "asleep"])
def test_a_component_for_overlays_of_ones_own_is_built_as_we_read_it_and_taken(cluster, tmp_path, component):
    (tmp_path / "k8s").symlink_to(ROOT / "k8s")
    folder = tmp_path / "mine"
    folder.mkdir()
    top = {"resources": ["../k8s/overlays/small"], "components": [f"../k8s/{component}"]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(top))
    made = manifests.documents(folder)

    def known(documents: list[dict]) -> dict[tuple, dict]:
        return {(each["kind"], each["metadata"]["name"]): each for each in documents}

    assert known(overlays.with_component("small", component)) == known(made)
    servers = [manifests.elsewhere(each, "mine") for each in made if each["kind"] in ("Cluster", "ScheduledBackup")]
    assert len(servers) == cluster.kubectl("apply", "--dry-run=server", documents=servers).count("(server dry run)")
