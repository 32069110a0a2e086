"""The deployed system as its clients see it, in the form in which the stories know it."""

import json
import time
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import pika

from tests.platforms.broker.topology import exchange_name
from tests.platforms.node.cluster import RunningCluster
from tests.system import Http, Rows, eventually
from tools.local.postgres import SUPERUSER
from triggers.stack import load

HOST = "arch.homework"
# Where Envoy listens for the world.
PUBLIC = 8080
NAMESPACE = ("--namespace", "food")
MIN_SCALE = "autoscaling.knative.dev/min-scale"


class Installed:
    """The overlay in the cluster: called by the public host's name, looked at by SQL, the broker and kubectl."""

    def __init__(self, cluster: RunningCluster):
        self.cluster, self.rabbitmq = cluster, cluster.rabbitmq
        cluster.network.call(HOST)
        self.gateway = Http(f"http://{HOST}:{PUBLIC}")
        self.sql = Rows(cluster.database.url("food", SUPERUSER))
        broker = cluster.get("broker.eventing.knative.dev", "food", *NAMESPACE)
        self.exchange = exchange_name(broker["metadata"]["uid"])

    def secret(self, name: str) -> str:
        """What the functions' Secret of this name holds."""
        return b64decode(self.cluster.get("secret", name, *NAMESPACE)["data"][name]).decode()

    def channel(self) -> pika.adapters.blocking_connection.BlockingChannel:
        return pika.BlockingConnection(pika.URLParameters(self.rabbitmq.url)).channel()

    def function(self, name: str) -> Http:
        """A function by its name, as another function calls it."""
        found = next(one for one in load() if one.name == name)
        url = f"http://{found.owner}.food.svc.cluster.local/function/{name}"
        return Http(url, {} if found.is_public else {"Authorization": f"Bearer {self.secret('installation-token')}"})

    # -- how much of it there is -------------------------------------------------------------------------------

    def scales(self) -> dict[str, int]:
        """How many pods of each Knative Service are wanted and not on their way out."""
        counted = dict.fromkeys(self.services(), 0)
        for pod in self.cluster.get("pods", *NAMESPACE, "--selector", "serving.knative.dev/service")["items"]:
            if "deletionTimestamp" not in pod["metadata"]:
                counted[pod["metadata"]["labels"]["serving.knative.dev/service"]] += 1
        return counted

    def services(self) -> list[str]:
        listed = self.cluster.get("services.serving.knative.dev", *NAMESPACE)["items"]
        return [each["metadata"]["name"] for each in listed]

    def keep_warm(self, pods: int) -> None:
        """So many pods of each from now on, at the least."""
        patch = json.dumps({"spec": {"template": {"metadata": {"annotations": {MIN_SCALE: str(pods)}}}}})
        for name in self.services():
            where = ("services.serving.knative.dev", name, *NAMESPACE)
            self.cluster.kubectl("patch", *where, "--type=merge", "--patch", patch)
        self.cluster.kubectl("wait", "services.serving.knative.dev", "--all", *NAMESPACE, "--for=condition=Ready",
                             "--timeout=170s")  # fmt: skip

    def in_rollout(self) -> list[str]:
        """The Knative Services of which the newest revision does not serve yet."""
        listed = self.cluster.get("services.serving.knative.dev", *NAMESPACE)["items"]
        return [each["metadata"]["name"] for each in listed if not _is_rolled_out(each)]

    def asleep(self, seconds: float = 120) -> None:
        """Wait until no pod of a function is left."""
        eventually(lambda: not any(self.scales().values()), "everything asleep", seconds, every=1)

    def most_pods(self, until: Callable[[dict[str, int]], bool], seconds: float) -> dict[str, int]:
        """The most pods of each Service at a time, until that is enough."""
        most = dict.fromkeys(self.services(), 0)
        ends = time.monotonic() + seconds
        while not until(most) and time.monotonic() < ends:
            most = {name: max(count, most.get(name, 0)) for name, count in self.scales().items()}
        return most


def _is_rolled_out(service: dict[str, Any]) -> bool:
    status = service["status"]
    ready = {each["type"]: each["status"] for each in status["conditions"]}
    is_newest = status["latestReadyRevisionName"] == status["latestCreatedRevisionName"]
    return (
        is_newest and ready["Ready"] == "True" and status["observedGeneration"] == service["metadata"]["generation"]
    )
