"""One cluster for all tests, and the manifests of one overlay after the other in it."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.platforms.api import manifests, webhooks
from tests.platforms.api.cluster import Cluster, running


@dataclass
class Applied:
    """An overlay that is in the cluster, and what kubectl said when it came there."""

    cluster: Cluster
    folder: Path
    documents: list[dict]
    dry_run: str
    real_run: str

    def live(self) -> list[dict]:
        """The objects as the server has them."""
        return json.loads(self.cluster.kubectl("get", "--output", "json", documents=self.documents))["items"]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """An API server that knows all kinds, with Knative's webhooks."""
    directory = Path(tempfile.mkdtemp(prefix="food-api-"))
    with running(directory) as made:
        webhooks.install(made)
        yield made
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session", params=manifests.overlays(), ids=lambda folder: folder.name)
def applied(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Applied]:
    """The overlay, applied as people do it; taken away again before the next one comes, but for the namespace.

    A dry run makes no namespace either, so that is there before. Who could end one is a controller.
    """
    folder, documents = request.param, manifests.documents(request.param)
    cluster.add_namespaces(*(each for each in documents if each["kind"] == "Namespace"))
    dry_run = cluster.kubectl("apply", "--dry-run=server", "--kustomize", folder)
    real_run = cluster.kubectl("apply", "--kustomize", folder)
    yield Applied(cluster, folder, documents, dry_run, real_run)
    kept = [each for each in documents if each["kind"] != "Namespace"]
    cluster.kubectl("delete", "--wait=false", documents=kept)
