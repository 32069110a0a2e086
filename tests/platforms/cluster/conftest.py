"""One cluster with its controllers for all tests; one overlay after the other in it, each through its whole life."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.platforms.api import manifests
from tests.platforms.cluster.controllers import Controlled
from tests.platforms.cluster.instances import Instances
from tests.platforms.cluster.network import Network, is_alone
from tests.platforms.cluster.rabbitmq import Managed, Users
from tests.platforms.cluster.repeated import Repeated
from tests.system import own_directory
from tools.local.environment import ROOT
from tools.local.postgres import Postgres
from tools.local.rabbitmq import RabbitMQ

# What happens to an overlay, in this order; a test belongs to the last of them that it asks for.
LIFE = ("deployed", "upgraded", "undeployed", "deleted")
OVERLAYS = ("small", "production")
# What the manifests are made from, and how the next version differs.
TREE = ("functions", "k8s", "schemas", "tools", "triggers", "stack.yml", "pyproject.toml")
GONE, NEW = "store-cancel-booking-food", "store-return-food"
CHANGES = {
    GONE: NEW,
    "homework.arch.store.cancelBookingFood": "homework.arch.store.returnFood",
    '"@every 15s"': '"@every 20s"',
}


@dataclass
class Deployment:
    """An overlay in the cluster, and what the command said that brought it into this state."""

    cluster: Controlled
    rabbitmq: Managed
    overlay: str
    tree: Path
    output: str

    @property
    def documents(self) -> list[dict]:
        return manifests.documents(self.tree / "k8s" / "overlays" / self.overlay)

    def names(self, kind: str) -> set[str]:
        """Those of a kind that there are, but for those that are on their way out."""
        items = self.cluster.get(kind, "--namespace", "food")["items"]
        return {each["metadata"]["name"] for each in items if "deletionTimestamp" not in each["metadata"]}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Through the life of one overlay, then of the next."""
    items.sort(key=lambda item: (overlay_of(item), stage_of(item)))


def overlay_of(item: pytest.Item) -> int:
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return OVERLAYS.index(params.get("overlay", OVERLAYS[0]))


def stage_of(item: pytest.Item) -> int:
    return max((LIFE.index(name) for name in getattr(item, "fixturenames", ()) if name in LIFE), default=-1)


def make(cluster: Controlled, tree: Path, *arguments: str) -> str:
    """`make deploy` and `make undeploy`, without the make; what it said, or its failure as the test's."""
    command = [sys.executable, "-m", "tools.deploy", *arguments]
    environment = cluster.environment | {"PYTHONPATH": str(tree)}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=900)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def own_network(directory: Path) -> Network:
    """A network in which nothing else is."""
    if not is_alone():
        pytest.exit("these tests take a whole network for themselves: make interop-cluster gives them one", 2)
    network = Network(directory)
    network.start()
    return network


@contextmanager
def running(made: Controlled, servers: Sequence[RabbitMQ | Postgres], pods: Sequence[Repeated]) -> Iterator[None]:
    """A cluster, the servers beside it, and what its pods would do; whatever of it has begun ends."""
    try:
        for server in servers:
            server.start()
        made.network.call("rabbitmq.food.svc")
        made.start()
        for each in pods:
            each.start()
        yield
    finally:
        for each in pods:
            each.stop()
        made.stop()
        for server in servers:
            server.kill()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Controlled]:
    """An API server with all controllers, and the servers that pods would run."""
    with own_directory("food-cluster-") as directory:
        made = Controlled(directory / "cluster", own_network(directory))
        made.rabbitmq = Managed(directory / "rabbitmq")
        pods = (Users(made, made.rabbitmq), Instances(made, directory))
        with running(made, [made.rabbitmq], pods):
            yield made


@pytest.fixture(scope="session", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def deployed(cluster: Controlled, overlay: str) -> Deployment:
    """From an empty namespace."""
    output = make(cluster, ROOT, "up", "--overlay", overlay, "--seconds", "600")
    return Deployment(cluster, cluster.rabbitmq, overlay, ROOT, output)


@pytest.fixture(scope="session")
def upgraded(deployed: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """The next version: another tag, a function gone, a new one, another schedule."""
    tree = tmp_path_factory.mktemp(f"next-{deployed.overlay}")
    for name in TREE:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tree / name)
    text = (tree / "stack.yml").read_text("utf-8")
    for before, after in CHANGES.items():
        assert before in text
        text = text.replace(before, after)
    (tree / "stack.yml").write_text(text, "utf-8")
    code = "from tools.generate.manifests import folders; folders.write()"
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    subprocess.run([sys.executable, "-c", code], cwd=tree, env=environment, check=True)
    arguments = ("--overlay", deployed.overlay, "--version", "9.9.9", "--seconds", "600")
    return replace(deployed, tree=tree, output=make(deployed.cluster, tree, "up", *arguments))


@pytest.fixture(scope="session")
def undeployed(upgraded: Deployment) -> Deployment:
    """Taken away again, but for the data."""
    output = make(upgraded.cluster, upgraded.tree, "down", "--overlay", upgraded.overlay)
    return replace(upgraded, output=output)


@pytest.fixture(scope="session")
def deleted(undeployed: Deployment) -> Deployment:
    """The data too."""
    output = make(undeployed.cluster, undeployed.tree, "down", "--overlay", undeployed.overlay, "--everything")
    return replace(undeployed, output=output)
