"""A node made of processes: what kubelet, container engine and network plugin do, as far as our pods need it."""

import itertools
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.platforms.cluster.network import GATEWAY, ip, separate
from tests.platforms.cluster.repeated import Repeated
from tests.platforms.images.containers import Image
from tests.platforms.node.api import STRATEGIC, Api, NotFound, Unanswered
from tests.platforms.node.pod import Pod, RunningContainer, now
from tools.local.processes import wait_until

NAME = "processes"
HEARTBEAT = 10.0
# Its pods' addresses; those of KWOK's pods are others, behind which nothing runs.
ADDRESS = "10.65.{}.{}"
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": NAME, "labels": {"kubernetes.io/hostname": NAME, "kubernetes.io/os": "linux"}},
    # Nobody is scheduled here: the policy below says who comes.
    "spec": {"taints": [{"key": NAME, "effect": "NoSchedule"}]},
}
# Everything in our namespace but the pods of PostgreSQL and RabbitMQ, whose servers stand beside the cluster.
POLICY = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingAdmissionPolicy",
    "metadata": {"name": NAME},
    "spec": {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "food"}},
            "resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
            ],
        },
        "matchConditions": [
            {
                "name": "of-no-server",
                "expression": "!has(object.metadata.labels) || !object.metadata.labels.exists(name, "
                "name.startsWith('cnpg.io/')) && object.metadata.labels[?'app.kubernetes.io/component'].orValue('') "
                "!= 'rabbitmq'",
            }
        ],
        "mutations": [
            {
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": f"Object{{spec: Object.spec{{nodeName: '{NAME}'}}}}"},
            }
        ],
    },
}
BINDING = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingAdmissionPolicyBinding",
    "metadata": {"name": NAME},
    "spec": {"policyName": NAME},
}


class Kubelet(Repeated):
    """Runs the pods that the API server has given to this node."""

    every = 0.2
    missed = (Unanswered,)

    def __init__(self, api: Api, folder: Path, images: dict[str, Image | Path]):
        super().__init__("kubelet")
        self.api, self.folder, self.images = api, folder, images
        self.pods: dict[str, Pod] = {}
        self._numbers = itertools.count()
        self._beaten = 0.0

    def stop(self) -> None:
        super().stop()
        for pod in self.pods.values():
            pod.grace = 0
        for pod in self.pods.values():
            pod.thread.join()

    def containers(self, pod: str, name: str) -> list[RunningContainer]:
        """Those of this name in the pods whose names begin so, and which are not on their way out."""
        pods = [each for each in self.pods.values() if each.name.startswith(pod) and each.grace is None]
        return [each for found in pods for each in found.containers if each.name == name]

    @contextmanager
    def away(self, pod: str, name: str) -> Iterator[None]:
        """Kill these containers, and start them again only after it."""
        held = self.containers(pod, name)
        assert held, f"expected a container {name} in a pod {pod}*, found none"
        for each in held:
            each.held = True
            each.signal(signal.SIGKILL)
        try:
            assert wait_until(lambda: not any(each.child.runs for each in held), 20), f"{name} of {pod}* did not end"
            yield
        finally:
            for each in held:
                each.held = False

    def log(self, pod: str, name: str) -> str:
        """What the containers of this name have written, in all pods whose names begin so or did."""
        return "".join(path.read_text(errors="replace") for path in self.folder.glob(f"{pod}*/{name}.log"))

    def again(self) -> None:
        self._beat()
        self._look()

    def _beat(self) -> None:
        if time.monotonic() - self._beaten < HEARTBEAT:
            return
        size = {"cpu": "64", "memory": "256Gi", "pods": "200"}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now()}
        addresses = [{"type": "InternalIP", "address": GATEWAY}]
        status = {"capacity": size, "allocatable": size, "conditions": [ready], "addresses": addresses}
        path = f"/api/v1/nodes/{NAME}/status"
        self.api.ask("PATCH", path, {"status": status}, STRATEGIC)
        self._beaten = time.monotonic()

    def _look(self) -> None:
        listed = self.api.list(f"/api/v1/pods?fieldSelector=spec.nodeName%3D{NAME}")
        there = {each["metadata"]["uid"]: each for each in listed}
        for uid, manifest in there.items():
            if uid not in self.pods:
                self.pods[uid] = self._begin(manifest)
            if "deletionTimestamp" in manifest["metadata"] and self.pods[uid].grace is None:
                self.pods[uid].grace = manifest["metadata"].get("deletionGracePeriodSeconds", 30)
        for uid, pod in list(self.pods.items()):
            if uid not in there and pod.grace is None:
                pod.grace = 0
            if not pod.thread.is_alive():
                del self.pods[uid]
                self._leave(pod)

    def _begin(self, manifest: dict[str, Any]) -> Pod:
        number = next(self._numbers)
        network, address = f"pod{number}", ADDRESS.format(number // 250, number % 250 + 1)
        # All that a pod sends passes kube-proxy's rules.
        separate(network, f"p{number}", address)
        folder = self.folder / f"{manifest['metadata']['name']}-{number}"
        folder.mkdir(parents=True)
        pod = Pod(self.api, manifest, network, address, GATEWAY, folder, self.image_of)
        pod.thread.start()
        return pod

    def _leave(self, pod: Pod) -> None:
        ip(f"netns delete {pod.network}")

    def image_of(self, reference: str) -> Image | Path:
        """An image, or the program that one would start. Raises NotFound."""
        name = reference.rpartition("@")[0] or reference
        try:
            return self.images[name]
        except KeyError:
            raise NotFound(f"there is no image {name} here") from None
