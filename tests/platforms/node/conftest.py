"""One cluster with a node that runs our pods, and the overlay `small` deployed in it by `make deploy`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import User
from tests.platforms.cluster.conftest import make, own_network, running
from tests.platforms.cluster.instances import Instances
from tests.platforms.cluster.rabbitmq import Managed, Users
from tests.platforms.images.containers import REGISTRY, VERSION, Store
from tests.platforms.node import cluster as noded
from tests.platforms.node.images import NAMES
from tests.platforms.node.installed import Installed
from tests.stories.conftest import Stage, Tap
from tests.system import own_directory
from tools.image.build import ImageSettings, tag
from tools.local.environment import ROOT

ANNOUNCED = ImageSettings().registry


@pytest.fixture(scope="session")
def cluster() -> Iterator[noded.RunningCluster]:
    """An API server with all controllers, a node whose pods run, and the servers."""
    with ExitStack() as stack:
        directory = stack.enter_context(own_directory("food-node-"))
        network = own_network(directory)
        store = Store()
        images = {
            tag(name, ANNOUNCED, VERSION): stack.enter_context(store.opened(tag(name, REGISTRY, VERSION)))
            for name in NAMES
        }
        made = noded.RunningCluster(directory / "cluster", network, images)
        made.rabbitmq, made.database = Managed(directory / "rabbitmq"), noded.Database(directory / "postgres")
        pods = (
            Users(made, made.rabbitmq),
            Instances(made, directory),
            noded.DatabaseUser(made, made.database),
            noded.PoolerPod(made, directory, made.database),
        )
        stack.enter_context(running(made, [made.database, made.rabbitmq], pods))
        yield made


@pytest.fixture(scope="session")
def deployed(cluster: noded.RunningCluster) -> str:
    """What `make deploy` said."""
    return make(cluster, ROOT, "up", "--overlay", "small", "--seconds", "600")


@pytest.fixture(scope="session")
def system(cluster: noded.RunningCluster, deployed: str) -> Installed:
    assert deployed.endswith("ready\n")
    return Installed(cluster)


@pytest.fixture(scope="session")
def tap(system: Installed) -> Iterator[Tap]:
    """What a story's trace is read from."""
    made = Tap(system, system.exchange)
    yield made
    made.close()


@pytest.fixture
def stage(system: Installed, new_user: Callable[..., User], tap: Tap, audited: None) -> Stage:  # noqa: ARG001 - asked for what it does afterwards
    """The stage; after each story nothing may contradict what must always hold."""
    return Stage(system, new_user, tap)
