"""The deployed system as its clients see it, in the form in which the stories know it."""

import json
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pika
import urllib3

from tests.platforms.broker.topology import exchange_name, triggers_of
from tests.platforms.node.cluster import RunningCluster
from tests.platforms.node.pod import RunningContainer
from tests.system import Http, Rows, eventually
from tools.local.postgres import SUPERUSER
from triggers.stack import load

HOST = "arch.homework"
# Where Envoy listens for the world.
PUBLIC = 8080
NAMESPACE = ("--namespace", "food")
# Knative's own programs of the broker: the containers' names, and the pods that begin so.
PROGRAMS = ("ingress", "dispatcher")
INGRESS = ("food-broker-ingress", "ingress")
ROLE = "eventing.knative.dev/brokerRole"
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
        self.triggers = triggers_of(cluster)
        self.broker = Http(broker["status"]["address"]["url"].removesuffix("/"))

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

    def log(self, owner: str) -> str:
        """What the functions of an owner, or another program of ours, have written so far."""
        return "".join(self.cluster.kubelet.log(owner, name) for name in ("user-container", owner))

    # -- the broker --------------------------------------------------------------------------------------------

    def dispatcher(self, function: str) -> RunningContainer:
        """Knative's, of the function's Trigger."""
        (found,) = self.cluster.kubelet.containers(f"{function}-dispatcher", "dispatcher")
        return found

    @contextmanager
    def away(self, pod: str, container: str = "dispatcher") -> Iterator[None]:
        """Without these containers; afterwards until everything is there again."""
        with self.cluster.kubelet.away(pod, container):
            yield
        self.ready()

    def ready(self) -> None:
        """Wait until the broker takes events, every queue has a dispatcher, and no container is missing."""
        eventually(self._takes_events, "the ingress to take events", 120, every=0.2)
        eventually(self._has_dispatchers, "a dispatcher on every queue", 120, every=0.5)
        eventually(self._is_whole, "every container to be ready", 120, every=0.2)

    def _takes_events(self) -> bool:
        """It answers nothing but a POST of an event with success."""
        try:
            return self.broker.get("/").status == 405
        except urllib3.exceptions.HTTPError:
            return False

    def _has_dispatchers(self) -> bool:
        queues = [name for each in self.triggers for name in (each.queue, each.dead_letter_queue)]
        with pika.BlockingConnection(pika.URLParameters(self.rabbitmq.url)) as connection:
            channel = connection.channel()
            found = {channel.queue_declare(name, passive=True).method.consumer_count for name in queues}
        return found == {1}

    def _is_whole(self) -> bool:
        pods = [pod for pod in self.cluster.kubelet.pods.values() if pod.grace is None]
        return all(each.ready or each.status == 0 for pod in pods for each in pod.containers)

    def deliver(self, **delivery: str | int) -> None:
        """Give all Triggers another `backoffDelay`, and what else of their delivery is to change."""
        before = self._waits()
        for each in self.cluster.get("triggers.eventing.knative.dev", *NAMESPACE)["items"]:
            patch = json.dumps({"spec": {"delivery": delivery}})
            where = ("triggers.eventing.knative.dev", each["metadata"]["name"], *NAMESPACE)
            self.cluster.kubectl("patch", *where, "--type=merge", "--patch", patch)
        eventually(lambda: self._is_other(before), "dispatchers with other waits, and no others", 120, every=1)
        self.ready()

    def _is_other(self, before: set[str]) -> bool:
        waits = self._waits()
        return len(waits) == 1 and waits != before

    def _waits(self) -> set[str]:
        """What the Triggers' dispatchers wait before a second try, also those that are on their way out."""
        made = self.cluster.get("pods", *NAMESPACE, "--selector", f"{ROLE}=dispatcher")["items"]
        theirs = [pod["spec"]["containers"] for pod in made if "-dlx-" not in pod["metadata"]["name"]]
        variables = [each for (container,) in theirs for each in container["env"]]
        return {each["value"] for each in variables if each["name"] == "BACKOFF_DELAY"}

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
