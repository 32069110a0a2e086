"""The API server of the tests with the controllers of Kubernetes and of the platforms, each as a process.

There is no kubelet: KWOK says of every pod that it runs, and no container does. What the controllers conclude from
that is their own doing. Of what the pods would do, the following is there for real: Envoy as Knative's gateway, and
RabbitMQ (rabbitmq.py); for PostgreSQL's instances there is a stand-in (instances.py).
"""

import json
import os
import platform
from base64 import b64decode
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.platforms import programs
from tests.platforms.api import webhooks
from tests.platforms.api.cluster import Cluster, namespace
from tests.platforms.api.webhooks import LOADER, apply, of_kind
from tests.platforms.cluster.network import GATEWAY, PODS, SERVICES, Network
from tests.system import eventually
from tools.local.children import Child
from tools.local.environment import ROOT

# Namespaces of the operators, beside those that the webhooks' tests know.
NAMESPACES = ("rabbitmq-system", "cnpg-system", "cert-manager")
NODES = 4
# A label of the nodes that KWOK keeps ready; there may be others.
PLAYED = ("food/node", "played")
NODE_SIZE = {"cpu": "32", "memory": "128Gi", "pods": "110"}
# What is asked of the pods of the platforms' own: that they are there.
DEPLOYMENTS = {"activator", "autoscaler", "pingsource-mt-adapter", "3scale-kourier-gateway"}
INGRESS_CLASS = "kourier.ingress.networking.knative.dev"
FAST = {"kube-api-qps": 1000, "kube-api-burst": 2000}


MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
# What RabbitMQ's operator executes in its pods; here each says yes, and does nothing.
RABBITMQ_COMMANDS = ("rabbitmqctl", "rabbitmq-plugins", "rabbitmq-queues")
EXECUTED = {
    "apiVersion": "kwok.x-k8s.io/v1alpha1",
    "kind": "ClusterExec",
    "metadata": {"name": "here"},
    "spec": {"execs": [{"local": {}}]},
}


class Controller(NamedTuple):
    """A program of Knative's that works in a namespace, and what its Deployment would tell it."""

    program: str
    namespace: str
    environment: dict[str, str]


KNATIVE = (
    Controller("serving-controller", "knative-serving", {}),
    Controller("autoscaler", "knative-serving", {}),
    Controller("kourier", "knative-serving", {"KOURIER_GATEWAY_NAMESPACE": "kourier-system"}),
    Controller("eventing-controller", "knative-eventing", {
        "APISERVER_RA_IMAGE": "registry.example.org/knative/apiserver-receive-adapter",
        "AUTH_PROXY_IMAGE": "registry.example.org/knative/auth-proxy",
    }),
    Controller("rabbitmq-controller", "knative-eventing", {
        "BROKER_INGRESS_IMAGE": "registry.example.org/knative/ingress",
        "BROKER_INGRESS_SERVICE_ACCOUNT": "eventing-broker-ingress",
        "BROKER_DISPATCHER_IMAGE": "registry.example.org/knative/dispatcher",
        "BROKER_DLQ_DISPATCHER_IMAGE": "registry.example.org/knative/dispatcher",
        "BROKER_DISPATCHER_SERVICE_ACCOUNT": "eventing-broker-filter",
    }),
)  # fmt: skip


