"""The images that the tests look into, built once, and what their containers are given."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.platforms import programs
from tests.platforms.images.containers import REGISTRY, VERSION, Container, Image, NotHere, Store, ready
from tools.image.build import tag
from tools.install import write_deployment
from tools.local.children import stop
from tools.local.environment import ROOT
from tools.local.processes import free_port

BUILT = ("billing-withdraw", "billing", "triggers", "jobs")
TEMPLATE = "language: dockerfile\n"


@pytest.fixture(scope="session")
def store() -> Iterator[Store]:
    """Where images are built, with all that is needed for it."""
    try:
        made = ready()
    except NotHere as problem:
        pytest.skip(f"images were not built: {problem}")
    yield made
    made.prune()


@pytest.fixture(scope="session")
def images(store: Store) -> Iterator[dict[str, Image]]:
    """One image of every kind, by its name."""
    done = store.build(*BUILT)
    assert done.returncode == 0, done.stdout + done.stderr
    with ExitStack() as stack:
        yield {name: stack.enter_context(store.opened(tag(name, REGISTRY, VERSION))) for name in BUILT}


@pytest.fixture(scope="session")
def contexts(directory: Path) -> Path:
    """What `faas-cli build` would hand to a builder, for every function: a folder each."""
    project = directory / "contexts"
    (project / "template" / "dockerfile").mkdir(parents=True)
    (project / "template" / "dockerfile" / "template.yml").write_text(TEMPLATE)
    for name in ("functions", "schemas", "triggers", "tools", "stack.yml", "pyproject.toml"):
        (project / name).symlink_to(ROOT / name)
    command = [programs.find("faas-cli"), "build", "--shrinkwrap", "--filter", "*"]
    done = subprocess.run(command, cwd=project, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return project / "build"


@pytest.fixture(scope="session")
def mounted(directory: Path, secrets: Path, fresh_database: Callable[[], str]) -> Path:
    """The secrets of a deployment as OpenFaaS mounts them, for a database that is there."""
    written = write_deployment(secrets, fresh_database().rpartition("@")[2])
    folder = directory / "mounted"
    shutil.copytree(written, folder)
    _let_read(folder)
    return folder


@pytest.fixture(scope="session")
def mounted_by_knative(mounted: Path) -> Path:
    """The same secrets, each in a folder of its own name."""
    folder = mounted.with_name("mounted-by-knative")
    for path in mounted.iterdir():
        (folder / path.name).mkdir(parents=True)
        shutil.copy(path, folder / path.name)
    _let_read(folder)
    return folder


@pytest.fixture(scope="session")
def installation(directory: Path, secrets: Path) -> Path:
    """The installation's own files, as a job gets them."""
    folder = directory / "installation"
    folder.mkdir()
    for name in ("roles.json", "admin-password"):
        shutil.copy(secrets / name, folder)
    _let_read(folder)
    return folder


def _let_read(folder: Path) -> None:
    """Kubernetes mounts secrets readable for everybody in the container."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Container]]:
    """Start a container that listens on a free port; it ends with the test."""
    started: list[Container] = []

    def begin(image: Image, secrets: Path, *arguments: str, **environment: str) -> Container:
        port = free_port()
        log = tmp_path / f"{len(started)}.log"
        started.append(Container.of(image, secrets, log, port, *arguments, **environment))
        started[-1].start()
        return started[-1]

    yield begin
    stop(started)


@pytest.fixture(scope="session")
def example() -> Callable[[str], dict]:
    """The example of an event, by its short type."""
    return lambda short: json.loads((ROOT / "schemas" / "events" / f"{short}.example.json").read_text())
