"""The documents' commands for OpenFaaS are run as written, in their order."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.platforms.api.shell_blocks import ELSEWHERE, Block, of_the_documents
from tests.platforms.openfaas.cluster import OpenFaaS
from tests.platforms.programs import find
from tools.local.environment import ROOT

BLOCKS = [block for block in of_the_documents() if block.runs == ELSEWHERE]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The project's folder, into which nothing is written."""
    for path in ROOT.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


@pytest.fixture
def no_secrets(system: OpenFaaS) -> Iterator[None]:
    """As before the first installation; what is deployed goes on with the secrets that it was started with."""
    known = dict(system.provider.secrets)
    system.provider.secrets.clear()
    yield
    system.provider.secrets.clear()
    system.provider.secrets.update(known)


def run(block: Block, folder: Path, system: OpenFaaS) -> str:
    environment = system.cli.environment | {"PATH": f"{find('faas-cli').parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", "-euo", "pipefail", "-c", block.commands]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def of_the_block_with(word: str) -> Block:
    (found,) = (block for block in BLOCKS if word in block.commands)
    return found


def test_the_functions_are_deployed_and_shown(system, folder):
    if not system.profile.most:
        pytest.skip("the document deploys the Community Edition's profile, which is the other run of this test")
    output = run(of_the_block_with("faas-cli deploy"), folder, system)
    assert "Annotations" in output and "billing-database-url" in output
    system.working(*system.profile.deployments)
    system.serving()


@pytest.mark.usefixtures("no_secrets")
def test_the_secrets_of_an_installation_are_created(system, folder):
    run(of_the_block_with("secret create"), folder, system)
    # faas-cli cuts off the line's end.
    files = {path.name: path.read_text().strip() for path in (folder / "secrets" / "deployment").iterdir()}
    assert files == system.provider.secrets
    assert {"billing-database-url", "jwt-private-key"} <= files.keys()


def test_no_block_is_left_out():
    assert len(BLOCKS) == 2