class Controlled(Cluster):
    """A cluster whose controllers work."""

    def __init__(self, directory: Path, network: Network):
        super().__init__(directory)
        self.network = network

    @property
    def url(self) -> str:
        return f"https://{GATEWAY}:{self.port}"

    def start(self) -> None:
        super().start()
        self._install()
        self._start_kubernetes()
        for controller in KNATIVE:
            self._start_knative(controller)
        self._start_operator("topology-operator", {"metrics-bind-address": "0"}, ENABLE_WEBHOOKS="false")
        self._start_operator("cluster-operator", {"metrics-bind-address": "0"})
        self._start_postgres_operator()
        # An issuer of the installation's own, which needs nobody outside.
        self.launch_apart("cert-manager", {})
        apply(self, [ISSUER])
        self._start_data_path()

    def _api_server(self) -> dict[str, object]:
        # The address that the programs with networks of their own reach it at.
        ours = {"bind-address": "0.0.0.0", "advertise-address": GATEWAY, "service-cluster-ip-range": SERVICES}
        return super()._api_server() | ours | {"allow-privileged": "true"}

    def _install(self) -> None:
        self.add_namespaces(*map(namespace, ("default", *webhooks.PLATFORMS, *NAMESPACES)))
        brought = [made for name in ("serving-controller", "kourier", "topology-operator", "cluster-operator",
                               "cnpg-operator", "cert-manager", "kwok") for made in configuration(name)]  # fmt: skip
        apply(self, of_kind(brought, "CustomResourceDefinition"))
        webhooks.install(self)
        brought += [made for webhook in webhooks.WEBHOOKS for made in configuration(webhook.program)]
        services = [
            each
            for each in of_kind(brought, "ServiceAccount", "Service")
            if each["metadata"]["name"] not in HOOKED and each["metadata"]["namespace"] in webhooks.PLATFORMS
        ]
        apply(self, [*services, *of_kind(brought, "StorageClass")])
        apply(self, [*of_kind(configuration("serving-controller"), "ConfigMap"),
                     *of_kind(configuration("kourier"), "ConfigMap")])  # fmt: skip
        apply(self, [each for each in of_kind(brought, "Deployment") if each["metadata"]["name"] in DEPLOYMENTS])
        self.configure("knative-serving", "config-network", {"ingress-class": INGRESS_CLASS})
        self.configure("knative-serving", "config-domain", {"example.com": ""})
        # There is no registry to ask for the images' digests.
        self.configure("knative-serving", "config-deployment",
                       {"registries-skipping-tag-resolving": "registry.example.org"})  # fmt: skip

    def configure(self, where: str, name: str, data: dict[str, str]) -> None:
        """Change a ConfigMap as an operator of the platform does."""
        patch = json.dumps({"data": data})
        self.kubectl("patch", "configmap", name, "--namespace", where, "--type=merge", "--patch", patch)

    def _start_kubernetes(self) -> None:
        key = self.directory / "service-account.key"
        common = {"kubeconfig": self.kubeconfig, "leader-elect": "false", "bind-address": "127.0.0.1", **FAST}
        self.launch("kube-controller-manager", health=None, arguments={
            **common, "service-account-private-key-file": key, "root-ca-file": self.certificate,
            # On a busy machine a heartbeat may be late; no node is ever lost here.
            "node-monitor-grace-period": "10m",
        })  # fmt: skip
        self.launch("kube-scheduler", common, health=None)
        self._start_nodes()

    def _start_nodes(self) -> None:
        """KWOK, which plays the nodes; what is to be executed in a pod, it executes here."""
        commands = self.directory / "commands"
        commands.mkdir()
        for name in RABBITMQ_COMMANDS:
            (commands / name).write_text("#!/bin/sh\n")
            (commands / name).chmod(0o755)
        played = self.directory / "kwok.yaml"
        played.write_text(yaml.safe_dump_all([*of_kind(configuration("kwok"), "Stage"), EXECUTED]))
        self.launch("kwok", health=None, PATH=f"{commands}:{os.environ['PATH']}", arguments={
            "kubeconfig": self.kubeconfig, "manage-all-nodes": "false",
            "manage-nodes-with-label-selector": "=".join(PLAYED), "cidr": PODS, "node-ip": GATEWAY,
            "config": played, "node-lease-duration-seconds": 40, "node-port": 10250, "server-address": ":10250",
            "tls-cert-file": self.certificate, "tls-private-key-file": self.certificate.with_suffix(".key"),
        })  # fmt: skip
        apply(self, [node(number) for number in range(NODES)])

    def _start_knative(self, controller: Controller) -> None:
        name = controller.program
        self.launch_apart(
            name,
            {"kubeconfig": self.kubeconfig, **FAST},
            **knative(name, controller.namespace),
            **controller.environment,
        )

    def _start_operator(self, name: str, arguments: dict[str, object], **environment: str) -> None:
        self.launch_apart(name, arguments, OPERATOR_NAMESPACE="rabbitmq-system", **environment)

    def _start_postgres_operator(self) -> None:
        """CloudNativePG's operator with its webhooks, for which it makes the certificates itself."""
        folder = self.directory / "cnpg"
        (folder / "operator").mkdir(parents=True)
        # It offers itself to the instances, and finds itself where its image has it.
        (folder / "operator" / f"manager_{MACHINE}").symlink_to(programs.find("cnpg-operator"))
        hooks = of_kind(configuration("cnpg-operator"), *webhooks.HOOKS)
        for each in hooks:
            each["metadata"]["name"] = f"cnpg-{each['metadata']['name']}"
            for call in each["webhooks"]:
                call["clientConfig"]["service"] = {"name": CNPG_SERVICE, "namespace": "cnpg-system", "port": 9443,
                                                   "path": call["clientConfig"]["service"]["path"]}  # fmt: skip
        apply(self, [*CNPG, service(CNPG_SERVICE, "cnpg-system", self.host("cnpg-operator")), *hooks])
        self.launch_apart(
            "cnpg-operator",
            {"leader-elect": "false"},
            subcommand="controller",
            folder=folder,
            OPERATOR_NAMESPACE="cnpg-system",
            OPERATOR_IMAGE_NAME="registry.example.org/cloudnative-pg:1.27.0",
        )
        self._mount(CNPG_CERTIFICATE, "cnpg-system", Path("/run/secrets/cnpg.io/webhook"))
        # The API server looks at the hosts file every five seconds only.
        eventually(self._asks_postgres_operator, "the API server reaching CloudNativePG's webhooks", 60, every=0.5)

    def _asks_postgres_operator(self) -> bool:
        """Whether a webhook refuses a Cluster whose storage has no size, which is nobody else's doing."""
        wrong = webhooks.document("postgresql.cnpg.io/v1", "Cluster", {"instances": 1, "storage": {}})
        return webhooks.answers(self, wrong, "storage")

    def _mount(self, name: str, where: str, folder: Path) -> None:
        """Put a Secret into files, as a pod would have it, as soon as it is there."""
        given = ("secret", name, "--namespace", where)
        eventually(lambda: self.kubectl("get", *given, "--ignore-not-found"), f"the Secret {name}", 120)
        folder.mkdir(parents=True, exist_ok=True)
        for key, value in self.get(*given)["data"].items():
            (folder / key).write_bytes(b64decode(value))

    def _start_data_path(self) -> None:
        """Envoy, configured as net-kourier ships it, and the activator; every address of a pod leads to them.

        A route is ready when a probe came through Envoy to the activator or to a pod's queue-proxy. Both have the
        same port, so here the activator answers for either.
        """
        self.network.call("autoscaler.knative-serving.svc.cluster.local", self.network.names["autoscaler"])
        self._begin("activator", [str(programs.find("activator"))], {"POD_IP": GATEWAY, **knative("activator")})
        self._lead_to_the_inner_side()
        self.network.call("net-kourier-controller.knative-serving", self.network.names["kourier"])
        bootstrap = next(each for each in configuration("kourier") if each["metadata"]["name"] == "kourier-bootstrap")
        path = self.directory / "envoy-bootstrap.yaml"
        path.write_text(bootstrap["data"]["envoy-bootstrap.yaml"])
        arguments = ("--config-path", str(path), "--log-level", "warning")
        self._begin("envoy", [str(programs.find("envoy")), *arguments], {})

    def _lead_to_the_inner_side(self) -> None:
        """The public host's own name leads back into the gateway, by the Service of its inner side."""
        self.network.call("kourier-internal.kourier-system.svc.cluster.local")
        self.network.forward(80, 8081)

    def host(self, program: str) -> str:
        return f"{program}.programs"

    def launch(self, name: str, arguments: dict[str, object], health: str | None, **environment: str) -> None:
        """As ever; but those that keep to the ports of their containers get a network of their own."""
        if name in {webhook.program for webhook in webhooks.WEBHOOKS}:
            self.launch_apart(name, arguments, **environment)
        else:
            super().launch(name, arguments, health, **environment)

    def launch_apart(
        self, name: str, arguments: dict[str, object], subcommand: str = "", folder: Path = ROOT, **environment: str
    ) -> None:
        """Start a program with a network of its own, in a folder."""
        words = self.network.join(name)
        address = self.network.names[name]
        self.network.call(self.host(name), address)
        words += ["env", f"--chdir={folder}", str(programs.find(name)), *([subcommand] if subcommand else [])]
        command = [*words, *(f"--{flag}={value}" for flag, value in arguments.items())]
        self._begin(name, command, {"POD_IP": address} | environment)

    def _begin(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        child = Child(name, command, self.environment | environment, self.directory / f"{name}.log")
        self.children.append(child)
        child.start()


def deployment(name: str, namespace: str, labels: dict[str, str]) -> dict[str, Any]:
    """One pod that stands for a program which runs here as a process."""
    container = {"name": "main", "image": f"registry.example.org/{name}"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


def service(name: str, namespace: str, host: str) -> dict[str, Any]:
    """A Service that leads to a program here."""
    metadata = {"name": name, "namespace": namespace}
    spec = {"type": "ExternalName", "externalName": host}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


ISSUER = {"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": {"name": "food"},
          "spec": {"selfSigned": {}}}  # fmt: skip
CNPG_CERTIFICATE = "cnpg-webhook-cert"
CNPG_SERVICE = "cnpg-webhook-service"
CNPG = [deployment("cnpg-controller-manager", "cnpg-system", {"app.kubernetes.io/name": "cloudnative-pg"})]
HOOKED = {webhook.service for webhook in webhooks.WEBHOOKS}


def knative(name: str, namespace: str = "knative-serving") -> dict[str, str]:
    """What every program of Knative's is told."""
    return {
        "SYSTEM_NAMESPACE": namespace,
        "POD_NAME": f"{name}-1",
        "CONFIG_LOGGING_NAME": "config-logging",
        "CONFIG_OBSERVABILITY_NAME": "config-observability",
        "METRICS_DOMAIN": "knative.dev/tests",
    }


def configuration(name: str) -> list[dict[str, Any]]:
    """The manifests that a program is installed with."""
    text = programs.configuration(programs.named(name)).read_text("utf-8")
    return [each for each in yaml.load_all(text, LOADER) if each and "kind" in each]


def node(number: int) -> dict[str, Any]:
    """A node that KWOK keeps ready."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": f"node-{number}",
            "labels": {
                "kubernetes.io/hostname": f"node-{number}",
                "kubernetes.io/os": "linux",
                PLAYED[0]: PLAYED[1],
            },
        },
        "status": {"allocatable": NODE_SIZE, "capacity": NODE_SIZE},
    }
