"""One cluster for all tests, and the manifests of one overlay after the other in it."""

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.platforms.api import manifests, webhooks
from tests.platforms.api.cluster import Cluster, running
from tools.local.environment import ROOT


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


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The documents' commands go last: they apply an overlay themselves, and want the namespace to be empty."""
    items.sort(key=lambda item: "test_documents" in item.nodeid)


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
    """The overlay, applied as people do it; taken away again before the next one comes. For None: nothing of ours."""
    if request.param is None:
        clear_namespace(cluster)
        yield Applied(cluster, ROOT, [], "", "")
        return
    folder, documents = request.param, manifests.documents(request.param)
    # A dry run makes no namespace.
    cluster.add_namespaces(*(each for each in documents if each["kind"] == "Namespace"))
    dry_run = cluster.kubectl("apply", "--dry-run=server", "--kustomize", folder)
    real_run = cluster.kubectl("apply", "--kustomize", folder)
    yield Applied(cluster, folder, documents, dry_run, real_run)
    cluster.clear(documents)


def clear_namespace(cluster: Cluster) -> None:
    """Take away what carries our label, of every kind that is in the manifests."""
    kinds = {name for name, document in manifests.by_kind().items() if "namespace" in document["metadata"]}
    ours = ("--namespace", "food", "--selector", "app.kubernetes.io/part-of=food")
    cluster.kubectl("delete", ",".join(map(resource, sorted(kinds))), *ours)


def resource(kind: str) -> str:
    """`Trigger.eventing.knative.dev/v1` as kubectl reads it: `Trigger.v1.eventing.knative.dev`."""
    name, group, version = re.fullmatch(r"([^.]+)\.(?:(.+)/)?(.+)", kind).groups()
    return f"{name}.{version}.{group}" if group else name
