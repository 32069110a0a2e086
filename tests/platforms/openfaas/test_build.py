"""`faas-cli build` and `up` as people type them, with the real program; docker is a stand-in that writes down.

It cannot build here. What it is given is what a builder would have: whether that is enough for an image is seen by
putting the image's files together from it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.platforms.openfaas.cluster import Cli
from tools.local.environment import ROOT

DOCKER = """\
#!/bin/sh
printf '%s\\n' "$PWD" "$@" > "$DOCKER_LOG/$(basename "$PWD").$1"
"""
# What a clone has and a builder may need.
NEEDED = ("functions", "schemas", "triggers", "tools", "template", "stack.yml", "stack-ce.yml", "pyproject.toml")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of the project, as somebody has it who calls faas-cli in it."""
    made = tmp_path / "clone"
    listed = subprocess.run(["git", "ls-files", *NEEDED], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.split():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, made / name)
    return made


@pytest.fixture
def faas_cli(clone: Path, tmp_path: Path) -> Cli:
    programs, log = tmp_path / "bin", tmp_path / "docker"
    programs.mkdir()
    log.mkdir()
    (programs / "docker").write_text(DOCKER)
    (programs / "docker").chmod(0o755)
    cli = Cli(clone, DOCKER_LOG=str(log), REGISTRY="registry.mine.org/food", VERSION="1.2.3")
    cli.environment["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return cli


def asked(tmp_path: Path, name: str, command: str) -> list[str]:
    return (tmp_path / "docker" / f"{name}.{command}").read_text().splitlines()


@pytest.mark.parametrize(("file", "name"), [("stack.yml", "pay-sale"), ("stack-ce.yml", "pay")])
def test_build_gives_docker_all_that_the_image_is_made_of(faas_cli, tmp_path, file, name):
    faas_cli("build", "-f", file, "--filter", name)

    context, command, *words = asked(tmp_path, name, "build")
    assert "build" == command
    assert {f"NAME={name}", f"registry.mine.org/food/{name}:1.2.3"} <= set(words)
    assert (Path(context) / "Dockerfile").read_text() == (ROOT / "tools" / "image" / "Dockerfile").read_text()
    assemble = [sys.executable, "-m", "tools.image.assemble", name, str(tmp_path / "app")]
    subprocess.run(assemble, cwd=context, check=True, env={"PATH": os.environ["PATH"], "PYTHONPATH": context})
    assert (tmp_path / "app" / "start").exists()


def test_up_builds_pushes_and_deploys(system, faas_cli, tmp_path):
    if system.profile.most:
        pytest.skip("the other stack file has the same commands")
    faas_cli.environment |= {name: system.cli.environment[name] for name in ("OPENFAAS_CONFIG", "OPENFAAS_URL")}
    faas_cli.environment |= {name: system.cli.environment[name] for name in ("OPENFAAS_INSIDE", "BROKER_URL")}
    before = image_of(system, "ops-info")

    output = faas_cli("up", "-f", "stack.yml", "--filter", "ops-info")

    assert "registry.mine.org/food/ops-info:1.2.3" == asked(tmp_path, "clone", "push")[-1]
    assert "Deployed" in output or "200" in output or "202" in output
    assert (before, "registry.mine.org/food/ops-info:1.2.3") == (
        "registry.example.org/food/ops-info:0.1.0", image_of(system, "ops-info")
    )  # fmt: skip
    system.cli("deploy", "-f", str(ROOT / "stack.yml"), "--filter", "ops-info")


def image_of(system, name: str) -> str:
    return next(one["image"] for one in system.listed() if one["name"] == name)
