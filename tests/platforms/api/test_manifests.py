"""Every overlay goes into a real API server, with nothing left to a default that somebody else decides."""

import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.platforms import programs
from tests.platforms.api import manifests
from tools.generate.manifests import overlays
from tools.local.environment import ROOT

VERSION = re.compile(r".+(:(?!latest$)[^/:]+|@sha256:[0-9a-f]{64})")

every_overlay = pytest.mark.parametrize("folder", manifests.overlays(), ids=lambda folder: folder.name)


def images(part) -> Iterator[str]:
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for each in inner:
        yield from images(each)
    if isinstance(part, dict) and isinstance(part.get("image"), str):
        yield part["image"]


def named(live: list[dict]) -> dict[tuple, str]:
    return {
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]): each["metadata"][
            "resourceVersion"
        ]
        for each in live
    }


def test_the_server_takes_every_document_in_a_dry_run(applied):
    assert len(applied.documents) == applied.dry_run.count("(server dry run)")


def test_every_document_is_there_after_it_was_applied(applied):
    assert len(applied.documents) == len(applied.real_run.splitlines()) == len(named(applied.live()))


def test_applying_it_again_changes_nothing(applied):
    before = named(applied.live())

    applied.cluster.kubectl("apply", "--kustomize", applied.folder)

    assert before == named(applied.live())
    assert "" == applied.cluster.kubectl("diff", "--kustomize", applied.folder, fine=(0, 1))


def test_nothing_is_in_a_namespace_that_belongs_to_the_cluster(applied):
    namespaces = {each["metadata"].get("namespace", "") for each in applied.live()}

    assert not [name for name in namespaces if name == "default" or name.startswith("kube-")]


@every_overlay
def test_every_image_has_a_version(folder):
    used = set(images(manifests.documents(folder)))

    assert used and not [image for image in used if not VERSION.fullmatch(image)]


@every_overlay
def test_an_overlay_is_built_from_the_files_of_its_folder_alone(folder, tmp_path):
    shutil.copytree(ROOT / "k8s", tmp_path / "k8s")
    copied = tmp_path / folder.relative_to(ROOT)

    assert manifests.build(folder) == manifests.build(copied)


@every_overlay
def test_our_own_reading_of_an_overlay_is_that_of_kustomize(folder):
    def known(documents: list[dict]) -> dict[tuple, dict]:
        return {(each["kind"], each["metadata"]["name"], each["apiVersion"]): each for each in documents}

    assert known(manifests.documents(folder)) == known(overlays.documents(folder.name))


@every_overlay
def test_kustomize_makes_of_it_what_kubectl_makes(folder):
    command = [programs.find("kustomize"), "build", folder]

    assert manifests.build(folder) == subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
