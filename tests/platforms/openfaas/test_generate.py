"""`faas-cli generate` makes of both stack files what they say, for OpenFaaS' own resource and for Knative's."""

import re
from pathlib import Path

import pytest
import yaml

from tests.platforms.openfaas.cluster import Cli
from tools.local.environment import ROOT

DEFAULT = re.compile(r"\$\{\w+:-([^}]*)\}")
FILES = ("stack.yml", "stack-ce.yml")
MOUNT = "/var/openfaas/secrets"


def listed(file: str) -> dict[str, dict]:
    """The functions of a stack file, its variables replaced by their defaults."""
    text = DEFAULT.sub(r"\1", (ROOT / file).read_text("utf-8"))
    return yaml.safe_load(text)["functions"]


def generated(directory: Path, file: str, api: str) -> dict[str, dict]:
    text = Cli(directory)("generate", "-f", str(ROOT / file), f"--api={api}")
    documents = [document for document in yaml.safe_load_all(text) if document]
    assert {api} == {document["apiVersion"] for document in documents}
    return {document["metadata"]["name"]: document for document in documents}


@pytest.mark.parametrize("file", FILES)
def test_openfaas_resources_say_what_the_file_says(tmp_path, file):
    made, wanted = generated(tmp_path, file, "openfaas.com/v1"), listed(file)

    assert wanted.keys() == made.keys()
    for name, document in made.items():
        spec, entry = document["spec"], wanted[name]
        same = ("image", "environment", "labels", "annotations", "limits", "requests")
        assert {key: entry[key] for key in same} == {key: spec[key] for key in same}
        assert entry.get("secrets", []) == spec.get("secrets", [])
        assert True is spec["readOnlyRootFilesystem"]


@pytest.mark.parametrize("file", FILES)
def test_knative_services_say_what_the_file_says(tmp_path, file):
    made, wanted = generated(tmp_path, file, "serving.knative.dev/v1"), listed(file)

    assert wanted.keys() == made.keys()
    for name, document in made.items():
        entry, (container,) = wanted[name], document["spec"]["template"]["spec"]["containers"]
        assert entry["image"] == container["image"]
        assert entry["environment"] == {pair["name"]: pair["value"] for pair in container["env"]}
        assert entry["annotations"] == document["metadata"]["annotations"]


@pytest.mark.parametrize("file", FILES)
def test_every_file_that_a_variable_names_is_a_secret_that_is_mounted(tmp_path, file):
    for name, document in generated(tmp_path, file, "serving.knative.dev/v1").items():
        (container,) = document["spec"]["template"]["spec"]["containers"]
        named = {pair["value"] for pair in container["env"] if pair["name"].endswith("_FILE")}
        mounted = {mount["mountPath"] for mount in container.get("volumeMounts", ())}

        assert named == mounted, name
        assert all(path.startswith(MOUNT) for path in named)
